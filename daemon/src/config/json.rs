//! The `config` of a transform as JSON text, which is how a plugin gets it.

use serde_json::{Map, Number};

use crate::component::{BuildError, Node, Table, Value};

/// The JSON text of a `config` table; nothing if it is faulty.
pub(super) fn text(config: Option<Node>, faults: &mut Vec<BuildError>) -> Option<String> {
    let Some(node) = config else { return Some("{}".to_owned()) };
    if !matches!(node.value, Value::Table(_)) {
        let message = format!("`config` is {}, expected a table", node.value.kind());
        faults.push(BuildError::new("W0102", message).at(node.span));
        return None;
    }
    let known = faults.len();
    let json = value(&node, faults);
    (faults.len() == known).then(|| json.to_string())
}

fn value(node: &Node, faults: &mut Vec<BuildError>) -> serde_json::Value {
    match &node.value {
        Value::Text(text) => text.clone().into(),
        Value::Boolean(value) => (*value).into(),
        Value::Datetime(value) => value.to_string().into(),
        Value::Array(nodes) => nodes.iter().map(|node| value(node, faults)).collect(),
        Value::Table(table) => object(table, faults),
        Value::Number(text) => number(text).map(serde_json::Value::Number).unwrap_or_else(|| {
            let message = format!("JSON has no number `{text}`");
            let help = "plugins get their configuration as JSON; write it as a string";
            faults.push(BuildError::new("W0114", message).help(help).at(node.span.clone()));
            serde_json::Value::Null
        }),
    }
}

fn object(table: &Table, faults: &mut Vec<BuildError>) -> serde_json::Value {
    let entries = table.entries.iter();
    let entries = entries.map(|entry| (entry.key.clone(), value(&entry.node, faults)));
    serde_json::Value::Object(entries.collect::<Map<_, _>>())
}

/// A TOML number without underscores as a JSON number.
fn number(text: &str) -> Option<Number> {
    let radix = match text.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    if radix != 10 {
        return i64::from_str_radix(&text[2..], radix).ok().map(Number::from);
    }
    let integer = text.parse::<i64>().map(Number::from);
    let integer = integer.or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    let is_float = text.contains(['.', 'e', 'E']);
    let float = || text.parse().ok().filter(|_| is_float).and_then(Number::from_f64);
    integer.or_else(float)
}
