//! A plugin that asks the host for what the data of each event says: words such as `get a`.
//!
//! It answers in place of the event. What it asks in `configure` is its config, a JSON string.

wit_bindgen::generate!({
    inline: "
        package tests:asker;
        world asker {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/kv@1.0.0;
            import weir:plugin/lookup@1.0.0;
            import weir:plugin/metrics@1.0.0;
            import weir:plugin/random@1.0.0;
        }
    ",
    path: "../../../sdk/wit",
    generate_all,
});

use exports::weir::plugin::{lifecycle, transform};
use weir::plugin::types::{Batch, Needs, Outcome, Rows, Step, Verdict};
use weir::plugin::{kv, lookup, metrics, random};

struct Asker;

export!(Asker);

impl lifecycle::Guest for Asker {
    fn configure(config: String, _: Step) -> Result<Needs, String> {
        let question = config.trim_matches(['"', '{', '}']);
        if !question.is_empty() {
            ask(question)?;
        }
        Ok(Needs { fields: Vec::new(), data: true })
    }

    fn schema() -> Option<String> {
        None
    }
}

impl transform::Guest for Asker {
    fn process(input: Batch) -> Result<Outcome, String> {
        let mut data = Vec::new();
        let mut data_ends = Vec::new();
        let mut start = 0;
        for end in &input.data_ends {
            let question = &input.data[start..*end as usize];
            start = *end as usize;
            let question = String::from_utf8_lossy(question);
            let answer = ask(question.trim_matches('"')).unwrap_or_else(|error| error);
            // A question in JSON is answered in JSON.
            let is_json = question.starts_with('"');
            data.extend(if is_json { format!("{answer:?}") } else { answer }.bytes());
            data_ends.push(data.len() as u32);
        }
        let emitted = Rows {
            origins: (0..data_ends.len() as u32).collect(),
            data_ends,
            data,
            dictionary_ends: Vec::new(),
            dictionary: String::new(),
            types: Vec::new(),
            subjects: Vec::new(),
            content_types: Vec::new(),
            routes: Vec::new(),
            extensions: None,
        };
        let verdicts = vec![Verdict::Emit; emitted.origins.len()];
        Ok(Outcome { verdicts, patches: None, emitted: Some(emitted), failures: Vec::new() })
    }
}

fn ask(question: &str) -> Result<String, String> {
    let words: Vec<&str> = question.split(' ').collect();
    Ok(match words[..] {
        ["get", key] => format!("{:?}", kv::get(key)?.map(|value| String::from_utf8(value))),
        ["set", key, value] => format!("{:?}", kv::set(key, value.as_bytes(), None)?),
        ["set", key, value, ttl] => {
            format!("{:?}", kv::set(key, value.as_bytes(), ttl.parse().ok())?)
        }
        ["fill", key, len] => {
            format!("{:?}", kv::set(key, &vec![0; len.parse().unwrap_or(0)], None)?)
        }
        ["delete", key] => format!("{:?}", kv::delete(key)?),
        ["add", key, by] => kv::increment(key, by.parse().unwrap_or(0), None)?.to_string(),
        // Never more than the quota lets in.
        ["hoard"] => (0..)
            .map(|key: u64| kv::set(&key.to_string(), &[0; 1000], None))
            .find_map(Result::err)
            .unwrap_or_default(),
        ["ask", "for", "ever"] => loop {
            kv::get("a")?;
        },
        ["random", len] => {
            let len = len.parse().unwrap_or(0);
            let bytes = random::fill(len);
            let distinct: std::collections::BTreeSet<u8> = bytes.iter().copied().collect();
            format!("{} {}", bytes.len(), distinct.len() > 100)
        }
        ["count", name, n] => format!("{:?}", metrics::count(name, n.parse().unwrap_or(0))),
        ["gauge", name, n] => format!("{:?}", metrics::gauge(name, n.parse().unwrap_or(0.0))),
        ["observe", name, n] => format!("{:?}", metrics::observe(name, n.parse().unwrap_or(0.0))),
        ["many", "names"] => {
            (0..100).for_each(|name| metrics::count(&format!("name{name}"), 1));
            String::new()
        }
        ["open", table] => lookup::open(table).map(|_| "open".to_owned())?,
        ["open", table, "for", "ever"] => {
            let mut held = Vec::new();
            loop {
                held.push(lookup::open(table)?);
            }
        }
        ["find", table, ref keys @ ..] => {
            let keys: Vec<&str> = keys.to_vec();
            find(table, &keys)?
        }
        ["cut", table, end] => {
            let table = lookup::open(table)?;
            format!("{:?}", table.get(&[end.parse().unwrap_or(0)], "é").present)
        }
        ["cycle", table, times, key] => {
            let times = times.parse().unwrap_or(0);
            find(table, &vec![key; times])?.len().to_string()
        }
        _ => return Err(format!("what is `{question}`?")),
    })
}

/// All in one call.
fn find(table: &str, keys: &[&str]) -> Result<String, String> {
    let table = lookup::open(table)?;
    let mut ends = Vec::new();
    let mut text = String::new();
    for key in keys {
        text.push_str(key);
        ends.push(text.len() as u32);
    }
    let found = table.get(&ends, &text);
    let mut start = 0;
    let mut said = Vec::new();
    for (present, end) in found.present.iter().zip(found.value_ends) {
        let value = &found.values[start..end as usize];
        start = end as usize;
        said.push(if *present { value } else { "-" });
    }
    Ok(said.join(" "))
}
