//! Points in time as JSON has them.

const DAY: u64 = 86_400_000_000;

/// `micros` since the Unix epoch, as RFC 3339 writes it in UTC.
pub(crate) fn written(micros: u64) -> String {
    let (year, month, day) = date(micros / DAY);
    let of_day = micros % DAY;
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// The date of a day, counted from the Unix epoch. It is that of a year which begins in March, so
/// that a leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    /// From the first of March of the year 0 to the epoch, and the days of 400 years.
    const BEFORE: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + BEFORE;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let is_next = month >= 10;
    let month = if is_next { month - 9 } else { month + 3 };
    (year + era * 400 + u64::from(is_next), month, day)
}
