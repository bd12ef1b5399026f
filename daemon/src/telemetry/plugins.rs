//! The metrics of transforms: what the daemon counts about them, and what their plugins count.
//!
//! A plugin's own numbers are told under three names, with the name that it gave them as a label:
//! two plugins can so never disagree about the kind of one metric.

use std::fmt;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Observed;
use super::metrics::{Family, Labels, Number, component_labels};
use crate::chain::{BreakerState, StepStats};
use crate::component::TransformError;
use crate::runtime::View;
use crate::wasm::{BUCKETS, Histogram, Measure};

/// What the daemon counts.
pub(super) fn transforms(
    _: &Observed,
    view: &View,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let steps = || view.pipelines.iter().flat_map(|pipeline| &pipeline.steps);
    let read = |pick: fn(&StepStats) -> &AtomicU64| {
        steps().map(move |step| {
            (component_labels("step", &step.id), pick(&step.stats).load(Ordering::Relaxed))
        })
    };
    let busy =
        read(|stats| &stats.busy_nanos).map(|(labels, nanos)| (labels, nanos.number() / 1e9));
    let open = steps().map(|step| {
        let is_open = step.stats.breaker() != BreakerState::Closed;
        (component_labels("step", &step.id), u64::from(is_open))
    });
    let failed_runs = steps().flat_map(|step| {
        let by_reason = TransformError::REASONS.into_iter().zip(&step.stats.reasons);
        by_reason.map(|(reason, count)| {
            let mut labels = component_labels("step", &step.id);
            labels.push(("reason", reason.to_owned()));
            (labels, count.load(Ordering::Relaxed))
        })
    });
    let families = [
        Family::gauge("weir_transform_breaker_open", "Whether a plugin is quarantined")
            .samples(open),
        Family::counter("weir_transform_quarantined", "Events failed unseen meanwhile")
            .samples(read(|stats| &stats.quarantined)),
        Family::counter("weir_transform_events", "Events judged")
            .samples(read(|stats| &stats.events)),
        Family::counter("weir_transform_batches", "Batches judged")
            .samples(read(|stats| &stats.batches)),
        Family::counter("weir_transform_filtered", "Events dropped on purpose")
            .samples(read(|stats| &stats.filtered)),
        Family::counter("weir_transform_failed", "Events that could not be judged")
            .samples(read(|stats| &stats.failed)),
        Family::counter("weir_transform_failed_runs", "Traps, time-outs and unusable answers")
            .samples(failed_runs),
        Family::counter("weir_transform_ticks", "Times that a plugin was told the time")
            .samples(read(|stats| &stats.ticks)),
        Family::counter("weir_transform_tick_events", "Events that plugins emitted then")
            .samples(read(|stats| &stats.tick_events)),
        Family::gauge("weir_transform_tick_held", "Of these, not settled at the last look")
            .samples(read(|stats| &stats.tick_held)),
        Family::counter("weir_transform_busy_seconds", "Time spent judging").samples(busy),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))
}

/// What plugins count and measure themselves.
pub(super) fn plugins(
    _: &Observed,
    view: &View,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let steps = || view.pipelines.iter().flat_map(|pipeline| &pipeline.steps);
    let mut counts: Vec<(Labels, u64)> = Vec::new();
    let mut gauges: Vec<(Labels, f64)> = Vec::new();
    let mut histograms = Vec::new();
    let mut dropped = Vec::new();
    for step in steps() {
        let series = step.metrics.series();
        if series.dropped > 0 {
            dropped.push((component_labels("step", &step.id), series.dropped));
        }
        for (name, measure) in series.values {
            let mut labels = component_labels("step", &step.id);
            labels.push(("name", name));
            match measure {
                Measure::Count(count) => counts.push((labels, count)),
                Measure::Gauge(value) => gauges.push((labels, value)),
                Measure::Histogram(histogram) => histograms.push((labels, histogram)),
            }
        }
    }
    let requests = steps().flat_map(|step| {
        let asked = step.metrics.http().results().filter(|(_, count)| *count > 0);
        asked.map(|(result, count)| {
            let mut labels = component_labels("step", &step.id);
            labels.push(("result", result.to_owned()));
            (labels, count)
        })
    });
    let families = [
        Family::counter("weir_plugin_http_requests", "What became of requests of plugins")
            .samples(requests),
        Family::counter("weir_plugin_count", "What plugins count").samples(counts),
        Family::gauge("weir_plugin_gauge", "What plugins measure").samples(gauges),
        Family::counter("weir_plugin_dropped_updates", "Updates of plugins that did not fit")
            .samples(dropped),
    ];
    families.iter().try_for_each(|family| family.encode(encoder))?;
    encode_histograms(encoder, ("weir_plugin_histogram", "What plugins observe"), &histograms)?;
    let waited = steps().map(|step| (component_labels("step", &step.id), step.metrics.http()));
    let waited = waited.map(|(labels, http)| (labels, Box::new(http.seconds())));
    let waited: Vec<_> = waited.filter(|(_, seconds)| seconds.count > 0).collect();
    encode_histograms(encoder, ("weir_plugin_http_seconds", "What their requests took"), &waited)
}

fn encode_histograms(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    histograms: &[(Labels, Box<Histogram>)],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, histogram) in histograms {
        let bounds = BUCKETS.into_iter().chain(iter::once(f64::INFINITY));
        let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets).collect();
        let mut sample = metric.encode_family(labels)?;
        sample.encode_histogram::<Labels>(histogram.sum, histogram.count, &buckets, None)?;
    }
    Ok(())
}
