//! The capability `http`: requests to the servers that the step's grants name.
//!
//! A request blocks the chain's thread, which is its pipeline's own. The time that it takes is
//! counted against a budget of its own (`limits.http`) and given back to the time limit of the call.

mod cache;
mod origin;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use hyper::{Method, Uri};
use tokio::time::Instant;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime::{Result, StoreContextMut, UpdateDeadline};

use self::cache::Cache;
pub(in crate::wasm) use self::origin::Origin;
use super::super::engine::ticks;
use super::super::instance::Limits;
use super::Host;
use super::metrics::Histogram;
use crate::net::{Answer, Outbound, OutboundError, Question};

/// Requests that judging a batch may send in any case, and per event.
const REQUESTS_FLOOR: u32 = 16;
const REQUESTS_PER_EVENT: u32 = 2;

/// Most headers of a request, and their bytes.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;

/// Longest URL.
const URL_MAX: usize = 8 << 10;

/// What is done; the rest is for proxies.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Headers that say how a message is cut, and to whom it goes: these are the daemon's.
const RESERVED: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// What the daemon calls itself where a plugin does not.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));

/// What a step asks with; it outlives a reload.
#[derive(Debug, Default)]
pub struct StepHttp {
    outbound: Arc<Outbound>,
    /// Touched briefly, by the one thread that runs the step, and the next one after a reload.
    cache: Mutex<Cache>,
}

/// How the requests of a step fared.
#[derive(Debug, Default)]
pub struct HttpStats {
    results: [AtomicU64; RESULTS.len()],
    /// Touched once per request, and by whoever looks.
    seconds: Mutex<Histogram>,
}

/// What can become of a request, as the metrics name it.
const RESULTS: [&str; 7] =
    ["ok", "cached", "denied", "timeout", "too_large", "budget_exhausted", "transport"];

/// What an instance may still spend on the batch at hand; nothing in `configure`.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Spending {
    requests: u32,
    time: Duration,
    /// Ticks of the clock that passed while it waited, and are not its own.
    owed: u64,
}

/// `http.request`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Asked {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    #[component(name = "timeout-ms")]
    timeout_ms: u32,
}

/// `http.response`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// `http.error`.
#[derive(Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "denied")]
    Denied,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "budget-exhausted")]
    BudgetExhausted,
    #[component(name = "transport")]
    Transport(String),
}

impl StepHttp {
    /// Asks through `outbound`, which others share.
    pub fn new(outbound: Arc<Outbound>) -> Self {
        Self { outbound, cache: Mutex::default() }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpStats {
    /// How many requests ended in each way.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.results.iter().map(|count| count.load(Ordering::Relaxed));
        RESULTS.into_iter().zip(counts)
    }

    /// How long those took that were sent.
    pub fn seconds(&self) -> Histogram {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, result: &str) {
        let place = RESULTS.iter().position(|known| *known == result);
        self.results[place.expect("a known result")].fetch_add(1, Ordering::Relaxed);
    }

    fn took(&self, time: Duration) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.observe(time.as_secs_f64());
    }
}

impl Spending {
    /// Starts the budget of a batch of `events`.
    pub(in crate::wasm) fn reset(&mut self, events: usize, limits: &Limits) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let requests = events.saturating_mul(REQUESTS_PER_EVENT).saturating_add(REQUESTS_FLOOR);
        *self = Self { requests, time: limits.http, owed: 0 };
    }

    /// Takes one request, which may take so long.
    fn take(&mut self, wish: Duration) -> Option<Duration> {
        if self.time.is_zero() {
            return None;
        }
        self.requests = self.requests.checked_sub(1)?;
        Some(if wish.is_zero() { self.time } else { self.time.min(wish) })
    }

    fn waited(&mut self, time: Duration) {
        self.time = self.time.saturating_sub(time);
        self.owed += ticks(time);
    }
}

impl Error {
    fn result(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Transport(_) => "transport",
        }
    }
}

impl From<OutboundError> for Error {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Private => Self::Denied,
            OutboundError::Slow => Self::Timeout,
            OutboundError::TooLarge => Self::TooLarge,
            OutboundError::Exchange(why) => Self::Transport(why),
        }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let headers = answer.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let headers = headers.collect();
        Self { status: answer.status, headers, body: answer.body.into() }
    }
}

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut http = linker.instance("weir:plugin/http@1.0.0")?;
    http.func_wrap("send", |mut cx: StoreContextMut<'_, Host>, (asked,): (Asked,)| {
        let host = cx.data_mut();
        host.calls.take()?;
        let answer = host.send(asked);
        let stats = host.lends.metrics.http();
        stats.count(answer.as_ref().map_or_else(Error::result, |(_, result)| result));
        Ok((answer.map(|(answer, _)| Response::from(answer)),))
    })
}

/// The clock of a call ran out: what its requests waited is added to it, once.
pub(in crate::wasm) fn on_deadline(mut cx: StoreContextMut<'_, Host>) -> Result<UpdateDeadline> {
    Ok(match std::mem::take(&mut cx.data_mut().spending.owed) {
        0 => UpdateDeadline::Interrupt,
        owed => UpdateDeadline::Continue(owed),
    })
}

impl Host {
    /// The answer, and whether it was kept from before.
    fn send(&mut self, asked: Asked) -> Result<(Answer, &'static str), Error> {
        let wish = Duration::from_millis(asked.timeout_ms.into());
        let mut question = question(asked, self.body_max)?;
        let origin = Origin::of_url(&question.url).ok_or(Error::Denied)?;
        if !self.origins.contains(&origin) {
            return Err(Error::Denied);
        }
        let key = cache::key(&question);
        let known = key.as_ref().and_then(|key| self.lends.http.cache().get(key, Instant::now()));
        if let Some(answer) = known {
            return Ok((answer, "cached"));
        }
        question.time = self.spending.take(wish).ok_or(Error::BudgetExhausted)?;
        let since = Instant::now();
        let answer = self.lends.http.outbound.ask(question);
        self.spending.waited(since.elapsed());
        self.lends.metrics.http().took(since.elapsed());
        let answer = answer?;
        if let Some(key) = key {
            self.lends.http.cache().put(key, &answer, Instant::now());
        }
        Ok((answer, "ok"))
    }
}

/// What a plugin asks, if it may be asked at all; bodies have at most `body_max` bytes.
fn question(asked: Asked, body_max: usize) -> Result<Question, Error> {
    let Asked { method, url, headers, body, .. } = asked;
    let body = body.unwrap_or_default();
    let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let is_crowded = headers.len() > HEADERS_MAX || header_bytes > HEADER_BYTES_MAX;
    if is_crowded || url.len() > URL_MAX || body.len() > body_max {
        return Err(Error::TooLarge);
    }
    let wrong = |what: &str| Error::Transport(what.to_owned());
    let method: Method = method.parse().map_err(|_invalid| wrong("the method is none"))?;
    if !METHODS.contains(&method) {
        return Err(Error::Denied);
    }
    let url: Uri = url.parse().map_err(|_invalid| wrong("the URL is none"))?;
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let name: HeaderName =
            name.parse().map_err(|_invalid| wrong("the name of a header is none"))?;
        if RESERVED.contains(&name) || name.as_str().starts_with("proxy-") {
            return Err(Error::Denied);
        }
        let value = value.parse().map_err(|_invalid| wrong("the value of a header is none"))?;
        map.append(name, value);
    }
    map.entry(USER_AGENT).or_insert(AGENT);
    let (headers, body, time) = (map, Bytes::from(body), Duration::ZERO);
    Ok(Question { method, url, headers, body, time, len_max: body_max })
}
