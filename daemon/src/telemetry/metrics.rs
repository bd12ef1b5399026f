//! Every metric name in one place, in the OpenMetrics text format.
//!
//! Counters live where things happen; they are read when somebody asks. Labels are names from
//! the files, or those that a plugin gave its own numbers, never anything a publisher or
//! subscriber chose.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::component::{ComponentId, State};
use crate::dead::Counts;
use crate::live::Reason;
use crate::live::Refused;
use crate::net::Cut;
use crate::runtime::View;
use crate::spool::SpoolBalance;
use crate::store::{JournalState, JournalStats};
use crate::telemetry::Observed;
use crate::telemetry::plugins::{plugins, transforms};

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as they are now.
///
/// # Errors
/// Never in practice: a string takes everything.
pub fn render(observed: &Observed) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(observed.clone()));
    let mut text = String::with_capacity(16 << 10);
    text::encode(&mut text, &registry)?;
    Ok(text)
}

pub(super) type Labels = Vec<(&'static str, String)>;

/// One metric name with all its samples.
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    samples: Vec<(Labels, f64)>,
}

impl Family {
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, is_counter: true, samples: Vec::new() }
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, is_counter: false, samples: Vec::new() }
    }

    #[must_use]
    fn sample(mut self, value: impl Number) -> Self {
        self.samples.push((Vec::new(), value.number()));
        self
    }

    #[must_use]
    pub(super) fn samples<N: Number>(
        mut self,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) -> Self {
        self.samples.extend(samples.into_iter().map(|(labels, value)| (labels, value.number())));
        self
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = if self.is_counter { MetricType::Counter } else { MetricType::Gauge };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, value) in &self.samples {
            let sample = metric.encode_family(labels)?;
            if self.is_counter {
                ConstCounter::new(*value).encode(sample)?;
            } else {
                ConstGauge::new(*value).encode(sample)?;
            }
        }
        Ok(())
    }
}

/// What a sample's value may be counted in.
pub(super) trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    #[expect(clippy::cast_precision_loss, reason = "the format has only floats; 2^53 is enough")]
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        (self as u64).number()
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = self.view.load();
        let groups: [fn(&Self, &View, &mut DescriptorEncoder<'_>) -> fmt::Result; 12] = [
            daemon, memory, pipelines, edges, transforms, plugins, components, spools, journals,
            live, apps, dead,
        ];
        groups.iter().try_for_each(|group| group(self, &view, &mut encoder))
    }
}

