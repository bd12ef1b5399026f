//! Registry entries: a component's type name and how to build it, with its types erased.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::component::{BuildContext, BuildError, RunError, Settings, Sink, Source};
use crate::edge::Inlet;
use crate::tasks::Stop;

/// A component at work.
pub type RunningFuture = Pin<Box<dyn Future<Output = Result<(), RunError>> + Send>>;

/// A built source whose type is erased.
pub trait RunnableSource: Send {
    /// Runs it; see [`Source::run`].
    fn run(self: Box<Self>, stop: Stop) -> RunningFuture;
}

/// A built sink whose type is erased.
pub trait RunnableSink: Send {
    /// Runs it; see [`Sink::run`].
    fn run(self: Box<Self>, input: Inlet) -> RunningFuture;
}

impl<S: Source> RunnableSource for S {
    fn run(self: Box<Self>, stop: Stop) -> RunningFuture {
        Box::pin(Source::run(*self, stop))
    }
}

impl<S: Sink> RunnableSink for S {
    fn run(self: Box<Self>, input: Inlet) -> RunningFuture {
        Box::pin(Sink::run(*self, input))
    }
}

type Build<T> = fn(&Settings, &BuildContext<'_>) -> Result<T, Vec<BuildError>>;

/// One kind of source.
#[derive(Clone, Copy)]
pub struct SourceType {
    /// The `type` in a pipeline file.
    pub name: &'static str,
    build: Build<Box<dyn RunnableSource>>,
}

impl SourceType {
    /// The entry for `S`.
    pub const fn of<S: Source>() -> Self {
        Self {
            name: S::TYPE,
            build: |settings, cx| {
                let config = settings.read()?;
                match S::build(config, cx) {
                    Ok(source) => Ok(Box::new(source)),
                    Err(error) => Err(vec![settings.locate(error)]),
                }
            },
        }
    }

    /// Builds a source.
    ///
    /// # Errors
    /// Every fault of its settings.
    pub fn build(
        &self,
        settings: &Settings,
        cx: &BuildContext<'_>,
    ) -> Result<Box<dyn RunnableSource>, Vec<BuildError>> {
        (self.build)(settings, cx)
    }
}

/// One kind of sink.
#[derive(Clone, Copy)]
pub struct SinkType {
    /// The `type` in a pipeline file.
    pub name: &'static str,
    /// Whether publishers wait for it by default; see [`Sink::IS_DURABLE`].
    pub is_durable: bool,
    /// Whether its events can wait on disk; see [`Sink::IS_SPOOLED`].
    pub is_spooled: bool,
    build: Build<Box<dyn RunnableSink>>,
}

impl SinkType {
    /// The entry for `S`.
    pub const fn of<S: Sink>() -> Self {
        Self {
            name: S::TYPE,
            is_durable: S::IS_DURABLE,
            is_spooled: S::IS_SPOOLED,
            build: |settings, cx| {
                let config = settings.read()?;
                match S::build(config, cx) {
                    Ok(sink) => Ok(Box::new(sink)),
                    Err(error) => Err(vec![settings.locate(error)]),
                }
            },
        }
    }

    /// Builds a sink.
    ///
    /// # Errors
    /// Every fault of its settings.
    pub fn build(
        &self,
        settings: &Settings,
        cx: &BuildContext<'_>,
    ) -> Result<Box<dyn RunnableSink>, Vec<BuildError>> {
        (self.build)(settings, cx)
    }
}

impl fmt::Debug for SourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceType").field(&self.name).finish()
    }
}

impl fmt::Debug for SinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SinkType").field(&self.name).finish()
    }
}
