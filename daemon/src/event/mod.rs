//! What flows: events with the attributes of CloudEvents 1.0, moved as batches of columns.
//!
//! Bytes come in through [`json`] and [`cloudevents`], are pushed into a [`Batch`], and go out
//! through [`encode`]. Nothing here does I/O or knows where an event came from.

mod batch;
mod codec;
mod columns;
pub mod cloudevents;
pub mod encode;
mod fields;
pub mod id;
pub mod json;
pub mod pack;

pub use batch::{Batch, Draft, Event};
pub use columns::{Blobs, Extensions, NONE, Texts};
pub use encode::write_cloudevent;
pub use fields::{Column, Fields, Found};

#[cfg(test)]
mod tests;
