//! Takes notices to one webhook, one batch after the other, and tries again where its server is away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::debounce::Debounce;
use super::{HookCounts, Notice};
use crate::auth::signature::Credentials;
use crate::net::{ClientError, HttpClient, shown};
use crate::tasks::Stop;
use crate::units::now_micros;

/// Notices in one request.
const BATCH_MAX: usize = 100;

/// How long the same notices are tried again, as Pusher does.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// The first and the longest pause between attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Tells one webhook.
#[derive(Debug)]
pub(super) struct Courier {
    url: Uri,
    credentials: Credentials,
    /// The hook holds the other end.
    notices: mpsc::Receiver<Notice>,
    counts: Arc<HookCounts>,
    debounce: Debounce,
}

impl Courier {
    pub(super) fn new(
        url: Uri,
        credentials: Credentials,
        notices: mpsc::Receiver<Notice>,
        counts: Arc<HookCounts>,
    ) -> Self {
        Self { url, credentials, notices, counts, debounce: Debounce::default() }
    }

    /// Works until `stop` is asked. What is not told then is not told.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let client = match HttpClient::new() {
            Ok(client) => client,
            Err(error) => {
                warn!(%error, url = shown(&self.url), "no certificates to trust; the webhook is off");
                return;
            }
        };
        tokio::select! {
            () = stop.asked() => {}
            () = self.work(&client) => {}
        }
    }

    async fn work(&mut self, client: &HttpClient) {
        loop {
            let mut ready = Vec::new();
            let due = self.debounce.due();
            tokio::select! {
                notice = self.notices.recv() => match notice {
                    Some(notice) => self.debounce.take(notice, Instant::now(), &mut ready),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            while ready.len() < BATCH_MAX
                && let Ok(notice) = self.notices.try_recv()
            {
                self.debounce.take(notice, Instant::now(), &mut ready);
            }
            self.debounce.release(Instant::now(), &mut ready);
            for batch in ready.chunks(BATCH_MAX) {
                self.deliver(client, batch).await;
            }
        }
    }

    async fn deliver(&self, client: &HttpClient, batch: &[Notice]) {
        let until = Instant::now() + GIVE_UP_AFTER;
        let [mut pause, longest] = PAUSES;
        loop {
            let error = match self.post(client, batch).await {
                Ok(()) => {
                    self.counts.told.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
                Err(error) => error,
            };
            if Instant::now() + pause > until {
                self.counts.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                warn!(url = shown(&self.url), %error, notices = batch.len(), "webhook given up");
                return;
            }
            sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// One attempt, with a time and a signature of its own.
    async fn post(&self, client: &HttpClient, batch: &[Notice]) -> Result<(), ClientError> {
        let events: Vec<_> = batch.iter().map(Notice::json).collect();
        let body = json!({ "time_ms": now_micros() / 1_000, "events": events }).to_string();
        let signature = self.credentials.secret.sign(&[body.as_bytes()]);
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("x-pusher-key", &self.credentials.key)
            .header("x-pusher-signature", signature);
        client.send(request.body(Body::from(body))).await
    }
}
