//! Every metric name in one place, in the OpenMetrics text format.
//!
//! Counters live where things happen; they are read when somebody asks. Labels are names from
//! the files only, never anything a publisher or subscriber chose.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::chain::StepStats;
use crate::component::{ComponentId, State};
use crate::net::Cut;
use crate::runtime::View;
use crate::spool::SpoolBalance;
use crate::telemetry::Observed;

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

type Labels = Vec<(&'static str, String)>;

/// One metric name with all its samples.
struct Family {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    samples: Vec<(Labels, f64)>,
}

impl Family {
    fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, is_counter: true, samples: Vec::new() }
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, is_counter: false, samples: Vec::new() }
    }

    #[must_use]
    fn sample(mut self, value: impl Number) -> Self {
        self.samples.push((Vec::new(), value.number()));
        self
    }

    #[must_use]
    fn samples<N: Number>(mut self, samples: impl IntoIterator<Item = (Labels, N)>) -> Self {
        self.samples.extend(samples.into_iter().map(|(labels, value)| (labels, value.number())));
        self
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
trait Number {
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
        let groups: [fn(&Self, &View, &mut DescriptorEncoder<'_>) -> fmt::Result; 7] =
            [daemon, pipelines, edges, transforms, components, spools, live];
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

fn pipelines(_: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let balances: Vec<_> = view
        .pipelines
        .iter()
        .map(|pipeline| (pipeline.name.as_str(), pipeline.account.balance()))
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

fn transforms(_: &Observed, view: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let steps = || view.pipelines.iter().flat_map(|pipeline| &pipeline.steps);
    let read = |pick: fn(&StepStats) -> &AtomicU64| {
        steps().map(move |step| {
            (component_labels("step", &step.id), pick(&step.stats).load(Ordering::Relaxed))
        })
    };
    let busy =
        read(|stats| &stats.busy_nanos).map(|(labels, nanos)| (labels, nanos.number() / 1e9));
    let families = [
        Family::counter("weir_transform_events", "Events judged")
            .samples(read(|stats| &stats.events)),
        Family::counter("weir_transform_batches", "Batches judged")
            .samples(read(|stats| &stats.batches)),
        Family::counter("weir_transform_filtered", "Events dropped on purpose")
            .samples(read(|stats| &stats.filtered)),
        Family::counter("weir_transform_failed", "Events that could not be judged")
            .samples(read(|stats| &stats.failed)),
        Family::counter("weir_transform_failed_runs", "Traps, time-outs and unusable answers")
            .samples(read(|stats| &stats.failed_runs)),
        Family::counter("weir_transform_busy_seconds", "Time spent judging").samples(busy),
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
            ("expired", balance.dropped_expired),
            ("damaged", balance.dropped_damaged),
        ];
        reasons.map(|(reason, count)| {
            let labels = labels.iter().cloned().chain([("reason", reason.to_owned())]);
            (labels.collect(), count)
        })
    });
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
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

fn component_labels(key: &'static str, id: &ComponentId) -> Labels {
    vec![("pipeline", id.pipeline.as_str().to_owned()), (key, id.name.clone())]
}

fn live(observed: &Observed, _: &View, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let hubs: Vec<_> = observed.host.hubs.iter().map(|(name, hub)| (name, hub.stats())).collect();
    let of = |name: &str| vec![("hub", name.to_owned())];
    let families = [
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
