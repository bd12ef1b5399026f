//! The admin API's JSON, apart from the types that the daemon works with.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::component::State;
use crate::config::PlainFault;
use crate::reload::Record;
use crate::runtime::{ComponentView, PipelineView, Role, StepView, View};
use crate::telemetry::Observed;
use crate::units::format_time;

pub(super) fn status(observed: &Observed) -> Value {
    let view = observed.view.load();
    let listeners: serde_json::Map<_, _> = observed
        .listeners
        .iter()
        .map(|listener| {
            let stats = &listener.stats;
            let about = json!({
                "address": listener.address.to_string(),
                "connections": stats.open(),
                "accepted": stats.accepted(),
                "refused": stats.refused(),
                "requests": stats.requests(),
            });
            (listener.name.clone(), about)
        })
        .collect();
    let hubs: serde_json::Map<_, _> = observed
        .host
        .hubs
        .iter()
        .map(|(name, hub)| {
            let trouble = hub.trouble();
            let is_durable = hub.settings().is_durable;
            let hub = hub.stats();
            let about = json!({
                "state": if trouble.is_some() { "degraded" } else { "running" },
                "reason": trouble,
                "durable": is_durable,
                "subscribers": hub.subscribers,
                "channels": hub.channels,
                "history_events": hub.history_events,
                "published": hub.published,
                "delivered": hub.delivered,
                "gaps": hub.gaps,
            });
            (name.to_owned(), about)
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "generation": view.generation,
        "uptime_seconds": observed.started.elapsed().as_secs(),
        "ready": observed.unready().is_empty(),
        "reasons": observed.unready(),
        "draining": view.draining.load(Ordering::Relaxed),
        "left_behind": view.left_behind.files(),
        "last_reload": observed.history.last().map(|record| reload(&record)),
        "listeners": listeners,
        "hubs": hubs,
        "memory": memory(observed),
        "pipelines": pipelines(&view),
    })
}

fn memory(observed: &Observed) -> Value {
    let budget = &observed.host.budget;
    json!({
        "budget": budget.max(),
        "used": budget.used(),
        "stage": budget.stage().name(),
        "refused": budget.refused(),
    })
}

pub(super) fn pipelines(view: &View) -> Vec<Value> {
    view.pipelines.iter().map(pipeline).collect()
}

fn pipeline(view: &PipelineView) -> Value {
    let components: Vec<_> = view.components.iter().map(component).collect();
    let is_degraded = view
        .components
        .iter()
        .any(|component| matches!(component.health.snapshot().state, State::Degraded(_)));
    json!({
        "name": view.name,
        "description": view.description,
        "file": view.file,
        "digest": view.digest,
        "state": if is_degraded { "degraded" } else { "running" },
        "events": view.account.balance(),
        "waiting": { "events": view.edge.stats().events, "bytes": view.edge.stats().bytes },
        "transforms": view.steps.iter().map(step).collect::<Vec<_>>(),
        "components": components,
    })
}

fn step(view: &StepView) -> Value {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    json!({
        "name": view.id.name,
        "plugin": view.plugin,
        "digest": view.plugin_digest,
        "events": read(&view.stats.events),
        "batches": read(&view.stats.batches),
        "filtered": read(&view.stats.filtered),
        "failed": read(&view.stats.failed),
        "failed_runs": read(&view.stats.failed_runs),
        "quarantined": read(&view.stats.quarantined),
        "breaker": view.stats.breaker().name(),
        "busy_ms": read(&view.stats.busy_nanos) / 1_000_000,
    })
}

fn component(view: &ComponentView) -> Value {
    let health = view.health.snapshot();
    let (state, reason) = match health.state {
        State::Starting => ("starting", None),
        State::Running => ("running", None),
        State::Degraded(reason) => ("degraded", Some(reason)),
    };
    let counters: serde_json::Map<_, _> =
        health.counters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "name": view.id.name,
        "role": match view.role { Role::Source => "source", Role::Sink => "sink" },
        "type": view.kind,
        "state": state,
        "reason": reason,
        "counters": counters,
        "spool": view.spool.as_ref().and_then(std::sync::Weak::upgrade).map(|spool| spool.balance()),
        "waiting": view.edge.as_ref().map(|edge| {
            let stats = edge.stats();
            json!({ "events": stats.events, "bytes": stats.bytes })
        }),
    })
}

pub(super) fn reload(record: &Record) -> Value {
    let mut at = String::new();
    format_time(record.at, &mut at);
    json!({
        "generation": record.generation,
        "trigger": record.trigger.name(),
        "at": at,
        "took_ms": record.took.as_secs_f64() * 1e3,
        "applied": record.is_applied,
        "added": record.plan.added,
        "changed": record.plan.changed,
        "removed": record.plan.removed,
        "unchanged": record.plan.unchanged,
        "faults": record.faults.iter().map(PlainFault::from).collect::<Vec<_>>(),
        "warnings": record.warnings.iter().map(PlainFault::from).collect::<Vec<_>>(),
    })
}
