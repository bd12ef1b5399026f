//! Weir, a plugin-driven pipeline daemon.
//!
//! ```text
//! files (TOML, .wasm) ──► config ──► graph ──► plan ──► runtime (generation N)
//!
//! publisher ─► listener ─► source ─► [edge] ─► chain of transforms ─► [edge] ─► sinks ─► broker / hub ─► subscriber
//!                             ▲                                                   │
//!                             └────────────── receipt: what became of each event ─┘
//! ```
//!
//! Modules are declared in reading order, and a module may use only modules above it.

use mimalloc::MiMalloc;

/// Events are made on one thread and dropped on another. Here and not in `main.rs`, so that
/// measurements of single rooms measure what runs.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

// What flows.
pub mod units;
pub mod event;
pub mod budget;
pub mod ack;
pub mod edge;
pub mod template;
pub mod tasks;

// Where the world is touched.
pub mod net;
pub mod auth;
pub mod store;
pub mod dead;
pub mod lookup;

// Live.
pub mod live;

// What a component is, and the components.
pub mod component;
pub mod amqp;
pub mod backplane;
pub mod sources;
pub mod sinks;
pub mod wasm;
pub mod chain;
pub mod spool;

// The shape of pipelines.
pub mod config;
pub mod graph;

// Running.
pub mod runtime;
pub mod reload;

// Operating.
pub mod telemetry;
pub mod admin;
pub mod demo;
pub mod daemon;
pub mod cli;
