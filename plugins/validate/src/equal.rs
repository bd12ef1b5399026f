//! Whether JSON values are equal: `1` and `1.0` are, and so are objects in any order of keys.

use std::collections::HashSet;

use serde_json::{Number, Value};

/// Whether two values are equal.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let has = |(key, left): (&String, &Value)| {
                right.get(key).is_some_and(|right| equal(left, right))
            };
            left.len() == right.len() && left.iter().all(has)
        }
        _ => left == right,
    }
}

/// Whether no two of the values are equal.
pub(crate) fn all_differ(values: &[Value]) -> bool {
    let mut seen = HashSet::with_capacity(values.len());
    values.iter().all(|value| {
        let mut written = String::new();
        write(value, &mut written);
        seen.insert(written)
    })
}

fn same_number(left: &Number, right: &Number) -> bool {
    left == right || (left.is_f64() != right.is_f64() && left.as_f64() == right.as_f64())
}

/// Writes a value so that equal ones are written alike.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|it| number.is_f64() && it.fract() == 0.0);
            match whole {
                // The range in which every whole number has a fraction of its own.
                Some(whole) if whole.abs() < 9e15 => out.push_str(&(whole as i64).to_string()),
                _ => out.push_str(&number.to_string()),
            }
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            // In the order of their keys, which is how they are kept.
            for (key, value) in members {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
                out.push(',');
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}
