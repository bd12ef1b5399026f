//! What an author does first: a new project, its golden files, an event through the running daemon. And one kit of
//! golden batches that the SDKs of all languages pass against the same host.

use std::fs;
use std::path::Path;
use std::time::Duration;

use weir_harness::Weir;
use weir_harness::artifacts::repository;
use weir_harness::directory::Directory;
use weir_harness::tools::{self, Language, Said, plugin};

/// A new project, which fits the language's tool; `None` where that is missing.
fn project(language: &Language, name: &str) -> Option<Directory> {
    let directory = tools::projects(language)?;
    let said = plugin(directory.path(), &["new", name, "--lang", language.name]);
    assert_eq!(said.code, Some(0), "{said:?}");
    Some(directory)
}

/// From nothing to the first event through the running plugin, within so much time of the processor.
async fn newcomer(language: &Language, limit: Duration) {
    let Some(directory) = project(language, "tax") else { return };
    let said = plugin(&directory.path().join("tax"), &["test"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "ok    first  (4 events)\n1 passed, 0 failed\n"),
        "{said:?}"
    );
    assert!(said.cpu < limit, "{}: {:?} of {limit:?}", language.name, said.cpu);
    let read = |file: &str| {
        fs::read_to_string(directory.path().join("tax").join(file)).expect("it was made")
    };
    let dist = directory.path().join("tax/dist");
    let setup = Weir::with(&read("pipelines/try.toml"));
    let weir = setup.settings(&format!("plugins = [{dist:?}]")).start().await;
    let mut page = weir.subscribe("main", &["order"]).await;
    weir.publish("/in/try?type=order", r#"{"net":10}"#).await.accepted();
    page.expect(r#"{"net":10,"tax":2.5}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_newcomer_in_rust_sees_an_event_within_a_minute() {
    newcomer(&tools::RUST, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_newcomer_in_javascript_sees_an_event_within_twenty_seconds() {
    newcomer(&tools::JAVASCRIPT, Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_newcomer_in_python_sees_an_event_within_two_minutes() {
    newcomer(&tools::PYTHON, Duration::from_secs(120)).await;
}

/// The kit's plugin in a project of its own, judged by the kit's golden files.
fn kit(language: &Language) -> Option<(Directory, Said)> {
    let directory = project(language, "kit")?;
    let kit = repository().join("tests/conformance/plugin");
    let program = fs::read(kit.join(language.kit)).expect("the kit is there");
    let dir = directory.path().join("kit");
    fs::write(dir.join(language.entry), program).expect("the project can be written");
    let said = plugin(&dir, &["build"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let built = dir.join("dist/kit.wasm");
    let built = built.to_str().expect("a path of ASCII").to_owned();
    let update: &[&str] =
        if std::env::var_os("UPDATE_GOLDENS").is_some() { &["--update"] } else { &[] };
    let said = plugin(&kit, &[&["test", "--plugin", &built], update].concat());
    Some((directory, said))
}

fn conforms(language: &Language) {
    let Some((directory, said)) = kit(language) else { return };
    assert_eq!(said.code, Some(0), "{}:\n{}{}", language.name, said.out, said.err);
    assert!(said.out.contains("4 passed, 0 failed"), "{}", said.out);
    let refuses = Directory::fresh();
    refuses.put("golden/no/step.toml", "config = { word = \"\" }\n");
    refuses.put("golden/no/events.jsonl", "{}\n");
    let built = directory.path().join("kit/dist/kit.wasm");
    let arguments = ["test", "--plugin", built.to_str().expect("a path of ASCII")];
    let said = plugin(refuses.path(), &arguments);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("the plugin refuses its `config`: a word is needed"), "{said:?}");
    let said = plugin(Path::new("."), &["inspect", arguments[2], "--output", "json"]);
    assert!(!said.out.contains("wasi:"), "{said:?}");
}

#[test]
fn rust_conforms() {
    conforms(&tools::RUST);
}

#[test]
fn javascript_conforms() {
    conforms(&tools::JAVASCRIPT);
}

#[test]
fn python_conforms() {
    conforms(&tools::PYTHON);
}
