//! What `component` promises, tried out.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{Settings, Table, nearest};
use crate::template::Template;
use crate::units::{Size, Time};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Direct,
    Topic,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Exchange {
    name: String,
    kind: Kind,
    #[serde(default)]
    declare: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Config {
    url: String,
    timeout: Time,
    size: Size,
    address: SocketAddr,
    exchange: Exchange,
    routing_key: Option<Template>,
    #[serde(default)]
    hosts: Vec<String>,
}

/// Every fault of `text`, each with the text that it points at.
fn faults(text: &str) -> Vec<String> {
    let (table, syntax) = Table::parse(text);
    assert_eq!(syntax, []);
    let faults = Settings::new(table).read::<Config>().expect_err("there are faults");
    let shown = faults.into_iter().map(|fault| {
        let place = &text[fault.span.unwrap_or_default()];
        format!("{} {} at [{place}] {}", fault.code, fault.message, fault.help.unwrap_or_default())
    });
    shown.collect()
}

#[test]
fn all_faults_of_a_table_are_found_in_one_pass() {
    let text = r#"
        ulr = "x"
        timeout = 5
        size = "1 MiB"
        exchange = { nmae = "e", kind = "topics", declare = "yes" }
        routing_key = "{{type"
        hosts = ["a", 1, "b"]
    "#;
    assert_eq!(
        faults(text),
        [
            "W0202 invalid type: string \"yes\", expected a boolean at [\"yes\"] ",
            "W0204 unknown value `topics` at [\"topics\"] did you mean `topic`?",
            "W0201 unknown key `nmae` at [nmae] did you mean `name`?",
            "W0203 the key `name` is missing at [{ nmae = \"e\", kind = \"topics\", declare = \"yes\" }] ",
            "W0202 invalid type: integer `1`, expected a string at [1] ",
            "W0202 the template is broken at its character 1: `{{` is never closed with `}}` at [\"{{type\"] ",
            "W0202 invalid type: integer `5`, expected a duration such as \"250ms\" at [5] ",
            "W0201 unknown key `ulr` at [ulr] did you mean `url`?",
            "W0203 the key `url` is missing at [] ",
            "W0203 the key `address` is missing at [] ",
        ]
    );
}

#[test]
fn every_missing_key_is_named() {
    let missing = ["url", "timeout", "size", "address", "exchange"];
    let faults = faults("");
    assert_eq!(faults.len(), missing.len(), "{faults:?}");
    for (fault, key) in faults.iter().zip(missing) {
        assert!(fault.contains(&format!("`{key}`")), "{fault}");
    }
}

#[test]
fn a_near_miss_has_a_suggestion_and_a_far_one_has_none() {
    let known = ["history", "address", "type"];
    assert_eq!(nearest("histroy", known), Some("history"));
    assert_eq!(nearest("adress", known), Some("address"));
    assert_eq!(nearest("TYPE", known), Some("type"));
    assert_eq!(nearest("hist", known), Some("history"));
    assert_eq!(nearest("banana", known), None);
}
