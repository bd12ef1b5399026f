//! The types of `sdk/wit/plugin.wit` that the host hands to a plugin, borrowed from a batch.
//!
//! Each column crosses in one copy; nothing is encoded or allocated on the host's side.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::event::{Batch, Column, Extensions};

/// `types.batch`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Input<'a> {
    #[component(name = "dictionary-ends")]
    dictionary_ends: &'a [u32],
    dictionary: &'a str,
    #[component(name = "id-ends")]
    id_ends: &'a [u32],
    ids: &'a str,
    sources: &'a [u32],
    types: &'a [u32],
    subjects: &'a [u32],
    #[component(name = "content-types")]
    content_types: &'a [u32],
    times: &'a [u64],
    #[component(name = "data-ends")]
    data_ends: &'a [u32],
    data: &'a [u8],
    extensions: Option<Attributes<'a>>,
    fields: &'a [Field<'a>],
}

/// `types.extensions`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Attributes<'a> {
    names: &'a [String],
    #[component(name = "row-ends")]
    row_ends: &'a [u32],
    #[component(name = "name-of")]
    name_of: &'a [u32],
    #[component(name = "value-ends")]
    value_ends: &'a [u32],
    values: &'a str,
}

/// `types.column`: one field of JSON data.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Field<'a> {
    kinds: &'a [u8],
    ends: &'a [u32],
    values: &'a str,
}

/// `types.step`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct StepName<'a> {
    pub(super) pipeline: &'a str,
    pub(super) name: &'a str,
    pub(super) instance: u32,
    #[component(name = "host-version")]
    pub(super) host_version: &'a str,
}

/// `types.needs`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Needs {
    pub(super) fields: Vec<String>,
    pub(super) data: bool,
}

impl<'a> Input<'a> {
    /// The columns of `batch` and of its fields, with its payloads if the plugin `wants_data`.
    pub(super) fn of(batch: &'a Batch, fields: &'a [Field<'a>], wants_data: bool) -> Self {
        let (data_ends, data) = match wants_data {
            true => (batch.data.ends.as_slice(), batch.data.bytes.as_slice()),
            false => (&[][..], &[][..]),
        };
        Self {
            dictionary_ends: &batch.dictionary.ends,
            dictionary: &batch.dictionary.text,
            id_ends: &batch.ids.ends,
            ids: &batch.ids.text,
            sources: &batch.sources,
            types: &batch.types,
            subjects: &batch.subjects,
            content_types: &batch.content_types,
            times: &batch.times,
            data_ends,
            data,
            extensions: batch.extensions.as_ref().map(Attributes::of),
            fields,
        }
    }
}

impl<'a> Field<'a> {
    pub(super) fn of(column: &'a Column) -> Self {
        let Column { kinds, values } = column;
        Self { kinds, ends: &values.ends, values: &values.text }
    }
}

impl<'a> Attributes<'a> {
    fn of(extensions: &'a Extensions) -> Self {
        Self {
            names: &extensions.names,
            row_ends: &extensions.row_ends,
            name_of: &extensions.name_of,
            value_ends: &extensions.values.ends,
            values: &extensions.values.text,
        }
    }
}
