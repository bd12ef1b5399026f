//! What `config` promises, tried out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory::{files, limit, total};
use super::{CODES, DaemonSettings, Environment, Fault, Loaded, Overrides, load, report};
use crate::chain::OnError;

const SOURCE: &str = "[[source]]\ntype = \"http\"\npath = \"/in\"\n";
const SINK: &str = "[[sink]]\ntype = \"broadcast\"\n";

/// A directory of its own for one test, removed with it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("weir-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads one pipeline file from a directory with the plugin `filter`.
fn load_one(directory: &Directory, text: &str, pairs: &[(&str, &str)]) -> Loaded {
    directory.write("plugins/filter.wasm", "");
    let file = directory.write("shop.toml", text);
    let plugins = vec![directory.path("plugins")];
    let environment = environment(pairs);
    load(&[file], &DaemonSettings { plugins, environment, ..DaemonSettings::default() })
}

fn codes(faults: &[Fault]) -> Vec<&'static str> {
    faults.iter().map(|fault| fault.code).collect()
}

fn settings(text: &str, pairs: &[(&str, &str)], flags: &Overrides) -> (DaemonSettings, Vec<Fault>) {
    let directory = Directory::new();
    let file = directory.write("weir.toml", text);
    let (mut settings, faults) = DaemonSettings::load(Some(&file), flags, environment(pairs));
    for path in settings.plugins.iter_mut().chain([&mut settings.data_dir]) {
        *path = path.strip_prefix(&directory.0).map(Path::to_owned).unwrap_or(path.clone());
    }
    (settings, faults)
}

#[test]
fn a_pipeline_file_says_what_it_declares() {
    let transform = r#"
        [[transform]]
        plugin = "filter"
        config = { keep = 'data.n > 0x10', since = 2025-01-01, rate = 1.5, list = [1, "a", true] }
        on_error = "pass"
        limits = { time = "20ms" }
        grants = ["clock"]
    "#;
    let text = format!("description = \"clicks\"\n{SOURCE}{SOURCE}{transform}{transform}{SINK}");
    let loaded = load_one(&Directory::new(), &text, &[]);
    assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
    let pipeline = &loaded.pipelines[0];
    assert_eq!(pipeline.name.as_str(), "shop");
    assert_eq!(pipeline.description.as_deref(), Some("clicks"));
    let sources: Vec<&str> = pipeline.sources.iter().map(|it| it.id.name.as_str()).collect();
    assert_eq!(sources, ["http", "http-2"]);
    let step = &pipeline.transforms[1];
    assert_eq!((step.id.name.as_str(), step.on_error), ("filter-2", OnError::Pass));
    assert_eq!(step.limits.time.as_millis(), 20);
    assert_eq!(step.grants, ["clock"]);
    let config = r#"{"keep":"data.n > 0x10","list":[1,"a",true],"rate":1.5,"since":"2025-01-01"}"#;
    assert_eq!(step.config_json, config);
    assert_eq!(&pipeline.file.text[step.plugin_span.clone()], "\"filter\"");
}

#[test]
fn a_given_name_is_never_taken_by_default() {
    let named = SOURCE.replace("path", "name = \"http-2\"\npath");
    let text = format!("{SOURCE}{SOURCE}{named}{SINK}");
    let loaded = load_one(&Directory::new(), &text, &[]);
    let names = loaded.pipelines[0].sources.iter().map(|source| source.id.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["http", "http-3", "http-2"]);
}

#[test]
fn values_are_interpolated_after_parsing() {
    let directory = Directory::new();
    directory.write("secrets/key", "from \"file\"\n");
    let text = format!(
        "description = \"${{env:A}} ${{env:B:-b}} ${{file:secrets/key}} $$ $5 $${{env:A}}\"\n{SOURCE}{SINK}"
    );
    let loaded = load_one(&directory, &text, &[("A", "a\"\n[[sink]]"), ("B", "")]);
    assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
    let pipeline = &loaded.pipelines[0];
    let expected = "a\"\n[[sink]] b from \"file\" $ $5 ${env:A}";
    assert_eq!(pipeline.description.as_deref(), Some(expected));
    assert_eq!(pipeline.sinks.len(), 1);
    assert_eq!(loaded.files, BTreeSet::from([directory.path("secrets/key")]));
}

#[test]
fn a_changed_secret_changes_the_digest() {
    let directory = Directory::new();
    let text = format!("description = \"${{env:A}}\"\n{SOURCE}{SINK}");
    let digest = |value| load_one(&directory, &text, &[("A", value)]).pipelines[0].digest.clone();
    assert_eq!(digest("1"), digest("1"));
    assert_ne!(digest("1"), digest("2"));
}

