//! Write a Weir transform in Rust.
