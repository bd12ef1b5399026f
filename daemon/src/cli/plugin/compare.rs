//! Where two verdicts differ, in words that fit on a line.

use serde_json::Value;

/// Where `actual` first differs from `expected`: the place and the two values there.
pub(super) fn difference(expected: &Value, actual: &Value) -> Option<String> {
    find(expected, actual, "")
}

fn find(expected: &Value, actual: &Value, place: &str) -> Option<String> {
    match (expected, actual) {
        _ if expected == actual => None,
        (Value::Object(expected), Value::Object(actual)) => {
            let names = expected.keys().chain(actual.keys());
            let member = |name: &String| {
                let dot = if place.is_empty() { "" } else { "." };
                let place = format!("{place}{dot}{name}");
                either(expected.get(name), actual.get(name), &place)
            };
            names.into_iter().find_map(member)
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let len = expected.len().max(actual.len());
            let item = |at| either(expected.get(at), actual.get(at), &format!("{place}[{at}]"));
            (0..len).find_map(item)
        }
        _ => Some(format!("{place}: expected {expected}, got {actual}")),
    }
}

fn either(expected: Option<&Value>, actual: Option<&Value>, place: &str) -> Option<String> {
    match (expected, actual) {
        (Some(expected), Some(actual)) => find(expected, actual, place),
        (Some(expected), None) => Some(format!("{place}: expected {expected}, got nothing")),
        (None, Some(actual)) => Some(format!("{place}: expected nothing, got {actual}")),
        (None, None) => None,
    }
}
