//! What `units` promises, tried out.

use std::time::Duration;

use super::{Size, Time, format_time, parse_time};

fn time(text: &str) -> Result<Duration, String> {
    text.parse::<Time>().map(|time| time.0).map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<usize, String> {
    text.parse::<Size>().map(|size| size.0).map_err(|error| error.to_string())
}

#[test]
fn durations_are_read_with_their_unit() {
    assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(time(" 10 s "), Ok(Duration::from_secs(10)));
    assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
    assert_eq!(time("1h"), Ok(Duration::from_secs(3_600)));
    assert_eq!(time("7d"), Ok(Duration::from_secs(7 * 86_400)));
}

#[test]
fn sizes_are_read_with_their_unit() {
    assert_eq!(size("512B"), Ok(512));
    assert_eq!(size("64KiB"), Ok(65_536));
    assert_eq!(size("1MB"), Ok(1_000_000));
    assert_eq!(size("1MiB"), Ok(1 << 20));
}

#[test]
fn what_is_wrong_with_a_duration_or_size_is_said() {
    assert_eq!(time("fast"), Err("expected a whole number and a unit, such as `250ms`".into()));
    assert_eq!(time("-1s"), Err("expected a whole number and a unit, such as `250ms`".into()));
    assert_eq!(time("10"), Err("the unit is missing: write `10s`".into()));
    assert_eq!(
        time("10 sec"),
        Err("unknown unit `sec`, expected one of `ms`, `s`, `m`, `h`, `d`".into())
    );
    assert_eq!(time("99999999999999999999s"), Err("the number is too large".into()));
    assert_eq!(time("9999999999999999d"), Err("the number is too large".into()));
    assert_eq!(size("1.5MiB").unwrap_err().split(',').next(), Some("unknown unit `.5MiB`"));
    assert_eq!(size("64"), Err("the unit is missing: write `64B`".into()));
}

#[test]
fn durations_and_sizes_are_written_as_they_are_read() {
    for text in ["0ms", "250ms", "90s", "5m", "36h", "7d"] {
        assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
    }
    for text in ["0B", "1000B", "64KiB", "3MiB", "2GiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
}

#[test]
fn times_of_events_survive_the_way_through_text() {
    let micros = parse_time("2025-11-24T16:00:00.123456Z").unwrap();
    assert_eq!(micros, 1_764_000_000_123_456);
    assert_eq!(parse_time("2025-11-24T17:00:00.123456+01:00"), Some(micros));
    for (micros, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_764_000_000_123_000, "2025-11-24T16:00:00.123Z"),
        (micros, "2025-11-24T16:00:00.123456Z"),
        (u64::MAX, "9999-12-31T23:59:59.999999Z"),
    ] {
        let mut out = String::new();
        format_time(micros, &mut out);
        assert_eq!(out, text);
        assert!(micros == u64::MAX || parse_time(&out) == Some(micros));
    }
}

#[test]
fn texts_that_are_no_time_are_refused() {
    for text in ["", "yesterday", "2025-11-24", "2025-13-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
        assert_eq!(parse_time(text), None, "{text}");
    }
}
