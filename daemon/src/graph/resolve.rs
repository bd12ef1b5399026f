//! From order and `inputs` to places.
//!
//! Transforms without `inputs` form the chain: the first takes the events of all sources, each
//! other those of the one before. Sinks without `inputs` take what leaves the chain. Whoever has
//! `inputs` takes exactly those.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;

use super::Graph;
use crate::chain::{Links, Target};
use crate::component::{BuildError, did_you_mean};
use crate::config::Pipeline;

/// Who gives events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Giver {
    Source(usize),
    Step(usize),
}

/// Resolves `pipeline`.
pub(super) fn resolve(pipeline: &Pipeline) -> Result<Graph, Vec<BuildError>> {
    let mut resolver = Resolver::new(pipeline);
    let mut chain_end: Vec<Giver> = (0..pipeline.sources.len()).map(Giver::Source).collect();
    for (step, transform) in pipeline.transforms.iter().enumerate() {
        let target = Target::Step(step);
        match &transform.inputs {
            Some(inputs) => resolver.feed_from(inputs, target, &transform.span),
            None => {
                resolver.feed(&chain_end, target);
                chain_end = vec![Giver::Step(step)];
            }
        }
    }
    for (sink, spec) in pipeline.sinks.iter().enumerate() {
        let target = Target::Sink(sink);
        match &spec.inputs {
            Some(inputs) => resolver.feed_from(inputs, target, &spec.span),
            None => resolver.feed(&chain_end, target),
        }
    }
    resolver.refuse_circles();
    resolver.refuse_dead_ends();
    resolver.into_graph()
}

struct Resolver<'p> {
    pipeline: &'p Pipeline,
    sources: Vec<Vec<Target>>,
    links: Vec<Links>,
    faults: Vec<BuildError>,
}

impl<'p> Resolver<'p> {
    fn new(pipeline: &'p Pipeline) -> Self {
        Self {
            pipeline,
            sources: vec![Vec::new(); pipeline.sources.len()],
            links: vec![Links::default(); pipeline.transforms.len()],
            faults: Vec::new(),
        }
    }

    fn feed(&mut self, givers: &[Giver], target: Target) {
        for giver in givers {
            match giver {
                Giver::Source(source) => self.sources[*source].push(target),
                Giver::Step(step) => self.links[*step].default.push(target),
            }
        }
    }

    /// Feeds `target`, whose header is at `span`, from the components that `inputs` name.
    fn feed_from(&mut self, inputs: &[Spanned<String>], target: Target, span: &Range<usize>) {
        if inputs.is_empty() {
            let help = "name the components whose events it takes, or remove `inputs`";
            let fault = BuildError::new("W0403", "the component gets no events: `inputs` is empty");
            self.faults.push(fault.help(help).at(span.clone()));
        }
        let mut seen = BTreeSet::new();
        for input in inputs {
            if !seen.insert(input.get_ref()) {
                let message = format!("the input `{input}` is named twice");
                self.faults.push(BuildError::new("W0404", message).at(input.span()));
                continue;
            }
            if let Err(fault) = self.feed_from_one(input.get_ref(), target) {
                self.faults.push(fault.at(input.span()));
            }
        }
    }

    fn feed_from_one(&mut self, input: &str, target: Target) -> Result<(), BuildError> {
        let (name, route) = match input.split_once('.') {
            Some((name, route)) => (name, Some(route)),
            None => (input, None),
        };
        let pipeline = self.pipeline;
        if pipeline.sinks.iter().any(|sink| sink.id.name == name) {
            let message = format!("`{name}` is a sink, no events leave it");
            return Err(BuildError::new("W0405", message));
        }
        if let Some(source) = pipeline.sources.iter().position(|source| source.id.name == name) {
            if route.is_some() {
                let message = format!("`{name}` is a source, and sources have no routes");
                let help = format!("write `{name}`");
                return Err(BuildError::new("W0405", message).help(help));
            }
            self.sources[source].push(target);
            return Ok(());
        }
        let step = pipeline.transforms.iter().position(|transform| transform.id.name == name);
        let Some(step) = step else {
            let known = givers(pipeline);
            let message = format!("no component is named `{name}`");
            let help = did_you_mean(name, &known, "components that give events");
            return Err(BuildError::new("W0401", message).help(help));
        };
        let links = &mut self.links[step];
        match route {
            None => links.default.push(target),
            Some(route) => match links.routes.iter_mut().find(|(known, _)| known == route) {
                Some((_, targets)) => targets.push(target),
                None => links.routes.push((route.to_owned(), vec![target])),
            },
        }
        Ok(())
    }

