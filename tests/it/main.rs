//! The end-to-end tests: one file per promise, all against the real binary.

mod faults;
mod admin;
mod bad_input;
mod brokers;
mod durable;
mod live;
mod publish;
mod rabbitmq;
mod readme;
mod reload;
mod shutdown;
mod tidy;