#[test]
fn interpolated_values_are_in_no_report() {
    let secret = "\"${env:S}\"";
    let text = format!(
        "{SOURCE}[[sink]]\ntype = {secret}\nname = \"${{env:S}} x\"\n[[transform]]\n\
         plugin = {secret}\non_error = {secret}\nlimits = {{ time = {secret} }}\n"
    );
    let loaded = load_one(&Directory::new(), &text, &[("S", "hunter2")]);
    assert_eq!(codes(&loaded.faults), ["W0110", "W0111", "W0601", "W0202", "W0202"]);
    for fault in &loaded.faults {
        let told = format!("{} {fault:?}", report::text(fault, false));
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_file_cannot_make_a_terminal_obey() {
    let text = format!("\"\\u001b[2J\" = 1 # \u{1b}]0;title\u{7} \u{9b}\n{SOURCE}{SINK}");
    let escaped = text.replace(['\u{1b}', '\u{7}'], "?");
    for text in [text, escaped] {
        for fault in &load_one(&Directory::new(), &text, &[]).faults {
            let told = report::text(fault, false);
            let obeyed = |c: char| c.is_control() && c != '\n';
            assert!(!told.contains(obeyed), "{told:?}");
        }
    }
}

#[test]
fn one_bad_file_leaves_the_others_alone() {
    let directory = Directory::new();
    let good = format!("{SOURCE}{SINK}");
    directory.write("pipelines/a.toml", &good);
    directory.write("pipelines/b.toml", SOURCE);
    directory.write("pipelines/c.toml", "x = ");
    directory.write("pipelines/.hidden.toml", "x = ");
    let loaded = load(&[directory.path("pipelines")], &DaemonSettings::default());
    assert_eq!(loaded.pipelines.len(), 1);
    let broken: Vec<&str> =
        loaded.broken.iter().map(crate::component::PipelineName::as_str).collect();
    assert_eq!(broken, ["b", "c"]);
    assert_eq!(codes(&loaded.faults), ["W0108", "W0100"]);
}

#[test]
fn every_setting_has_a_default() {
    let (settings, faults) = settings("", &[], &Overrides::default());
    assert!(faults.is_empty());
    assert_eq!(settings.listeners["public"].address.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.hubs["main"].history.events_max, 1_000);
}

#[test]
fn flags_override_variables_and_variables_the_file() {
    let text = r#"
        data_dir = "file"
        plugins = ["a", "b"]
        [listener.public]
        address = "127.0.0.1:1"
        [listener.in-side]
        address = "127.0.0.1:2"
        [hub.main]
        history = { events = 5, age = "1m" }
    "#;
    let pairs = [
        ("WEIR_DATA_DIR", "variable"),
        ("WEIR_LISTENER_PUBLIC_ADDRESS", "127.0.0.1:3"),
        ("WEIR_LISTENER_IN_SIDE_ADDRESS", "127.0.0.1:4"),
        ("WEIR_ADMIN_ADDRESS", "127.0.0.1:5"),
        ("WEIR_SERVICE_HOST", "10.0.0.1"),
        ("WEIR_PLUGINS", ""),
    ];
    let flags = Overrides { admin: Some("127.0.0.1:6".parse().unwrap()), ..Overrides::default() };
    let (settings, faults) = settings(text, &pairs, &flags);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(settings.data_dir, Path::new("variable"));
    assert_eq!(settings.plugins, [Path::new("a"), Path::new("b")]);
    assert_eq!(settings.listeners["public"].address.port(), 3);
    assert_eq!(settings.listeners["in-side"].address.port(), 4);
    assert_eq!(settings.admin.port(), 6);
    assert_eq!(settings.hubs["main"].history.events_max, 5);
}

#[test]
fn faulty_variables_and_flags_are_told_by_name() {
    let pairs = [
        ("WEIR_LISTENER_PUBIC_ADDRESS", "127.0.0.1:3"),
        ("WEIR_LISTENER_PUBLIC_ADDRESS", "here"),
        ("WEIR_ADMIN_ADDRESS", "0.0.0.0:9090"),
    ];
    let flags = Overrides { admin: Some("0.0.0.0:1".parse().unwrap()), ..Overrides::default() };
    let (_, faults) = settings("", &pairs, &flags);
    let told: BTreeMap<String, &str> =
        faults.iter().map(|fault| (fault.place(), fault.code)).collect();
    let expected = [
        ("--admin", "W0502"),
        ("WEIR_ADMIN_ADDRESS", "W0502"),
        ("WEIR_LISTENER_PUBIC_ADDRESS", "W0505"),
        ("WEIR_LISTENER_PUBLIC_ADDRESS", "W0501"),
    ];
    assert_eq!(told, expected.map(|(place, code)| (place.to_owned(), code)).into());
}

#[test]
fn every_code_that_is_used_is_listed_and_the_other_way_round() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used = BTreeSet::new();
    collect_codes(&source, &mut used);
    let listed: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(used, listed);
    assert_eq!(listed.len(), CODES.len(), "no code is listed twice");
}

fn collect_codes(path: &Path, used: &mut BTreeSet<String>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.for_each(|entry| collect_codes(&entry.unwrap().path(), used));
    }
    let is_list = path.ends_with("codes.rs") || path.ends_with("tests.rs");
    let text = if is_list { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
    for quoted in text.split("\"W").skip(1) {
        let digits: String = quoted.chars().take_while(char::is_ascii_digit).collect();
        if digits.len() == 4 && quoted[4..].starts_with('"') {
            used.insert(format!("W{digits}"));
        }
    }
}

#[test]
fn limits_are_looked_for_in_both_versions_of_control_groups() {
    let groups = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/c\n";
    let expected = [
        "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/c/memory.max",
        "/sys/fs/cgroup/memory.max",
    ];
    assert_eq!(files(groups), expected.map(Path::new));
    assert_eq!((limit("268435456\n"), limit("max\n")), (Some(256 << 20), None));
    assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
}
