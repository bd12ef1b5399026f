//! Sets, computes, renames and removes fields of JSON data.
//!
//! ```toml
//! [[transform]]
//! plugin = "map"
//!
//! [transform.config]
//! rename = { "user.mail" = "user.email" }
//! remove = ["debug", "items[0].cost"]
//! set = { "app.version" = 3, region = "eu" }
//! compute = { total = 'data.net * 1.19', "user.tier" = 'data.spent > 100 ? "gold" : "basic"' }
//! ```
//!
//! Keys are paths into the data: `user.plan`, `items[0].sku`, `user["odd.key"]`. All of them see the
//! event as it came, whatever else changes; where two change one place, the later of `rename`,
//! `remove`, `set` and `compute` wins. The expressions of `compute` are those of the plugin
//! `filter`; one that gives `optional.none()` leaves its field as it is:
//! `has(data.nick) ? optional.of(data.nick + "!") : optional.none()`.
//!
//! Objects on the way to a field are made where they are missing. An event fails where something
//! else is in the way, where an expression makes no sense, and where its data is not JSON. All that
//! is not changed keeps its bytes.
//!
//! # Attributes
//!
//! `type` and `subject` are expressions for these attributes: `subject = 'data.user.id'`. One that
//! gives null leaves its attribute as it is. A step changes either attributes or data; two steps
//! do both.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use expression::Expression;
use serde::Deserialize;
use weir_fields::{FIELDS_MAX, Path};
use weir_plugin::{Action, Event, Failure, Field, Patch, Plugin, Row, Step, Value};

/// What a pipeline file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Fields that get another path.
    rename: BTreeMap<String, String>,
    /// Fields that are taken away.
    remove: Vec<String>,
    /// Fields and the values that they get.
    set: BTreeMap<String, serde_json::Value>,
    /// Fields and the expressions that give their values.
    compute: BTreeMap<String, String>,
    /// An expression for the type.
    r#type: Option<String>,
    /// An expression for the subject.
    subject: Option<String>,
}

/// Changes events as one step says.
#[derive(Debug)]
pub struct Map {
    /// What is read of JSON data: first what is renamed, then what is removed, then the rest.
    fields: Vec<String>,
    rename: Vec<(String, String)>,
    remove: Vec<String>,
    set: Vec<(String, Value)>,
    compute: Vec<(String, Expression)>,
    event_type: Option<Expression>,
    subject: Option<Expression>,
}

impl Plugin for Map {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        check(&config)?;
        let rename: Vec<(String, String)> = config.rename.into_iter().collect();
        let from = rename.iter().map(|(from, _)| from.clone());
        let mut fields: Vec<String> = from.chain(config.remove.iter().cloned()).collect();
        let compute = config.compute.into_iter().map(|(path, text)| {
            let key = format!("compute.{path}");
            Ok((path, Expression::computed(&key, &text, &mut fields)?))
        });
        let compute = compute.collect::<Result<_, String>>()?;
        let mut attribute = |key, text: Option<String>| {
            text.map(|text| Expression::computed(key, &text, &mut fields)).transpose()
        };
        Ok(Self {
            event_type: attribute("type", config.r#type)?,
            subject: attribute("subject", config.subject)?,
            fields,
            rename,
            remove: config.remove,
            set: config.set.into_iter().map(|(path, value)| (path, value.into())).collect(),
            compute,
        })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        if self.event_type.is_some() || self.subject.is_some() {
            return self.attributes(event);
        }
        let mut patch = Patch::default();
        let mut moved = Vec::new();
        for (index, (from, to)) in self.rename.iter().enumerate() {
            if let Some(value) = value(event.field_at(index)) {
                patch = patch.remove(from);
                moved.push((to, value));
            }
        }
        for (to, value) in moved {
            patch = patch.set(to, value);
        }
        for (index, path) in self.remove.iter().enumerate() {
            let index = self.rename.len() + index;
            if event.field_at(index).is_present() || event.is_ambiguous_at(index) {
                patch = patch.remove(path);
            }
        }
        for (path, value) in &self.set {
            patch = patch.set(path, value.clone());
        }
        for (path, expression) in &self.compute {
            if let Some(value) = expression.value(event)? {
                patch = patch.set(path, value);
            }
        }
        Ok(patch.into())
    }

    fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

impl Map {
    fn attributes(&self, event: &Event<'_>) -> Result<Action, Failure> {
        let text = |expression: &Option<Expression>| match expression {
            Some(expression) => expression.text(event),
            None => Ok(None),
        };
        let mut row = Row::new();
        if let Some(event_type) = text(&self.event_type)? {
            if event_type.is_empty() {
                return Err(Failure::invalid("`type` gives an empty text"));
            }
            row = row.event_type(event_type);
        }
        if let Some(subject) = text(&self.subject)? {
            row = row.subject(Some(&subject));
        }
        Ok(Action::Emit(vec![row]))
    }
}

/// Whether the config makes sense but for its expressions.
fn check(config: &Config) -> Result<(), String> {
    let Config { rename, remove, set, compute, r#type, subject } = config;
    let changes = rename.len() * 2 + remove.len() + set.len() + compute.len();
    let has_attributes = r#type.is_some() || subject.is_some();
    if changes == 0 && !has_attributes {
        return Err("nothing to change: give `set`, `compute`, `rename`, `remove`, `type` or \
                    `subject`"
            .to_owned());
    }
    if changes > 0 && has_attributes {
        return Err("a step changes either `type` and `subject` or data: use two steps".to_owned());
    }
    if changes > FIELDS_MAX {
        return Err(format!(
            "{changes} changes are more than {FIELDS_MAX}; a field that is renamed counts twice"
        ));
    }
    let paths = rename.iter().flat_map(|(from, to)| [("rename", from), ("rename", to)]);
    let paths = paths.chain(remove.iter().map(|path| ("remove", path)));
    let paths = paths.chain(set.keys().map(|path| ("set", path)));
    for (key, path) in paths.chain(compute.keys().map(|path| ("compute", path))) {
        path.parse::<Path>().map_err(|error| format!("`{key}`: {error}"))?;
    }
    Ok(())
}

/// What a field holds, if there is one.
fn value(field: Field<'_>) -> Option<Value> {
    Some(match field {
        Field::Absent => return None,
        Field::Null => Value::null(),
        Field::Bool(is_true) => is_true.into(),
        // With the digits that the publisher wrote.
        Field::Number(text) | Field::Json(text) => Value::json(text),
        Field::Text(text) => text.into(),
    })
}

weir_plugin::register!(Map);
