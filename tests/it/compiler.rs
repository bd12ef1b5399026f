//! A plugin that the compiler does not survive costs nobody else anything.

use std::fs;
use std::process::{Command, Output};

use weir_harness::{Weir, artifacts, directory::Directory};

/// A component with a module of so many functions, whose branches cost the compiler about 50 ms each.
fn heavy(functions: usize) -> String {
    let step = "(if (i64.eqz (local.get 0)) (then (local.set 0 (local.get 1))))";
    let body = step.repeat(2_000);
    let functions = format!("(func (param i64 i64) {body})").repeat(functions);
    format!("(component (core module {functions}))")
}

/// `weir plugin inspect FILE` with so many seconds of processor time for it and its children.
fn inspect(directory: &Directory, file: &str, seconds: u32) -> Output {
    let script = format!("ulimit -t {seconds}; exec \"$0\" plugin inspect \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(artifacts::weir()).arg(directory.path().join(file));
    command.env("XDG_CACHE_HOME", directory.path()).env("NO_COLOR", "1");
    command.output().expect("a shell can be started")
}

#[test]
fn a_compiler_that_takes_too_long_ends_alone() {
    let directory = Directory::fresh();
    directory.put("heavy.wasm", wat::parse_str(heavy(400)).expect("it is a component"));
    let output = inspect(&directory, "heavy.wasm", 1);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{}: {said}", output.status);
    assert!(said.contains("the compiler took more processor time than it may"), "{said}");
}

#[test]
fn what_the_child_compiles_is_what_runs() {
    let directory = Directory::fresh();
    fs::copy(artifacts::guests().join("asker.wasm"), directory.path().join("asker.wasm"))
        .expect("the guests are built");
    directory.put("damaged.wasm", b"\0asm\x0d\0\x01\0\x07\x05 damaged");
    let output = inspect(&directory, "asker.wasm", 60);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("grants   kv, lookup, metrics, random"), "{said}");
    let output = inspect(&directory, "damaged.wasm", 60);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the plugin does not compile"), "{said}");
}

#[tokio::test]
async fn a_daemon_serves_while_a_plugin_breaks_the_compiler() {
    const PIPELINE: &str = "[[source]]\ntype = \"http\"\npath = \"/in\"\n\n\
                            [[sink]]\ntype = \"broadcast\"\nhub = \"main\"\n";
    let weir = Weir::with(PIPELINE).settings("[hub.main]").own_plugins().start().await;
    let broken = PIPELINE.replace("/in", "/broken");
    weir.edit("plugins/broken.wasm", b"\0asm\x0d\0\x01\0\x07\x05 damaged");
    weir.edit("pipelines/broken.toml", format!("{broken}[[transform]]\nplugin = \"broken\"\n"));
    let reply = weir.reload().await;
    assert_eq!(reply.status(), 422, "{reply:?}");
    assert!(reply.text().contains("does not compile"), "{reply:?}");
    weir.publish("/in", "{}").await.accepted();
    weir.stop().await.clean();
}
