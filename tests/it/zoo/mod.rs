//! The zoo: plugins that mean harm, each against the sandbox alone and against a daemon that has
//! other work. Nothing that they do costs more than their own events, and each thing that they
//! do is counted under its own reason.

mod cage;
mod random;

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use weir_harness::{Weir, artifacts, eventually};

use self::cage::{Cage, Fate};

/// What a plugin of ours does in `process` or `tick`, by its mode or question, and what it is
/// counted as.
const GUESTS: &[(&str, &str, &str, &str)] = &[
    ("puppet", "loop", "poison", "timeout"),
    ("puppet", "trap", "poison", "trap"),
    ("puppet", "recurse", "poison", "trap"),
    ("puppet", "allocate", "poison", "memory"),
    ("puppet", "huge", "poison", "output"),
    ("puppet", "few verdicts", "poison", "bad_answer"),
    ("puppet", "ends back", "poison", "bad_answer"),
    ("puppet", "origin beyond", "poison", "bad_answer"),
    ("puppet", "cut character", "poison", "bad_answer"),
    ("puppet", "many rows", "poison", "bad_answer"),
    ("ticker", "tick loops", "{}", "timeout"),
    ("ticker", "tick traps", "{}", "trap"),
    ("ticker", "many rows", "{}", "bad_answer"),
    ("ticker", "huge", "{}", "output"),
    ("ticker", "untyped", "{}", "bad_answer"),
    ("asker", "", "ask for ever", "host_calls"),
    ("asker", "", "open users for ever", "host_calls"),
    ("asker", "", "random 70000", "host_calls"),
    ("fetcher", "", "\"GET http://169.254.169.254/ times 100000\"", "host_calls"),
    ("fetcher", "", "\"GET http://127.1/ spin\"", "timeout"),
];

/// What a plugin of ours does when its state is handed over, and what it is counted as.
const HANDOVERS: &[(&str, &str)] = &[
    ("save traps", "trap"),
    ("save loops", "timeout"),
    ("save is huge", "output"),
    ("restore traps", "trap"),
    ("restore loops", "timeout"),
    ("restore refuses", "error"),
];

#[tokio::test]
async fn a_bad_handover_costs_the_state_alone() {
    let mut setup = Weir::empty().settings("[hub.main]").own_plugins();
    let ticker = fs::read(artifacts::guests().join("ticker.wasm"));
    setup = setup.file("plugins/ticker.wasm", ticker.expect("the guests are built"));
    setup = setup.file("pipelines/users.csv", "user\nann\n");
    let pipelines = HANDOVERS.iter().enumerate().map(|(index, (mode, reason))| {
        let step =
            format!("plugin = \"ticker\"\nconfig = {{ mode = {mode:?} }}\ngrants = [\"kv\"]");
        (format!("bad{index}"), step, *reason)
    });
    let pipelines: Vec<(String, String, &str)> = pipelines.collect();
    for (name, step, _) in &pipelines {
        setup = setup.pipeline(name, &pipeline(name, &format!("{step}\ntick = \"1h\"")));
    }
    let weir = setup.start().await;
    for (name, step, _) in &pipelines {
        weir.publish(&format!("/{name}"), "{}").await.accepted();
        let text = pipeline(name, &format!("{step}\ntick = \"2h\""));
        weir.edit(&format!("pipelines/{name}.toml"), text);
    }
    assert_eq!(weir.reload().await.status(), 200);
    for (name, _, reason) in &pipelines {
        let runs = [("pipeline", name.as_str()), ("reason", reason)];
        weir.metric_reaches("weir_transform_failed_runs_total", &runs, 1.0).await;
        weir.publish(&format!("/{name}"), "{}").await.accepted();
    }
    weir.stop().await.clean();
}