fn daemon(observed: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let last = observed.history.last();
    let applied = last.as_ref().is_some_and(|record| record.is_applied && record.faults.is_empty());
    let at = last.as_ref().map_or(0.0, |record| record.at.number() / 1e6);
    let listeners =
        || observed.listeners.iter().map(|listener| (listener.name.as_str(), &listener.stats));
    let of = |name: &str| vec![("listener", name.to_owned())];
    let replies = listeners().flat_map(|(name, stats)| {
        stats.replies().map(move |(status, count)| {
            (vec![("listener", name.to_owned()), ("status", status.to_string())], count)
        })
    });
    let cuts = listeners().flat_map(|(name, stats)| {
        Cut::ALL.into_iter().map(move |cut| {
            let labels = vec![("listener", name.to_owned()), ("reason", cut.name().to_owned())];
            (labels, stats.cuts(cut))
        })
    });
    let families = [
        Family::gauge("weir_generation", "Generation in force").sample(view.generation),
        Family::gauge("weir_uptime_seconds", "Time since the daemon started")
            .sample(observed.started.elapsed().as_secs_f64()),
        Family::gauge("weir_config_last_reload_successful", "Whether the files are in force")
            .sample(u64::from(applied)),
        Family::gauge("weir_config_last_reload_timestamp_seconds", "When it was tried").sample(at),
        Family::gauge("weir_pipelines_draining", "Replaced pipelines that still drain")
            .sample(view.draining.load(Ordering::Relaxed)),
        Family::gauge("weir_listener_connections", "Open connections")
            .samples(listeners().map(|(name, stats)| (of(name), stats.open()))),
        Family::counter("weir_listener_accepted", "Connections accepted")
            .samples(listeners().map(|(name, stats)| (of(name), stats.accepted()))),
        Family::counter("weir_listener_refused", "Connections over the limit")
            .samples(listeners().map(|(name, stats)| (of(name), stats.refused()))),
        Family::counter("weir_listener_requests", "Requests read")
            .samples(listeners().map(|(name, stats)| (of(name), stats.requests()))),
        Family::counter("weir_listener_replies", "Replies by status").samples(replies),
        Family::counter("weir_listener_cuts", "Connections closed over a deadline or limit")
            .samples(cuts),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn memory(observed: &Observed, _: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let budget = &observed.host.budget;
    let families = [
        Family::gauge("weir_memory_budget_bytes", "Memory that events may take")
            .sample(budget.max()),
        Family::gauge(
            "weir_memory_used_bytes",
            "Memory that events take, bodies being read included",
        )
        .sample(budget.used()),
        Family::gauge(
            "weir_memory_stage",
            "0 normal, 1 tight, 2 refusing events, 3 connections too",
        )
        .sample(budget.stage() as usize),
        Family::counter("weir_memory_refused", "Requests, batches, connections refused for it")
            .sample(budget.refused()),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn pipelines(_: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let balances: Vec<_> = view
        .pipelines
        .iter()
        .map(|pipeline| (pipeline.name.as_str(), pipeline.account.balance()))
        .collect();
    let windows: Vec<_> = view
        .pipelines
        .iter()
        .filter_map(|pipeline| Some((pipeline.name.as_str(), pipeline.dedupe.as_ref()?.stats())))
        .collect();
    let of = |name: &str| vec![("pipeline", name.to_owned())];
    let settled = balances.iter().flat_map(|(name, balance)| {
        let outcomes = [
            ("filtered", balance.filtered),
            ("duplicate", balance.duplicate),
            ("delivered", balance.delivered),
            ("spooled", balance.spooled),
            ("dead-lettered", balance.dead_lettered),
            ("rejected", balance.rejected),
            ("unavailable", balance.unavailable),
        ];
        outcomes.map(|(outcome, count)| {
            (vec![("pipeline", (*name).to_owned()), ("outcome", outcome.to_owned())], count)
        })
    });
    let families = [
        Family::counter("weir_events_received", "Events taken in")
            .samples(balances.iter().map(|(name, balance)| (of(name), balance.received))),
        Family::counter("weir_events_settled", "Events settled, by outcome").samples(settled),
        Family::gauge("weir_events_in_flight", "Events not settled yet")
            .samples(balances.iter().map(|(name, balance)| (of(name), balance.in_flight))),
        Family::counter("weir_events_unaccounted", "Events lost by a defect; must stay 0")
            .samples(balances.iter().map(|(name, balance)| (of(name), balance.lost))),
        Family::gauge("weir_dedupe_events", "Ids remembered to keep repeats back")
            .samples(windows.iter().map(|(name, window)| (of(name), window.ids))),
        Family::gauge("weir_dedupe_bytes", "Bytes that they take")
            .samples(windows.iter().map(|(name, window)| (of(name), window.bytes))),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn edges(_: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut edges = Vec::new();
    for pipeline in &view.pipelines {
        edges.push((pipeline.name.as_str(), "chain", pipeline.edge.stats()));
        for sink in &pipeline.components {
            if let Some(edge) = &sink.edge {
                edges.push((pipeline.name.as_str(), sink.id.name.as_str(), edge.stats()));
            }
        }
    }
    let of = |pipeline: &str, edge: &str| {
        vec![("pipeline", pipeline.to_owned()), ("edge", edge.to_owned())]
    };
    let families = [
        Family::gauge("weir_edge_events", "Events waiting, by what they wait for")
            .samples(edges.iter().map(|(pipeline, to, edge)| (of(pipeline, to), edge.events))),
        Family::gauge("weir_edge_bytes", "Bytes waiting")
            .samples(edges.iter().map(|(pipeline, to, edge)| (of(pipeline, to), edge.bytes))),
        Family::counter("weir_edge_passed", "Events that went in")
            .samples(edges.iter().map(|(pipeline, to, edge)| (of(pipeline, to), edge.passed))),
        Family::counter("weir_edge_refused", "Events that did not fit")
            .samples(edges.iter().map(|(pipeline, to, edge)| (of(pipeline, to), edge.refused))),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn components(_: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all: Vec<_> = view
        .pipelines
        .iter()
        .flat_map(|pipeline| &pipeline.components)
        .map(|component| (&component.id, component.health.snapshot()))
        .collect();
    let of = |id: &ComponentId| component_labels("component", id);
    let degraded = all
        .iter()
        .map(|(id, health)| (of(id), u64::from(matches!(health.state, State::Degraded(_)))));
    let counters = all.iter().flat_map(|(id, health)| {
        health.counters.iter().map(|(name, value)| {
            let mut labels = of(id);
            labels.push(("counter", (*name).to_owned()));
            (labels, *value)
        })
    });
    Family::gauge("weir_component_degraded", "Whether a component is failing")
        .samples(degraded)
        .encode(encoder)?;
    Family::counter("weir_component_events", "What components count themselves")
        .samples(counters)
        .encode(encoder)
}

fn spools(_: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let components = view.pipelines.iter().flat_map(|pipeline| &pipeline.components);
    let all: Vec<_> = components
        .filter_map(|component| {
            let spool = component.spool.as_ref()?.upgrade()?;
            Some((component_labels("sink", &component.id), spool.balance()))
        })
        .collect();
    let read = |pick: fn(&SpoolBalance) -> u64| {
        all.iter().map(move |(labels, balance)| (labels.clone(), pick(balance)))
    };
    let dropped = all.iter().flat_map(|(labels, balance)| {
        let reasons = [
            ("full", balance.dropped_full),
            ("age", balance.dropped_age),
            ("damaged", balance.dropped_damaged),
        ];
        reasons.map(|(reason, count)| {
            let labels = labels.iter().cloned().chain([("reason", reason.to_owned())]);
            (labels.collect(), count)
        })
    });
    let left = view.left_behind.files().into_iter();
    let left = left.map(|left| (vec![("file", left.file.display().to_string())], left.events));
    let families = [
        Family::gauge("weir_spool_events", "Events on disk that a sink has not confirmed")
            .samples(read(|spool| spool.events)),
        Family::gauge("weir_spool_bytes", "Bytes that they take")
            .samples(read(|spool| spool.bytes)),
        Family::gauge("weir_spool_oldest_seconds", "How long the oldest has been there")
            .samples(read(|spool| spool.oldest_ms / 1_000)),
        Family::counter("weir_spool_appended", "Events written")
            .samples(read(|spool| spool.appended)),
        Family::counter("weir_spool_replayed", "Events read again for the sink")
            .samples(read(|spool| spool.replayed)),
        Family::counter("weir_spool_delivered", "Written events that the sink confirmed")
            .samples(read(|spool| spool.delivered)),
        Family::counter("weir_spool_rejected", "Written events that the sink refused for good")
            .samples(read(|spool| spool.rejected)),
        Family::counter("weir_spool_refused", "Events that could not be written")
            .samples(read(|spool| spool.refused)),
        Family::counter("weir_spool_dropped", "Events dropped from disk, by reason")
            .samples(dropped),
        Family::gauge("weir_spool_left_behind_events", "Events on disk that no sink sends")
            .samples(left),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn journals(observed: &Observed, _: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all = observed.journals().into_iter();
    let all: Vec<_> = all.map(|(name, journal)| (name, journal.stats())).collect();
    let of = |name: &String| vec![("journal", name.clone())];
    let read = |pick: fn(&JournalStats) -> u64| {
        all.iter().map(move |(name, stats)| (of(name), pick(stats)))
    };
    let dropped = all.iter().flat_map(|(name, JournalStats { dropped, .. })| {
        let reasons = [("full", dropped.full), ("age", dropped.age), ("damaged", dropped.damaged)];
        reasons.map(|(reason, count)| {
            (vec![("journal", name.clone()), ("reason", reason.to_owned())], count)
        })
    });
    let families = [
        Family::gauge("weir_journal_events", "Events on disk").samples(read(|stats| stats.events)),
        Family::gauge("weir_journal_bytes", "Bytes that they take")
            .samples(read(|stats| stats.bytes)),
        Family::counter("weir_journal_appended_events", "Events written")
            .samples(read(|stats| stats.appended)),
        Family::counter("weir_journal_dropped_events", "Events given up, by reason")
            .samples(dropped),
        Family::counter("weir_journal_syncs", "Times that the file was synced")
            .samples(read(|stats| stats.fsyncs)),
        Family::counter("weir_journal_disk_failures", "Times that the disk failed")
            .samples(read(|stats| stats.failures)),
        Family::counter("weir_journal_files_set_aside", "Files that could not be read")
            .samples(read(|stats| stats.set_aside)),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

pub(super) fn component_labels(key: &'static str, id: &ComponentId) -> Labels {
    vec![("pipeline", id.pipeline.as_str().to_owned()), (key, id.name.clone())]
}

fn live(observed: &Observed, _: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let hubs: Vec<_> = observed.host.hubs.iter().map(|(name, hub)| (name, hub.stats())).collect();
    let of = |name: &str| vec![("hub", name.to_owned())];
    let refused = observed.host.hubs.iter().flat_map(|(name, hub)| {
        Reason::ALL.map(|reason| {
            let labels = vec![("hub", name.to_owned()), ("reason", reason.name().to_owned())];
            (labels, hub.refused(reason))
        })
    });
    let troubled = observed.host.hubs.iter();
    let troubled = troubled.map(|(name, hub)| (of(name), u64::from(hub.trouble().is_some())));
    let families = [
        Family::counter("weir_hub_refused", "Subscribers and pages turned away, by reason")
            .samples(refused),
        Family::gauge(
            "weir_hub_degraded",
            "Whether its disk takes no events, or the broker that it is shared through is away",
        )
        .samples(troubled),
        Family::gauge("weir_hub_subscribers", "Subscribers now")
            .samples(hubs.iter().map(|(name, hub)| (of(name), hub.subscribers))),
        Family::gauge("weir_hub_channels", "Channels with a subscriber")
            .samples(hubs.iter().map(|(name, hub)| (of(name), hub.channels))),
        Family::gauge("weir_hub_history_events", "Events kept for resume")
            .samples(hubs.iter().map(|(name, hub)| (of(name), hub.history_events))),
        Family::counter("weir_hub_published", "Events published")
            .samples(hubs.iter().map(|(name, hub)| (of(name), hub.published))),
        Family::counter("weir_hub_delivered", "Events handed to subscribers")
            .samples(hubs.iter().map(|(name, hub)| (of(name), hub.delivered))),
        Family::counter("weir_hub_gaps", "Gaps announced to subscribers")
            .samples(hubs.iter().map(|(name, hub)| (of(name), hub.gaps))),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn apps(observed: &Observed, _: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let apps: Vec<_> = observed.host.apps.iter().map(|(name, app)| (name, app.stats())).collect();
    let of = |name: &str| vec![("app", name.to_owned())];
    let refused = apps.iter().flat_map(|(name, app)| {
        let labels =
            |why: Refused| vec![("app", (*name).to_owned()), ("reason", why.name().to_owned())];
        app.refused.iter().map(move |(why, count)| (labels(*why), *count))
    });
    let families = [
        Family::gauge("weir_app_connections", "Pusher clients now")
            .samples(apps.iter().map(|(name, app)| (of(name), app.connections))),
        Family::gauge("weir_app_channels", "Channels that a Pusher client is on")
            .samples(apps.iter().map(|(name, app)| (of(name), app.channels))),
        Family::counter("weir_app_client_events", "Events that Pusher clients published")
            .samples(apps.iter().map(|(name, app)| (of(name), app.client_events))),
        Family::counter("weir_app_notices", "What webhooks were told")
            .samples(apps.iter().map(|(name, app)| (of(name), app.notices.0))),
        Family::counter("weir_app_notices_dropped", "What webhooks were not told")
            .samples(apps.iter().map(|(name, app)| (of(name), app.notices.1))),
        Family::counter("weir_app_refused", "What clients and servers of an app were refused")
            .samples(refused),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn dead(observed: &Observed, _: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all = observed.host.dead.all();
    let all: Vec<_> =
        all.iter().map(|letters| (letters.pipeline(), letters.stats(), letters.counts())).collect();
    let of = |name: &str| vec![("pipeline", name.to_owned())];
    let count = |pick: fn(&Counts) -> &AtomicU64| {
        all.iter().map(move |(name, _, counts)| (of(name), pick(counts).load(Ordering::Relaxed)))
    };
    let dropped = all.iter().flat_map(|(name, stats, _)| {
        let reasons = [("age", stats.dropped.age), ("damaged", stats.dropped.damaged)];
        reasons.map(|(reason, count)| {
            (vec![("pipeline", (*name).to_owned()), ("reason", reason.to_owned())], count)
        })
    });
    let is_failed = |stats: &JournalStats| matches!(stats.state, JournalState::Failed(_));
    let families = [
        Family::gauge("weir_dead_letters", "Dead letters now")
            .samples(all.iter().map(|(name, stats, _)| (of(name), stats.events))),
        Family::gauge("weir_dead_letters_bytes", "Bytes that they take")
            .samples(all.iter().map(|(name, stats, _)| (of(name), stats.bytes))),
        Family::gauge("weir_dead_letters_failed", "Whether the disk takes none")
            .samples(all.iter().map(|(name, stats, _)| (of(name), u64::from(is_failed(stats))))),
        Family::counter("weir_dead_letters_kept", "Events kept").samples(count(|c| &c.kept)),
        Family::counter("weir_dead_letters_refused", "Events rejected as they could not be kept")
            .samples(count(|c| &c.refused)),
        Family::counter("weir_dead_letters_replayed", "Events replayed and taken")
            .samples(count(|c| &c.replayed)),
        Family::counter("weir_dead_letters_purged", "Events removed on request")
            .samples(count(|c| &c.purged)),
        Family::counter("weir_dead_letters_dropped", "Events given up, by reason").samples(dropped),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}
