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
//! | `GET /v1/dead` | how many dead letters each pipeline has |
//! | `GET /v1/dead/{pipeline}` | the letters without their data, oldest first |
//! | `GET /v1/dead/{pipeline}/{seq}` | one letter with its event |
//! | `POST /v1/dead/{pipeline}/replay` | publishes letters again where they were refused |
//! | `POST /v1/dead/{pipeline}/{seq}/replay` | the same with one |
//! | `DELETE /v1/dead/{pipeline}` | removes letters unread |
//! | `DELETE /v1/dead/{pipeline}/{seq}` | the same with one |
//! | `GET /v1/journals` | the journals in use: bounds of what they hold, and how their disk fares |
//! | `GET /v1/journals/NAME?from=&limit=&wait=` | events as JSON lines from number `from` on; the header `weir-next` says where to go on; waits up to `wait` seconds where there is none |
//! | `POST /v1/reload` | reads the files again; 200 with what changed, or 422 with the faults |
//!
//! Requests about many letters take `from`, `before` (numbers of letters) and, where they answer
//! with letters, `limit`; `next` in the answer is where to go on. A replay that shall end gives
//! `before`: what is refused again becomes a new letter.
//!
//! Requests that a browser sends on behalf of another site are refused.

mod dead;
mod guard;
mod journals;
mod routes;
mod wire;

pub use journals::NEXT;
pub use routes::{Ask, endpoint};
