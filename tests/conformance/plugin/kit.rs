//! The plugin of the conformance kit: each event's type says what is to become of it.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use weir_plugin::{Action, Event, Failure, Patch, Plugin, Row, Step, Value as Set};

/// The `config` table of the step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    word: String,
}

const FIELDS: [&str; 5] = ["user.plan", "n", "items[0].sku", r#"odd["a.b"]"#, "$"];

/// The plugin; it counts the events that it has seen.
pub struct Kit {
    word: String,
    seen: u64,
}

impl Plugin for Kit {
    type Config = Config;

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if config.word.is_empty() {
            return Err("a word is needed".into());
        }
        Ok(Self { word: config.word, seen: 0 })
    }

    fn fields(&self) -> Vec<String> {
        FIELDS.map(str::to_owned).into()
    }

    fn needs_data(&self) -> bool {
        true
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        self.seen += 1;
        let row = Row::new;
        Ok(match event.event_type() {
            "drop" => Action::Drop,
            "replace" => Action::Replace(format!(r#"{{"was":{}}}"#, event.text()?).into_bytes()),
            "nothing" => Action::Emit(Vec::new()),
            "same" => Action::Emit(vec![row()]),
            "bare" => Action::Emit(vec![row().subject(None)]),
            "split" => Action::Emit(vec![
                row().event_type("left").subject(Some("ö")).route("odd"),
                row().data("right €").content_type(Some("text/plain")),
                row().extension("b", "3").without_extension("a"),
            ]),
            "invalid" => return Err(Failure::invalid("as told")),
            "transient" => return Err(Failure::transient("as told")),
            "internal" => return Err(Failure::internal("as told")),
            "text" => Action::Replace(format!("{} {}", self.word, event.text()?).into_bytes()),
            "count" => Action::Replace(self.seen.to_string().into_bytes()),
            "fields" => Action::Replace(self.fields(event)?.to_string().into_bytes()),
            "absent" => {
                let absent = FIELDS.map(|path| !event.field(path).is_present());
                Action::Replace(json!(absent).to_string().into_bytes())
            }
            "set" => {
                let patch = event.set("user.plan", "ö \"x\"\n").set("seen", true).set("n", 2.5);
                patch.set("list", json!([1, { "a": null }])).set("none", Set::null()).into()
            }
            "remove" => event.remove("user.email").remove("items[0]").into(),
            "patch" => {
                let patch = event.set("a.b", 1).remove("a.c").set("n", false);
                patch.set(r#"a["odd.key"]"#, "").into()
            }
            "untouched" => Patch::default().into(),
            "show" => Action::Replace(self.show(event).to_string().into_bytes()),
            _ => Action::Keep,
        })
    }
}

impl Kit {
    fn fields(&self, event: &Event<'_>) -> Result<Value, Failure> {
        let values = FIELDS.map(|path| event.field(path).json::<Value>());
        let values = values.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "fields": values, "twice": event.is_ambiguous("n") }))
    }

    fn show(&self, event: &Event<'_>) -> Value {
        let extensions: Map<String, Value> =
            event.extensions().map(|(name, value)| (name.to_owned(), value.into())).collect();
        json!({
            "id": event.id(),
            "source": event.source(),
            "type": event.event_type(),
            "subject": event.subject(),
            "contentType": event.content_type(),
            "time": event.time(),
            "bytes": event.data().len(),
            "extensions": extensions,
            "word": self.word,
        })
    }
}

weir_plugin::register!(Kit);