#[test]
fn each_animal_meets_its_fate() {
    let cage = Cage::new();
    let mut wrong = Vec::new();
    for (name, wasm, expected) in cage::animals() {
        let fate = cage.keep(name, &wasm);
        if expected != fate {
            wrong.push(format!("{name}: {fate:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn random_plugins_harm_nobody() {
    let cage = Cage::new();
    let mut fates = BTreeMap::new();
    for seed in 0..random::MODULES {
        let wasm = random::plugin(seed);
        let fate = cage.keep(&format!("random {seed}"), &wasm);
        *fates.entry(format!("{fate:?}")).or_insert(0) += 1;
    }
    // They do not all fail in one and the same way.
    assert!(fates.len() > 2, "{fates:?}");
}

#[test]
fn plugins_with_flipped_bits_harm_nobody() {
    let cage = Cage::new();
    let puppet = fs::read(artifacts::guests().join("puppet.wasm")).expect("the guests are built");
    for seed in 0..random::FLIPS {
        cage.keep(&format!("flip {seed}"), &random::flipped(&puppet, seed));
    }
}

fn pipeline(name: &str, step: &str) -> String {
    format!(
        "[table.users]\nfile = \"users.csv\"\n\n[[source]]\ntype = \"http\"\npath = \"/{name}\"\n\n\
         [[transform]]\nname = \"step\"\n{step}\n\n\
         [[sink]]\ntype = \"broadcast\"\nhub = \"main\"\nchannel = \"{name}\"\n"
    )
}

/// Who has the daemon for a neighbour delivers everything meanwhile.
async fn neighbour_works(weir: &Weir, events: usize) {
    let mut page = weir.subscribe("main", &["good"]).await;
    for event in 0..events {
        let body = json!({ "n": event }).to_string();
        weir.publish("/good", &body).await.accepted();
        page.expect(&body).await;
    }
}

#[tokio::test]
async fn a_neighbour_of_the_zoo_delivers_everything() {
    let mut setup = Weir::empty().settings("[hub.main]").own_plugins();
    for guest in ["asker", "fetcher", "puppet", "ticker"] {
        let wasm = fs::read(artifacts::guests().join(format!("{guest}.wasm")));
        setup = setup.file(&format!("plugins/{guest}.wasm"), wasm.expect("the guests are built"));
    }
    setup = setup.file("pipelines/users.csv", "user\nann\n");
    let filter = "plugin = \"filter\"\nconfig = { keep = 'data.n >= 0' }";
    setup = setup.pipeline("good", &pipeline("good", filter));
    let limits = "limits = { time = \"100ms\", memory = \"16MiB\" }\n\
                  grants = [\"kv\", \"lookup\", \"metrics\", \"random\", \"http:http://127.1\"]";
    for (index, (guest, mode, _, _)) in GUESTS.iter().enumerate() {
        let config = if mode.is_empty() { "{}".into() } else { format!("{{ mode = {mode:?} }}") };
        let step = format!("plugin = \"{guest}\"\nconfig = {config}\n{limits}");
        let name = format!("bad{index}");
        setup = setup.pipeline(&name, &pipeline(&name, &step));
    }
    let running: Vec<_> =
        cage::animals().into_iter().filter(|(_, _, fate)| fate.is_run()).collect();
    for (name, wasm, _) in &running {
        let plugin = name.replace(' ', "-");
        setup = setup.file(&format!("plugins/{plugin}.wasm"), wasm);
        setup = setup
            .pipeline(&plugin, &pipeline(&plugin, &format!("plugin = \"{plugin}\"\n{limits}")));
    }
    let weir = setup.start().await;
    let guests = GUESTS.iter().enumerate();
    let guests =
        guests.map(|(index, (_, _, data, reason))| (format!("bad{index}"), *data, *reason));
    let others = running.iter().filter_map(|(name, _, fate)| match fate {
        Fate::Run(reason) => Some((name.replace(' ', "-"), "{}", *reason)),
        _ => None,
    });
    let visits: Vec<(String, &str, &str)> = guests.chain(others).collect();
    let harm = async {
        for (name, data, reason) in &visits {
            let text = ("content-type", "application/octet-stream");
            weir.post(&format!("/{name}"), &[text], data.as_bytes()).await;
            let runs = [("pipeline", name.as_str()), ("reason", reason)];
            weir.metric_reaches("weir_transform_failed_runs_total", &runs, 1.0).await;
        }
    };
    tokio::join!(harm, neighbour_works(&weir, 300));
    weir.stop().await.clean();
}

#[tokio::test]
async fn what_does_not_load_changes_nothing() {
    let filter = "plugin = \"filter\"\nconfig = { keep = 'data.n >= 0' }";
    let setup = Weir::empty().settings("[hub.main]").own_plugins();
    let setup = setup.file("pipelines/users.csv", "user\nann\n");
    let weir = setup.pipeline("good", &pipeline("good", filter)).start().await;
    let refused: Vec<_> =
        cage::animals().into_iter().filter(|(_, _, fate)| !fate.is_run()).collect();
    for (name, wasm, _) in &refused {
        let plugin = name.replace(' ', "-");
        weir.edit(&format!("plugins/{plugin}.wasm"), wasm);
        let step = format!("plugin = \"{plugin}\"");
        weir.edit(&format!("pipelines/{plugin}.toml"), pipeline(&plugin, &step));
    }
    let reload = async {
        eventually("a fault of each", async || {
            let reply = weir.reload().await;
            assert_eq!(reply.status(), 422, "{reply:?}");
            let faults = reply.json()["faults"].as_array().cloned().unwrap_or_default();
            (faults.len() == refused.len()).then_some(())
        })
        .await;
    };
    tokio::join!(reload, neighbour_works(&weir, 100));
    weir.stop().await.clean();
}
