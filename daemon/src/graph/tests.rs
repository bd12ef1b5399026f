//! What `graph` promises, tried out.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Graph;
use super::diff::{Plan, diff};
use crate::chain::{Links, Target};
use crate::component::PipelineName;
use crate::config::tests::Directory;
use crate::config::{DaemonSettings, load};

use Target::{Sink, Step};

/// The graph of a file with these headers, each `kind` or `kind NAME` and then its `inputs`.
fn graph(components: &[(&str, &str)]) -> Result<Graph, Vec<String>> {
    let directory = Directory::new();
    directory.write("plugins/filter.wasm", "");
    let mut text = String::new();
    for (index, (header, inputs)) in components.iter().enumerate() {
        let (kind, name) = header.split_once(' ').unwrap_or((header, ""));
        let own = match kind {
            "source" => format!("type = \"http\"\npath = \"/{index}\"\n"),
            "transform" => "plugin = \"filter\"\n".to_owned(),
            _ => "type = \"broadcast\"\n".to_owned(),
        };
        write!(text, "[[{kind}]]\n{own}").unwrap();
        if !name.is_empty() {
            writeln!(text, "name = \"{name}\"").unwrap();
        }
        if !inputs.is_empty() {
            writeln!(text, "inputs = {inputs}").unwrap();
        }
    }
    let file = directory.write("p.toml", text);
    let plugins = vec![directory.path("plugins")];
    let loaded = load(&[file], &DaemonSettings { plugins, ..DaemonSettings::default() });
    assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
    Graph::of(&loaded.pipelines[0])
        .map_err(|faults| faults.into_iter().map(|f| format!("{} {f}", f.code)).collect())
}

fn to(default: &[Target]) -> Links {
    Links { default: default.to_vec(), routes: Vec::new() }
}

#[test]
fn without_transforms_every_source_feeds_every_sink() {
    let graph = graph(&[("source", ""), ("source", ""), ("sink", ""), ("sink", "")]).unwrap();
    assert_eq!(graph.entries, [vec![Sink(0), Sink(1)]]);
    assert_eq!(graph.source_entries, [0, 0]);
}

#[test]
fn transforms_form_a_chain_in_the_order_written() {
    let components =
        [("sink", ""), ("transform", ""), ("source", ""), ("transform", ""), ("sink", "")];
    let graph = graph(&components).unwrap();
    assert_eq!(graph.entries, [vec![Step(0)]]);
    assert_eq!(graph.links, [to(&[Step(1)]), to(&[Sink(0), Sink(1)])]);
}

#[test]
fn inputs_branch() {
    let graph = graph(&[
        ("source a", ""),
        ("source b", ""),
        ("transform only-a", r#"["a"]"#),
        ("sink all", r#"["b", "only-a"]"#),
        ("sink raw", r#"["a", "b"]"#),
    ]);
    let graph = graph.unwrap();
    assert_eq!(graph.entries, [vec![Step(0), Sink(1)], vec![Sink(0), Sink(1)]]);
    assert_eq!(graph.source_entries, [0, 1]);
    assert_eq!(graph.links, [to(&[Sink(0)])]);
}

#[test]
fn named_routes_lead_where_inputs_say() {
    let graph = graph(&[
        ("source", ""),
        ("transform split", ""),
        ("sink ok", r#"["split"]"#),
        ("sink bad", r#"["split.errors"]"#),
        ("sink both", r#"["split", "split.errors"]"#),
    ]);
    let links = Links {
        default: vec![Sink(0), Sink(2)],
        routes: vec![("errors".to_owned(), vec![Sink(1), Sink(2)])],
    };
    assert_eq!(graph.unwrap().links, [links]);
}

#[test]
fn inputs_that_lead_nowhere_are_all_told() {
    let faults = graph(&[
        ("source", ""),
        ("sink a", r#"["htpp", "a", "http.x", "http", "http"]"#),
        ("sink b", "[]"),
    ]);
    let codes: Vec<String> =
        faults.unwrap_err().iter().map(|fault| fault[..5].to_owned()).collect();
    assert_eq!(codes, ["W0401", "W0405", "W0405", "W0404", "W0403"]);
}

#[test]
fn circles_and_dead_ends_are_told() {
    let circle = graph(&[
        ("source", ""),
        ("transform a", r#"["http", "b"]"#),
        ("transform b", r#"["a"]"#),
        ("sink", ""),
    ]);
    assert!(circle.unwrap_err().iter().all(|fault| fault.starts_with("W0402")));
    let dead = graph(&[("source", ""), ("transform a", ""), ("sink", r#"["http"]"#)]);
    assert_eq!(dead.unwrap_err(), ["W0406 nobody takes the events of `a`"]);
}

#[test]
fn a_plan_names_what_is_added_changed_removed_and_left_alone() {
    let name = |name: &str| PipelineName::new(name).unwrap();
    let set = |pipelines: &[(&str, &str)]| -> BTreeMap<PipelineName, String> {
        pipelines.iter().map(|(known, digest)| (name(known), (*digest).to_owned())).collect()
    };
    let old = set(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let new = set(&[("b", "2"), ("c", "1"), ("d", "1")]);
    let plan = Plan {
        added: vec![name("d")],
        changed: vec![name("b")],
        removed: vec![name("a")],
        unchanged: vec![name("c")],
    };
    assert_eq!(diff(&old, &new), plan);
    assert_eq!(diff(&new, &new).unchanged.len(), 3);
}
