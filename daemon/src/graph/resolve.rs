//! From names in `inputs` to places in the graph.

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;

use super::Graph;
use crate::chain::{Links, Target};
use crate::component::{BuildError, did_you_mean};
use crate::config::Pipeline;

/// A fault and where it is if it does not know better.
type Located = (BuildError, Range<usize>);

/// Whom a component hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feeder {
    Source(usize),
    Step(usize),
}

pub(super) fn resolve(pipeline: &Pipeline) -> Result<Graph, Vec<Located>> {
    let mut resolver = Resolver::new(pipeline);
    let steps = pipeline.transforms.len();
    for (index, step) in pipeline.transforms.iter().enumerate() {
        let default =
            if index == 0 { resolver.all_sources() } else { vec![Feeder::Step(index - 1)] };
        resolver.connect(Target::Step(index), step.inputs.as_deref(), default);
    }
    for (index, sink) in pipeline.sinks.iter().enumerate() {
        let default = match steps {
            0 => resolver.all_sources(),
            steps => vec![Feeder::Step(steps - 1)],
        };
        resolver.connect(Target::Sink(index), sink.inputs.as_deref(), default);
    }
    resolver.refuse_circles();
    resolver.refuse_dead_ends();
    resolver.finish()
}

struct Resolver<'a> {
    pipeline: &'a Pipeline,
    from_sources: Vec<Vec<Target>>,
    links: Vec<Links>,
    faults: Vec<Located>,
}

impl<'a> Resolver<'a> {
    fn new(pipeline: &'a Pipeline) -> Self {
        Self {
            pipeline,
            from_sources: vec![Vec::new(); pipeline.sources.len()],
            links: vec![Links::default(); pipeline.transforms.len()],
            faults: Vec::new(),
        }
    }

    fn all_sources(&self) -> Vec<Feeder> {
        (0..self.pipeline.sources.len()).map(Feeder::Source).collect()
    }

    fn connect(&mut self, taker: Target, inputs: Option<&[Spanned<String>]>, default: Vec<Feeder>) {
        let Some(inputs) = inputs else {
            return default.into_iter().for_each(|feeder| self.feed(feeder, None, taker));
        };
        if inputs.is_empty() {
            let error = BuildError::new("W0403", "the component gets no events: `inputs` is empty");
            let help = "name whom it hears, or remove `inputs` to keep the order of the file";
            self.faults.push((error.help(help), self.span(taker)));
        }
        let mut seen = HashSet::new();
        for input in inputs {
            if !seen.insert(input.get_ref()) {
                let error =
                    BuildError::new("W0404", format!("`{}` is named twice", input.get_ref()));
                self.faults.push((error, input.span()));
                continue;
            }
            match self.find(input.get_ref()) {
                Ok((feeder, route)) => self.feed(feeder, route, taker),
                Err(error) => self.faults.push((error, input.span())),
            }
        }
    }

    /// Whom `input` names, and the route of it.
    fn find(&self, input: &str) -> Result<(Feeder, Option<String>), BuildError> {
        let (name, route) = match input.split_once('.') {
            Some((name, route)) => (name, Some(route.to_owned())),
            None => (input, None),
        };
        let sources = self.pipeline.sources.iter().position(|source| source.id.name == name);
        if let Some(source) = sources {
            if route.is_some() {
                let error = BuildError::new("W0405", format!("the source `{name}` has no routes"));
                return Err(error.help(format!("write `{name}`; only transforms have routes")));
            }
            return Ok((Feeder::Source(source), None));
        }
        let step = self.pipeline.transforms.iter().position(|step| step.id.name == name);
        if let Some(step) = step {
            return Ok((Feeder::Step(step), route));
        }
        if self.pipeline.sinks.iter().any(|sink| sink.id.name == name) {
            let error = BuildError::new("W0405", format!("the sink `{name}` feeds nobody"));
            return Err(error.help("inputs are sources and transforms"));
        }
        let sources = self.pipeline.sources.iter().map(|source| source.id.name.as_str());
        let steps = self.pipeline.transforms.iter().map(|step| step.id.name.as_str());
        let known: Vec<&str> = sources.chain(steps).collect();
        let error = BuildError::new("W0401", format!("there is no component `{name}` to hear"));
        Err(error.help(did_you_mean(name, &known, "components")))
    }

    fn feed(&mut self, feeder: Feeder, route: Option<String>, taker: Target) {
        match (feeder, route) {
            (Feeder::Source(source), _) => self.from_sources[source].push(taker),
            (Feeder::Step(step), None) => self.links[step].default.push(taker),
            (Feeder::Step(step), Some(route)) => {
                let routes = &mut self.links[step].routes;
                match routes.iter_mut().find(|(known, _)| *known == route) {
                    Some((_, takers)) => takers.push(taker),
                    None => routes.push((route, vec![taker])),
                }
            }
        }
    }

    fn takers(&self, step: usize) -> impl Iterator<Item = Target> {
        let links = &self.links[step];
        let routed = links.routes.iter().flat_map(|(_, takers)| takers);
        links.default.iter().chain(routed).copied()
    }

    /// A fault for each transform that can reach itself.
    fn refuse_circles(&mut self) {
        for step in 0..self.links.len() {
            let mut seen = HashSet::new();
            let mut next: Vec<usize> = vec![step];
            while let Some(at) = next.pop() {
                let steps = self.takers(at).filter_map(|taker| match taker {
                    Target::Step(step) => Some(step),
                    Target::Sink(_) => None,
                });
                next.extend(steps.filter(|step| seen.insert(*step)).collect::<Vec<_>>());
            }
            if seen.contains(&step) {
                let id = &self.pipeline.transforms[step].id.name;
                let error = BuildError::new("W0402", format!("`{id}` feeds itself in a circle"));
                let help = "events must flow from sources to sinks; change an `inputs`";
                self.faults.push((error.help(help), self.span(Target::Step(step))));
            }
        }
    }

    /// A fault for each source and transform whose events nobody takes.
    fn refuse_dead_ends(&mut self) {
        if !self.faults.is_empty() {
            return;
        }
        let sources = self.pipeline.sources.iter().enumerate();
        let sources = sources.filter(|(index, _)| self.from_sources[*index].is_empty());
        let sources = sources.map(|(_, source)| (&source.id.name, source.span.clone()));
        let steps = self.pipeline.transforms.iter().enumerate();
        let steps = steps.filter(|(index, _)| self.takers(*index).next().is_none());
        let steps = steps.map(|(_, step)| (&step.id.name, step.span.clone()));
        let faults = sources.chain(steps).map(|(name, span)| {
            let error = BuildError::new("W0406", format!("nobody takes the events of `{name}`"));
            (error.help(format!("add `{name}` to the `inputs` of a component")), span)
        });
        let faults: Vec<Located> = faults.collect();
        self.faults.extend(faults);
    }

    fn span(&self, component: Target) -> Range<usize> {
        match component {
            Target::Step(step) => self.pipeline.transforms[step].span.clone(),
            Target::Sink(sink) => self.pipeline.sinks[sink].span.clone(),
        }
    }

    fn finish(self) -> Result<Graph, Vec<Located>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let mut entries: Vec<Vec<Target>> = Vec::new();
        let mut source_entries = Vec::new();
        for takers in self.from_sources {
            let known = entries.iter().position(|entry| *entry == takers);
            let entry = known.unwrap_or_else(|| {
                entries.push(takers);
                entries.len() - 1
            });
            source_entries.push(u16::try_from(entry).expect("a file is bounded to 1 MiB"));
        }
        Ok(Graph { entries, source_entries, links: self.links })
    }
}
