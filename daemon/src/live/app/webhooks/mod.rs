//! What happens on an app's channels, told to an application's servers.
//!
//! Each webhook has a bounded queue and a task of its own, so that one whose server is away holds
//! up no other. What does not fit is dropped and counted; nothing here waits for anybody.

mod courier;
mod debounce;
mod notice;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use self::courier::Courier;
pub(super) use self::notice::{ClientEvent, Notice};
use super::settings::{NoticeKind, WebhookSettings};
use crate::auth::signature::Credentials;
use crate::tasks::{Stop, Tasks};

/// Notices that wait for one webhook, beside those that are being told.
const WAITING_MAX: usize = 1_000;

/// The webhooks of one app.
#[derive(Debug)]
pub(super) struct Webhooks {
    hooks: Vec<Hook>,
}

#[derive(Debug)]
struct Hook {
    events: Vec<NoticeKind>,
    /// The courier holds the other end.
    notices: mpsc::Sender<Notice>,
    /// Until it is started; touched once, hence a std mutex.
    idle: Mutex<Option<Courier>>,
    counts: Arc<HookCounts>,
}

/// What became of the notices of a webhook.
#[derive(Debug, Default)]
pub(super) struct HookCounts {
    pub(super) told: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Webhooks {
    /// Webhooks that tell nothing before they are started.
    pub(super) fn new(settings: &[WebhookSettings], credentials: &Credentials) -> Self {
        let hook = |settings: &WebhookSettings| {
            let (notices, waiting) = mpsc::channel(WAITING_MAX);
            let counts = Arc::new(HookCounts::default());
            let url = settings.url.clone();
            let courier = Courier::new(url, credentials.clone(), waiting, Arc::clone(&counts));
            let events = settings.events.clone();
            Hook { events, notices, idle: Mutex::new(Some(courier)), counts }
        };
        Self { hooks: settings.iter().map(hook).collect() }
    }

    /// Begins to tell, in `tasks` until `stop` is asked.
    pub(super) fn start(&self, tasks: &Tasks, stop: &Stop) {
        for hook in &self.hooks {
            let courier = hook.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(courier) = courier {
                drop(tasks.spawn(courier.run(stop.clone())));
            }
        }
    }

    /// Whether anybody is told of `kind`.
    pub(super) fn want(&self, kind: NoticeKind) -> bool {
        self.hooks.iter().any(|hook| hook.events.contains(&kind))
    }

    /// Tells `notice` to whoever wants it.
    pub(super) fn tell(&self, notice: &Notice) {
        for hook in self.hooks.iter().filter(|hook| hook.events.contains(&notice.kind)) {
            if hook.notices.try_send(notice.clone()).is_err() {
                hook.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many notices were told so far, and how many were dropped.
    pub(super) fn counts(&self) -> (u64, u64) {
        let sum = |pick: fn(&HookCounts) -> &AtomicU64| {
            self.hooks.iter().map(|hook| pick(&hook.counts).load(Ordering::Relaxed)).sum()
        };
        (sum(|counts| &counts.told), sum(|counts| &counts.dropped))
    }
}
