//! Durations, sizes and points in time, as files and publishers write them.
//!
//! Settings say [`Time`] and [`Size`] as strings with units; events carry their time as
//! microseconds since the Unix epoch, which [`parse_time`] and [`format_time`] translate.

#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A duration, written `"250ms"`, `"10s"`, `"5m"`, `"1h"` or `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

/// A number of bytes, written `"512B"`, `"64KiB"`, `"1MB"` or `"1MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub usize);

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// It does not start with a whole number.
    #[error("expected a whole number and a unit, such as `{0}`")]
    NoNumber(&'static str),
    /// The unit is missing.
    #[error("the unit is missing: write `{0}`")]
    NoUnit(String),
    /// The unit is none of those known.
    #[error("unknown unit `{unit}`, expected one of {known}")]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// The units there are.
        known: &'static str,
    },
    /// The number is too large.
    #[error("the number is too large")]
    TooLarge,
}

/// The longest duration that a setting may have: a hundred years.
const TIME_MAX_MS: u64 = 100 * 365 * 86_400_000;

/// Names of the units of time, and the milliseconds of each.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Names of the units of size, and the bytes of each.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let units = Units {
            all: &TIME_UNITS,
            known: "`ms`, `s`, `m`, `h`, `d`",
            example: "250ms",
            usual: "s",
        };
        let millis = units.parse(text)?;
        if millis > TIME_MAX_MS {
            return Err(UnitError::TooLarge);
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let units = Units {
            all: &SIZE_UNITS,
            known: "`B`, `KB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`",
            example: "64KiB",
            usual: "B",
        };
        let bytes = units.parse(text)?;
        usize::try_from(bytes).map(Self).or(Err(UnitError::TooLarge))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let largest = TIME_UNITS.iter().rev().find(|(_, scale)| millis.is_multiple_of(*scale));
        let (unit, scale) = match largest {
            Some(unit) if millis > 0 => *unit,
            _ => ("ms", 1),
        };
        write!(f, "{}{unit}", millis / scale)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u64;
        let binary = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let largest = binary.iter().find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
        let (unit, scale) = largest.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", bytes / scale)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnitVisitor("a duration such as \"250ms\"", PhantomData))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnitVisitor("a size such as \"64KiB\"", PhantomData))
    }
}

/// Reads a `T` from a string; says what it expects.
struct UnitVisitor<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = UnitError>> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A family of units.
struct Units {
    all: &'static [(&'static str, u64)],
    known: &'static str,
    example: &'static str,
    usual: &'static str,
}

impl Units {
    fn parse(&self, text: &str) -> Result<u64, UnitError> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim_start());
        if number.is_empty() {
            return Err(UnitError::NoNumber(self.example));
        }
        let number: u64 = number.parse().or(Err(UnitError::TooLarge))?;
        if unit.is_empty() {
            return Err(UnitError::NoUnit(format!("{number}{}", self.usual)));
        }
        let known = self.all.iter().find(|(name, _)| *name == unit);
        let (_, scale) = known
            .ok_or_else(|| UnitError::UnknownUnit { unit: unit.to_owned(), known: self.known })?;
        number.checked_mul(*scale).ok_or(UnitError::TooLarge)
    }
}

/// The time now, in microseconds since the Unix epoch.
pub fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Reads RFC 3339, as `CloudEvents` writes times, into microseconds since the Unix epoch.
///
/// Answers `None` for anything else and for times before the epoch.
pub fn parse_time(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000).ok()
}

/// Appends a time as RFC 3339 in UTC: milliseconds, or microseconds where there are any.
///
/// Times after the year 9999 are written as its last microsecond.
pub fn format_time(micros: u64, out: &mut String) {
    const LAST: u64 = 253_402_300_799_999_999;
    let micros = micros.min(LAST);
    let nanos = i128::from(micros) * 1_000;
    let time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = time.to_hms();
    push_digits(out, u32::try_from(time.year()).unwrap_or_default(), 4);
    out.push('-');
    push_digits(out, u32::from(u8::from(time.month())), 2);
    out.push('-');
    push_digits(out, u32::from(time.day()), 2);
    out.push('T');
    push_digits(out, u32::from(hour), 2);
    out.push(':');
    push_digits(out, u32::from(minute), 2);
    out.push(':');
    push_digits(out, u32::from(second), 2);
    out.push('.');
    let micros = time.microsecond();
    if micros.is_multiple_of(1_000) {
        push_digits(out, micros / 1_000, 3);
    } else {
        push_digits(out, micros, 6);
    }
    out.push('Z');
}

/// Appends `value` in exactly `width` digits.
fn push_digits(out: &mut String, value: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_u32.pow(place) % 10;
        out.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}
