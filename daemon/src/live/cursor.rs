//! A place in a hub's sequence, as subscribers carry it: `epoch.seq`, opaque to them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

/// Longest text that is read as a cursor.
const CURSOR_LEN_MAX: usize = 40;

/// Digits of an epoch in text.
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Which life of a hub a sequence number belongs to; new with every start of the daemon, unless the
/// hub keeps its history on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// An epoch of a hub that never lived: whoever resumes from it is told of a restart.
    pub const UNKNOWN: Self = Self(0);

    /// A new epoch, picked at random.
    pub fn random() -> Self {
        Self(fastrand::u32(1..))
    }

    /// The epoch of a hub whose journal has this one.
    pub(super) fn of_journal(epoch: u64) -> Self {
        // A journal's is drawn by chance, so any 32 bits of it tell it from another.
        Self(((epoch ^ (epoch >> 32)) as u32).max(1))
    }

    /// The epoch that a daemon knows as `number`.
    pub(super) fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// As a number, for other daemons.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// The epoch of a hub that learns it from its journal.
#[derive(Debug)]
pub(super) struct EpochCell(AtomicU32);

impl EpochCell {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self(AtomicU32::new(epoch.0))
    }

    pub(super) fn get(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, epoch: Epoch) {
        self.0.store(epoch.0, Ordering::Relaxed);
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 7];
        let mut rest = self.0;
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = BASE36[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        f.write_str(str::from_utf8(&digits[start..]).expect("base 36 is ASCII"))
    }
}

/// A place in a hub's sequence: everything up to and including `seq` is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The life of the hub.
    pub epoch: Epoch,
    /// The last event behind the cursor; 0 before the first one.
    pub seq: u64,
}

impl Cursor {
    /// A place in no hub's sequence.
    pub const UNKNOWN: Self = Self { epoch: Epoch::UNKNOWN, seq: 0 };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// A text that no hub gave out as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a cursor that this daemon gave out")]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
        if text.len() > CURSOR_LEN_MAX || !text.bytes().all(is_plain) {
            return Err(CursorError);
        }
        let (epoch, seq) = text.split_once('.').ok_or(CursorError)?;
        match (u32::from_str_radix(epoch, 36), seq.parse()) {
            (Ok(epoch), Ok(seq)) => Ok(Self { epoch: Epoch(epoch), seq }),
            _ => Err(CursorError),
        }
    }
}
