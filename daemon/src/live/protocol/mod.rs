//! The dialects that subscribers speak, without any I/O: text in, commands out, and back.

pub(super) mod pusher;
pub(super) mod sse;
pub(super) mod weir;

#[cfg(test)]
mod tests;
