//! The admin plane: a listener and a thread of its own, which answers whatever the data does.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process works |
//! | `GET /readyz` | 200, or 503 with the reasons why the daemon should get no traffic |
//! | `GET /metrics` | metrics in the OpenMetrics text format |
//! | `GET /v1/status` | generation, listeners, hubs, pipelines with their books and components |
//! | `GET /v1/pipelines` | the pipelines alone |
//! | `GET /v1/reloads` | the last reloads, newest first |
//! | `POST /v1/reload` | reads the files again; 200 with what changed, or 422 with the faults |
//!
//! Requests that a browser sends on behalf of another site are refused.

mod guard;
mod routes;
mod wire;

pub use routes::{Ask, endpoint};
