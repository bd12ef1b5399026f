//! A dedupe window as bytes, so that a restart remembers it.
//!
//! Little-endian: a mark, the seed of the hashes, when it was made (milliseconds since 1970), the
//! age of the younger generation (milliseconds), how many ids either generation has, then these.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{Dedupe, DedupeSettings, Keys, Window};

/// What a file begins with; another number would be another layout.
const MARK: &[u8; 8] = b"weirids1";

const KEY: usize = size_of::<u128>();

impl Dedupe {
    /// What it remembers, as of `now`.
    pub fn pack(&self, now: SystemTime) -> Vec<u8> {
        let window = self.lock();
        let ids = window.young.len() + window.old.len();
        let mut bytes = Vec::with_capacity(MARK.len() + KEY + 4 * 8 + ids * KEY);
        bytes.extend_from_slice(MARK);
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        let numbers = [
            millis(now.duration_since(UNIX_EPOCH).unwrap_or_default()),
            millis(window.since.elapsed()),
            window.young.len() as u64,
            window.old.len() as u64,
        ];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        for key in window.young.iter().chain(&window.old) {
            bytes.extend_from_slice(&key.to_le_bytes());
        }
        bytes
    }

    /// What was packed, as of `now`; `None` if `bytes` are something else, or all is too old.
    pub fn unpack(mut bytes: &[u8], settings: DedupeSettings, now: SystemTime) -> Option<Self> {
        if take(&mut bytes)? != *MARK {
            return None;
        }
        let seed = u128::from_le_bytes(take(&mut bytes)?);
        let mut number = || take(&mut bytes).map(u64::from_le_bytes);
        let (made, age, young, old) = (number()?, number()?, number()?, number()?);
        let (keys, rest) = bytes.as_chunks::<KEY>();
        if !rest.is_empty() || keys.len() as u64 != young.checked_add(old)? {
            return None;
        }
        // A clock that was set back makes nothing younger than it was.
        let made = UNIX_EPOCH.checked_add(Duration::from_millis(made))?;
        let away = now.duration_since(made).unwrap_or_default();
        let since = Instant::now().checked_sub(away.checked_add(Duration::from_millis(age))?)?;
        let (young, old) = keys.split_at(usize::try_from(young).ok()?);
        let read = |keys: &[[u8; KEY]]| keys.iter().map(|key| u128::from_le_bytes(*key)).collect();
        let (young, old): (Keys, Keys) = (read(young), read(old));
        let mut window =
            Window { settings, young, old, since, open: std::collections::HashMap::default() };
        window.expire(Instant::now());
        let is_empty = window.young.is_empty() && window.old.is_empty();
        (!is_empty).then(|| Self { seed, window: Mutex::new(window) })
    }
}

/// The first bytes of `bytes`, which go on behind them.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
