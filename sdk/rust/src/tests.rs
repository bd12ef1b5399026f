//! What authors see of events, and what becomes of their answers.

use serde::Deserialize;

use crate::testing::{Draft, Emitted, Harness, Judged, event, logged};
use crate::{
    Action, Batch, Event, Failure, FailureKind, NoConfig, Plugin, Row, Snapshot, Step, Timer,
    Verdicts, log,
};

/// Answers with what its config says, or with what it sees.
#[derive(Debug)]
struct Probe(Config);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    data: bool,
    verdicts: usize,
}

impl Plugin for Probe {
    type Config = Config;

    fn configure(config: Config, step: &Step) -> Result<Self, String> {
        log::info(format_args!("{}/{}", step.pipeline, step.name));
        Ok(Self(config))
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let row = || Row::new();
        Ok(match event.event_type() {
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "replace" => Action::Replace(b"new".to_vec()),
            "nothing" => Action::Emit(Vec::new()),
            "same" => Action::Emit(vec![row()]),
            "split" => Action::Emit(vec![
                row().event_type("left").subject(Some("s")).route("odd"),
                row().data("right").content_type(None).extension("b", "3").without_extension("a"),
            ]),
            "json" => {
                let text: &str = event.json()?;
                Action::Replace(text.into())
            }
            "text" => Action::Replace(event.text()?.into()),
            "transient" => return Err(Failure::transient("away")),
            _ => Action::Replace(format!("{event:?}").into_bytes()),
        })
    }

    fn transform_batch(
        &mut self,
        batch: Batch<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> Result<(), String> {
        for event in batch.events() {
            match self.transform(&event) {
                Ok(action) => verdicts.act(action),
                Err(failure) => verdicts.fail(failure),
            }
        }
        (0..self.0.verdicts).for_each(|_| verdicts.discard());
        Ok(())
    }

    fn needs_data(&self) -> bool {
        self.0.data
    }
}

fn judge(event: Draft) -> Judged {
    Harness::<Probe>::new("{}").unwrap().judge(event)
}

fn of_type(event_type: &str) -> Draft {
    event().event_type(event_type)
}

fn emitted(judged: Judged) -> Vec<Emitted> {
    match judged {
        Judged::Emit(rows) => rows,
        judged => panic!("{judged:?}"),
    }
}

#[test]
fn verdicts_keep_the_order_of_events() {
    let types = ["keep", "replace", "drop", "transient", "split", "keep", "nothing"];
    let mut probe = Harness::<Probe>::new("{}").unwrap();
    let judged = probe.run(&types.map(of_type)).unwrap();
    assert_eq!(judged[0], Judged::Keep);
    assert_eq!(judged[1].texts(), ["new"]);
    assert_eq!(judged[2], Judged::Drop);
    assert_eq!(judged[3], Judged::Fail(FailureKind::Transient, "away".to_owned()));
    assert_eq!(judged[4].texts(), ["{}", "right"]);
    assert_eq!(judged[5], Judged::Keep);
    assert_eq!(judged[6], Judged::Drop);
    assert_eq!(probe.run(&[]).unwrap(), []);
}

#[test]
fn rows_inherit_what_they_do_not_set() {
    let draft = of_type("split").subject("old").data("d").extension("a", "1").extension("b", "2");
    let rows = emitted(judge(draft));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        rows[0],
        Emitted {
            event_type: "left".to_owned(),
            subject: Some("s".to_owned()),
            content_type: Some("application/json".to_owned()),
            data: b"d".to_vec(),
            extensions: vec![pair("a", "1"), pair("b", "2")],
            route: Some("odd".to_owned()),
        }
    );
    assert_eq!(
        rows[1],
        Emitted {
            event_type: "split".to_owned(),
            subject: Some("old".to_owned()),
            content_type: None,
            data: b"right".to_vec(),
            extensions: vec![pair("b", "3")],
            route: None,
        }
    );
    let same = emitted(judge(of_type("same").data("d").extension("a", "1")));
    assert_eq!((same[0].text(), same[0].event_type.as_str()), ("d".to_owned(), "same"));
    assert_eq!(same[0].extensions, [pair("a", "1")]);
}

#[test]
fn an_event_shows_its_attributes() {
    let draft = of_type("show").id("7").source("/s").subject("me").time(5).data("{}");
    assert_eq!(
        judge(draft).texts(),
        [
            r#"Event { id: "7", source: "/s", type: "show", subject: Some("me"), time: 5, data: "{}" }"#
        ]
    );
}