    /// A fault for each transform whose events come back to it.
    fn refuse_circles(&mut self) {
        let mut is_told = BTreeSet::new();
        for start in 0..self.links.len() {
            let circle = self.circle(start);
            if circle.is_empty() || circle.iter().any(|step| is_told.contains(step)) {
                continue;
            }
            let name = |step: &usize| self.pipeline.transforms[*step].id.name.as_str();
            let mut names: Vec<&str> = circle.iter().map(name).collect();
            names.push(name(&start));
            let message = format!("events would go in a circle: {}", names.join(" → "));
            let span = self.pipeline.transforms[start].span.clone();
            self.faults.push(BuildError::new("W0402", message).at(span));
            is_told.extend(circle);
        }
    }

    /// The steps from `start` back to itself, if there is such a way.
    fn circle(&self, start: usize) -> Vec<usize> {
        let mut came_from = vec![None; self.links.len()];
        let mut open = vec![start];
        while let Some(step) = open.pop() {
            for next in self.next_steps(step) {
                if next == start {
                    let way = std::iter::successors(Some(step), |step| came_from[*step]);
                    let mut way: Vec<usize> = way.collect();
                    way.reverse();
                    return way;
                }
                if came_from[next].is_none() {
                    came_from[next] = Some(step);
                    open.push(next);
                }
            }
        }
        Vec::new()
    }

    fn next_steps(&self, step: usize) -> impl Iterator<Item = usize> {
        let links = &self.links[step];
        let routes = links.routes.iter().flat_map(|(_, targets)| targets);
        links.default.iter().chain(routes).filter_map(|target| match target {
            Target::Step(step) => Some(*step),
            Target::Sink(_) => None,
        })
    }

    /// A fault for each source and transform whose events nobody takes.
    fn refuse_dead_ends(&mut self) {
        let pipeline = self.pipeline;
        let sources = pipeline.sources.iter().zip(&self.sources);
        let sources = sources.filter(|(_, targets)| targets.is_empty());
        let transforms = pipeline.transforms.iter().zip(&self.links);
        let transforms =
            transforms.filter(|(_, links)| links.default.is_empty() && links.routes.is_empty());
        let sources = sources.map(|(source, _)| (&source.id, &source.span));
        let transforms = transforms.map(|(transform, _)| (&transform.id, &transform.span));
        let faults = sources.chain(transforms).map(|(id, span)| {
            let name = &id.name;
            let message = format!("nobody takes the events of `{name}`");
            let help = format!("add `inputs = [\"{name}\"]` to a transform or sink");
            BuildError::new("W0406", message).help(help).at(span.clone())
        });
        self.faults.extend(faults);
    }

    fn into_graph(mut self) -> Result<Graph, Vec<BuildError>> {
        if !self.faults.is_empty() {
            self.faults.sort_by_key(|fault| fault.span.as_ref().map_or(0, |span| span.start));
            return Err(self.faults);
        }
        let mut entries: Vec<Vec<Target>> = Vec::new();
        let mut source_entries = Vec::with_capacity(self.sources.len());
        for targets in self.sources {
            let known = entries.iter().position(|known| *known == targets);
            let entry = known.unwrap_or_else(|| {
                entries.push(targets);
                entries.len() - 1
            });
            source_entries.push(u16::try_from(entry).expect("a file has room for fewer sources"));
        }
        Ok(Graph { entries, source_entries, links: self.links })
    }
}

/// The names of all components that give events.
fn givers(pipeline: &Pipeline) -> Vec<&str> {
    let sources = pipeline.sources.iter().map(|source| source.id.name.as_str());
    let transforms = pipeline.transforms.iter().map(|transform| transform.id.name.as_str());
    sources.chain(transforms).collect()
}
