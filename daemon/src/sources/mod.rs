//! The sources. A new one is a folder here and two lines in this file.

pub mod http;
pub mod websocket;

use crate::component::SourceType;

/// The sources, in the order that `weir schema` lists them.
pub const SOURCES: &[SourceType] =
    &[SourceType::of::<http::Http>(), SourceType::of::<websocket::WebSocket>()];
