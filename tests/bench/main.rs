//! Measures what Weir promises, each part beside something to compare with.
//!
//! `weir-bench PART…` prints a table for each part; `weir-bench chaos [FILE [PART…]]` breaks things
//! and counts what was lost. One program, because the optimised daemon is linked into each.

mod backplane;
mod boundary;
mod chaos;
mod fanout;
mod http;
mod rabbit;
mod reload;

use std::env;

/// What `make bench` measures, in order.
const PARTS: &[&str] = &["boundary", "http", "fanout", "rabbit", "backplane", "reload"];

#[tokio::main]
async fn main() {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|part| part == "chaos").is_some() {
        return chaos::run(arguments).await;
    }
    let mut parts: Vec<String> = arguments.collect();
    if parts.is_empty() {
        parts = PARTS.iter().map(|part| (*part).to_owned()).collect();
    }
    for part in parts {
        match part.as_str() {
            "boundary" => boundary::run(),
            "http" => http::run().await,
            http::BARE => http::serve_bare().await,
            "fanout" => fanout::run().await,
            "rabbit" => rabbit::run().await,
            "backplane" => backplane::run().await,
            "reload" => reload::run().await,
            other => panic!("no part `{other}`; there are {PARTS:?} and `chaos`"),
        }
    }
}
