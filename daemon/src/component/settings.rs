//! The settings of one component, with their place in the file.

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::DeTable;

use crate::component::BuildError;

/// A component's table, without the keys that every component has (`type`, `name`, `inputs`).
#[derive(Debug, Clone)]
pub struct Settings {
    table: Spanned<DeTable<'static>>,
}

impl Settings {
    /// Settings from a table whose spans are byte ranges of its file.
    pub fn new(table: Spanned<DeTable<'static>>) -> Self {
        Self { table }
    }

    /// Reads the settings as `C`.
    ///
    /// # Errors
    /// Every fault of the table, each with its place.
    pub fn read<C: DeserializeOwned>(&self) -> Result<C, Vec<BuildError>> {
        C::deserialize(self.table.clone().into_deserializer()).map_err(|error: toml::de::Error| {
            let mut fault = BuildError::new("W0200", error.message());
            fault.span = error.span();
            vec![fault]
        })
    }
}
