//! The end-to-end tests: one file per promise, all against the real binary.

mod rabbitmq;
mod tidy;