#[test]
fn data_of_the_wrong_shape_blames_the_event() {
    assert_eq!(judge(of_type("json").data(r#""text""#)).texts(), ["text"]);
    assert_eq!(judge(of_type("text").data("text")).texts(), ["text"]);
    for (event_type, words) in [("json", "data is not the JSON"), ("text", "data is not UTF-8")] {
        match judge(of_type(event_type).data(vec![0xff])) {
            Judged::Fail(FailureKind::Invalid, message) => {
                assert!(message.starts_with(words), "{message}");
            }
            judged => panic!("{judged:?}"),
        }
    }
}

#[test]
fn more_verdicts_than_events_are_an_error_and_fewer_keep() {
    let mut probe = Harness::<Probe>::new(r#"{"verdicts":2}"#).unwrap();
    let error = probe.run(&[of_type("keep")]).unwrap_err();
    assert_eq!(error, "the plugin gave 3 verdicts for 1 events");
    let columns = Harness::<Lazy>::new("").unwrap().run(&[event(), event()]);
    assert_eq!(columns.unwrap(), [Judged::Keep, Judged::Keep]);
}

/// Gives no verdicts at all.
#[derive(Debug)]
struct Lazy;

impl Plugin for Lazy {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Step) -> Result<Self, String> {
        Ok(Self)
    }

    fn transform(&mut self, _: &Event<'_>) -> Result<Action, Failure> {
        Ok(Action::Drop)
    }

    fn transform_batch(&mut self, _: Batch<'_>, _: &mut Verdicts<'_>) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_config_error_has_no_place_in_a_text_that_nobody_wrote() {
    let error = Harness::<Probe>::new(r#"{"dta":true}"#).unwrap_err();
    assert_eq!(error, "unknown field `dta`, expected `data` or `verdicts`");
    let error = Harness::<Lazy>::new(r#"{"a":1}"#).unwrap_err();
    assert_eq!(error, "unknown field `a`, there are no fields");
}

#[test]
fn log_lines_are_kept_for_tests() {
    Harness::<Probe>::new("{}").unwrap();
    assert_eq!(logged(), [(log::Level::Info, "test/step".to_owned())]);
    assert_eq!(logged(), []);
}

/// Reads two fields and changes some.
#[derive(Debug)]
struct Marker;

impl Plugin for Marker {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Step) -> Result<Self, String> {
        Ok(Self)
    }

    fn fields(&self) -> Vec<String> {
        vec!["user.plan".to_owned(), "n".to_owned()]
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        if !event.field("n").is_present() {
            return Ok(Action::Keep);
        }
        let n: f64 = event.field("n").json()?;
        let plan = event.field("user.plan").as_str().unwrap_or("none").to_owned();
        Ok(event.set("plan", plan).set("twice", n * 2.0).remove("user").into())
    }
}

#[test]
fn fields_are_read_and_set_without_a_document() {
    let mut marker = Harness::<Marker>::new("").unwrap();
    let events = [
        event().data(r#"{"user":{"plan":"p\u0072o"},"n":1.5,"x":[ ]}"#),
        event().data(r#"{"user":{"plan":"pro"}}"#),
        event().data("not JSON"),
        event().data(r#"{"n":"text"}"#),
        event().data(r#"{"n":7}"#),
    ];
    let judged = marker.run(&events).unwrap();
    assert_eq!(judged[0].texts(), [r#"{"n":1.5,"x":[ ],"plan":"pro","twice":3.0}"#]);
    assert_eq!(judged[1..3], [Judged::Keep, Judged::Keep]);
    assert!(matches!(&judged[3], Judged::Fail(FailureKind::Invalid, _)), "{judged:?}");
    assert_eq!(judged[4].texts(), [r#"{"n":7,"plan":"none","twice":14.0}"#]);
}

#[test]
fn capabilities_have_a_world_of_their_own_in_tests() {
    use crate::testing::{measured, set_clock, set_response, set_table};
    use crate::{clock, http, kv, lookup, metrics, random};
    use std::time::Duration;

    set_clock(5_000_000);
    assert_eq!(clock::now(), 5_000_000);
    assert_eq!(random::bytes(3).len(), 3);
    assert_ne!(random::bytes(16), random::bytes(16));
    metrics::count("hits", 2);
    metrics::count("hits", 1);
    metrics::gauge("depth", 2.5);
    assert_eq!((measured("hits"), measured("depth"), measured("no")), (Some(3.0), Some(2.5), None));

    set_response("GET", "https://a.example/plan", 200, r#"{"plan":"pro"}"#);
    let answered = http::get("https://a.example/plan").header("x-key", "k").send().unwrap();
    let plan: std::collections::BTreeMap<String, String> = answered.json().unwrap();
    assert_eq!((answered.status, plan["plan"].as_str()), (200, "pro"));
    let other = http::post("https://a.example/plan", "x").send();
    assert_eq!(other, Err(http::Error::Denied));
    assert_eq!(Failure::from(http::Error::Timeout).kind(), FailureKind::Transient);
    assert!(lookup::Table::open("users").unwrap_err().contains("no table `users`"));
    set_table("users", &[("ann", r#"{"plan":"pro"}"#), ("bob", "{}")]);
    let found = lookup::Table::open("users").unwrap().find(["bob", "eve", "ann"]);
    let values: Vec<Option<&str>> = (0..found.len()).map(|index| found.get(index)).collect();
    assert_eq!(values, [Some("{}"), None, Some(r#"{"plan":"pro"}"#)]);

    let second = Some(Duration::from_secs(1));
    kv::set("a", b"x", second).unwrap();
    assert_eq!(kv::increment("n", 2, second), Ok(2));
    set_clock(5_500_000);
    assert_eq!(kv::increment("n", 2, second), Ok(4));
    assert_eq!(kv::get("a"), Ok(Some(b"x".to_vec())));
    let failure = Failure::from(kv::increment("a", 1, None).unwrap_err());
    assert_eq!(failure.kind(), FailureKind::Transient);
    set_clock(6_000_000);
    assert_eq!((kv::get("a"), kv::increment("n", 1, None)), (Ok(None), Ok(1)));
    kv::delete("n").unwrap();
    assert_eq!(kv::get("n"), Ok(None));
}

/// Counts events, and says how many when it is told the time.
struct Counter(usize);

impl Plugin for Counter {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Step) -> Result<Self, String> {
        Ok(Self(0))
    }

    fn transform(&mut self, _: &Event<'_>) -> Result<Action, Failure> {
        self.0 += 1;
        Ok(Action::Keep)
    }
}

impl Timer for Counter {
    fn tick(&mut self, now: u64) -> Result<Vec<Row>, Failure> {
        let count = Row::new().event_type("count").data(self.0.to_string());
        let time =
            Row::new().event_type("time").subject(Some("s")).extension("now", now.to_string());
        match self.0 {
            0 => Err(Failure::internal("nothing was counted")),
            9 => Ok(vec![time, Row::new()]),
            _ => Ok(vec![count, time.route("side")]),
        }
    }
}

#[test]
fn a_tick_emits_rows_that_inherit_nothing() {
    let mut counter = Harness::<Counter>::new("").unwrap();
    assert_eq!(counter.tick(7).unwrap_err(), "nothing was counted");
    counter.run(&[event(), event()]).unwrap();
    let emitted = counter.tick(8).unwrap();
    assert_eq!(crate::clock::now(), 8);
    let nothing = Emitted {
        event_type: "count".to_owned(),
        subject: None,
        content_type: None,
        data: b"2".to_vec(),
        extensions: vec![],
        route: None,
    };
    let time = Emitted {
        event_type: "time".to_owned(),
        subject: Some("s".to_owned()),
        data: vec![],
        extensions: vec![("now".to_owned(), "8".to_owned())],
        route: Some("side".to_owned()),
        ..nothing.clone()
    };
    assert_eq!(emitted, [nothing, time]);
    counter.run(&vec![event(); 7]).unwrap();
    assert!(counter.tick(9).unwrap_err().contains("no type"));
}

impl Snapshot for Counter {
    fn save(&mut self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(state);
        self.0 = text.parse().map_err(|error| format!("no number: {error}"))?;
        Ok(())
    }
}

#[test]
fn state_is_handed_over_to_another_plugin() {
    let mut old = Harness::<Counter>::new("").unwrap();
    old.run(&[event(), event()]).unwrap();
    let mut new = Harness::<Counter>::new("").unwrap();
    new.restore(&old.save()).unwrap();
    assert_eq!(new.tick(7).unwrap()[0].text(), "2");
    assert!(new.restore(b"x").unwrap_err().contains("no number"));
}
