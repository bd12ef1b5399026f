//! Keys that are read again: a file soon after it has changed, what is elsewhere now and then, and
//! when a token names a key that is not known. What cannot be read changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::keys::{Keys, KeysError, LEN_MAX};
use super::{Origin, Verifier};
use crate::net::{HttpClient, shown};
use crate::tasks::Stop;

/// How often a file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// How often keys are fetched when nothing asks for them.
const FETCH_EVERY: Duration = Duration::from_secs(300);

/// They are not fetched again sooner, whatever tokens name.
const FETCH_PAUSE: Duration = Duration::from_secs(5);

/// The first pause after a failure; each is twice the last, up to [`FETCH_EVERY`].
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Keeps the keys of `verifier` as they are where they come from.
pub(super) async fn run(verifier: Arc<Verifier>, mut stop: Stop) {
    let work = async {
        match &verifier.origin {
            Origin::Settings => {}
            Origin::File(file) => watch(&verifier, file).await,
            Origin::Url(url) => fetch(&verifier, url).await,
        }
    };
    tokio::select! {
        () = stop.asked() => {}
        () = work => {}
    }
}

async fn watch(verifier: &Verifier, file: &Path) {
    let place = file.display().to_string();
    let mut is_failing = false;
    loop {
        sleep(LOOK).await;
        let path = file.to_path_buf();
        if let Ok(read) = spawn_blocking(move || Keys::read(&path)).await {
            is_failing = !take(verifier, &place, read, is_failing);
        }
    }
}

async fn fetch(verifier: &Verifier, url: &Uri) {
    let place = shown(url);
    let mut is_failing = false;
    let mut pause = RETRY_FIRST;
    loop {
        is_failing = !take(verifier, &place, fetched(url).await, is_failing);
        if is_failing {
            sleep(pause).await;
            pause = (pause * 2).min(FETCH_EVERY);
            continue;
        }
        pause = RETRY_FIRST;
        sleep(FETCH_PAUSE).await;
        tokio::select! {
            () = verifier.wanted.notified() => {}
            () = sleep(FETCH_EVERY) => {}
        }
    }
}

async fn fetched(url: &Uri) -> Result<Keys, KeysError> {
    let text = HttpClient::new()?.get(url, LEN_MAX as usize).await?;
    Keys::parse(&text)
}

/// Takes over what was read; answers whether that could be done.
fn take(
    verifier: &Verifier,
    place: &str,
    read: Result<Keys, KeysError>,
    was_failing: bool,
) -> bool {
    match read {
        Ok(keys) => {
            if keys != **verifier.keys.load() {
                info!(place, "keys have changed");
                verifier.keys.store(Arc::new(keys));
            }
            true
        }
        Err(error) => {
            if !was_failing {
                warn!(place, %error, "keys cannot be read; keeping those that are known");
            }
            false
        }
    }
}
