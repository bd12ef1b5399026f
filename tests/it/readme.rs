//! The README can be followed: its commands answer what it says, its files are good.

use std::fs;
use std::process::{Child, Command, Stdio};

use weir_harness::artifacts::repository;
use weir_harness::directory::Directory;
use weir_harness::log::Log;
use weir_harness::{Weir, eventually};

/// The code blocks of the README, and of that of the pipelines, in this language.
fn blocks(language: &str) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(repository().join(file)).expect("it is there");
    let text = ["README.md", "pipelines/README.md"].map(read).concat();
    let parts = text.split("```").skip(1).step_by(2);
    parts
        .filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'))
        .map(str::to_owned)
        .collect()
}

/// A daemon on the demo pipeline, and the README's curl lines aimed at it.
async fn demo() -> (Weir, Vec<String>) {
    let pipeline = fs::read_to_string(repository().join("pipelines/demo.toml")).expect("a demo");
    let weir = Weir::empty().pipeline("demo", &pipeline).start().await;
    let is_for_demo = |block: &String| block.contains("curl ") && !block.contains("AMQP_URL");
    let aimed = |block: String| {
        let block = block.replace("127.0.0.1:8080", &weir.public.to_string());
        block.replace("127.0.0.1:9090", &weir.admin.to_string()).replace("curl ", "curl -s ")
    };
    let lines = blocks("sh").into_iter().filter(is_for_demo).map(aimed).collect();
    (weir, lines)
}

fn shell(block: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", block]).stdin(Stdio::null());
    command
}

/// A subscriber in another terminal, which ends with the daemon.
fn subscribe(block: &str) -> (Child, std::sync::Arc<Log>) {
    let mut child = shell(block).stdout(Stdio::piped()).spawn().expect("a shell can be started");
    let seen = Log::of(child.stdout.take().expect("stdout is a pipe"));
    (child, seen)
}

#[tokio::test]
async fn its_curl_lines_do_what_they_promise() {
    let (weir, lines) = demo().await;
    let (follow, publish): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|block| block.contains(" -N "));
    assert!(!follow.is_empty() && !publish.is_empty(), "the README subscribes and publishes");
    let (mut child, seen) = subscribe(&follow[0]);
    weir.metric_reaches("weir_hub_subscribers", &[("hub", "main")], 1.0).await;
    for block in &publish {
        let output = shell(block).output().expect("a shell can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{block}: {}", output.status);
        let is_taken = said.contains("\"delivered\"") || said.contains("\"filtered\"");
        assert!(is_taken, "{block}: {said}");
    }
    eventually("an event in the other terminal", async || {
        seen.text().contains("cart.add").then_some(())
    })
    .await;
    let text = seen.text();
    assert!(text.contains("a1"), "{text}");
    assert!(!text.contains("ada@example.com"), "{text}");
    assert!(!text.contains("4111 1111 1111 1111"), "{text}");
    weir.stop().await.clean();
    child.wait().expect("a child can be waited for");
}

/// The settings that it shows, one file each.
fn settings() -> Vec<String> {
    let all: Vec<_> =
        blocks("toml").into_iter().filter(|block| block.starts_with("# weir.toml")).collect();
    assert!(!all.is_empty(), "the README shows settings");
    all
}

/// A directory with the secrets that its settings name.
fn with_secrets() -> Directory {
    let folder = Directory::fresh();
    folder.put("secrets/shop", "correct-horse-battery-staple-twice");
    folder
}

#[test]
fn its_pipeline_files_are_good() {
    let folder = with_secrets();
    let pipelines = blocks("toml").into_iter().filter(|block| block.starts_with("# pipelines/"));
    let pipelines: Vec<_> = pipelines.collect();
    assert!(!pipelines.is_empty(), "the README shows a pipeline");
    weir_harness::artifacts::plugins();
    for (index, block) in pipelines.iter().enumerate() {
        folder.put(&format!("pipelines/{index}.toml"), block);
    }
    let plugins = serde_json::json!(weir_harness::artifacts::plugins());
    let apps: Vec<_> = settings().into_iter().filter(|text| text.contains("[app.")).collect();
    folder.put("weir.toml", format!("plugins = [{plugins}]\n{}", apps.concat()));
    let path = |file: &str| folder.path().join(file).to_str().expect("a path of ASCII").to_owned();
    let output = Weir::command(&["check", &path("pipelines"), "--config", &path("weir.toml")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn its_settings_are_good() {
    for settings in settings() {
        let settings = settings.replace("127.0.0.1:8080", "127.0.0.1:0");
        let settings = settings.replace("127.0.0.1:9090", "127.0.0.1:0");
        let secrets = with_secrets();
        let secret = secrets.path().join("secrets/shop");
        let settings = settings.replace("secrets/shop", secret.to_str().expect("ASCII"));
        let weir = Weir::empty().settings(&settings).start().await;
        weir.stop().await.clean();
    }
}
