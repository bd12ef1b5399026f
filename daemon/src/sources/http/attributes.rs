//! Attributes that a source makes of plain data, as its pipeline file says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::ack::{Code, Refusal};
use crate::component::BuildError;
use crate::event::cloudevents::Spelled;
use crate::template::Template;

/// The templates for attributes that plain data lacks, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<(String, Template)>);

impl Attributes {
    /// Checks the templates of a pipeline file.
    pub(super) fn new(templates: &BTreeMap<String, Template>) -> Result<Self, BuildError> {
        for (name, template) in templates {
            if !template.uses_only_data() {
                let message = format!("the attribute `{name}` can be made of `data` only");
                let help = "write `{{data.field}}`: attributes are what plain data lacks";
                return Err(BuildError::new("W0202", message).help(help).about("attributes"));
            }
            let probe = Spelled::default().put(Cow::Borrowed(name), Cow::Borrowed("1"));
            if probe.is_err() || matches!(name.as_str(), "time" | "data" | "specversion") {
                let message = format!("`{name}` cannot be an attribute");
                let help = "known are `id`, `source`, `type` and `subject`; other names are up to \
                            64 letters a-z and digits";
                return Err(BuildError::new("W0202", message).help(help).about("attributes"));
            }
        }
        let pairs = templates.iter().map(|(name, template)| (name.clone(), template.clone()));
        Ok(Self(pairs.collect()))
    }

    /// The attributes that `data` gives rise to.
    ///
    /// # Errors
    /// If one of them is malformed.
    pub(super) fn render(&self, data: &[u8], is_json: bool) -> Result<Spelled<'_>, Refusal> {
        let mut made = Spelled::default();
        for (name, template) in &self.0 {
            let mut value = String::new();
            let is_made = (is_json || template.as_constant().is_some())
                && template.render_data(data, &mut value).is_ok();
            if is_made && !value.is_empty() {
                made.put(Cow::Borrowed(name), Cow::Owned(value))
                    .map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
            }
        }
        Ok(made)
    }
}
