//! The only place that spawns: tasks and worker threads that a drain can wait for.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A worker thread's stack: plugins may use 512 KiB of it, the host needs room beside them.
const WORKER_STACK: usize = 2 << 20;

/// A group of tasks and threads; cloning it names the same group.
#[derive(Debug, Clone)]
pub struct Tasks {
    alive: Arc<watch::Sender<usize>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { alive: Arc::new(watch::Sender::new(0)) }
    }
}

/// Counts one member of the group for as long as it lives.
struct Member(Arc<watch::Sender<usize>>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.send_modify(|alive| *alive -= 1);
    }
}

impl Tasks {
    /// Runs `future` on the current runtime as a member of the group.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let member = self.enter();
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        tokio::spawn(async move {
            let _member = member;
            future.await
        })
    }

    /// Runs `work` on a thread of its own as a member of the group.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn thread(&self, name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let member = self.enter();
        let builder = thread::Builder::new().name(name).stack_size(WORKER_STACK);
        builder.spawn(move || {
            let _member = member;
            work();
        })?;
        Ok(())
    }

    /// How many members are alive.
    pub fn alive(&self) -> usize {
        *self.alive.borrow()
    }

    /// Waits until no member is alive, at most `limit`; answers how many still are.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&self, limit: Duration) -> usize {
        let mut alive = self.alive.subscribe();
        drop(timeout(limit, alive.wait_for(|alive| *alive == 0)).await);
        self.alive()
    }

    fn enter(&self) -> Member {
        self.alive.send_modify(|alive| *alive += 1);
        Member(Arc::clone(&self.alive))
    }
}

/// Asks everybody who holds a [`Stop`] to finish. The runtime holds this end.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Default for Stopper {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stopper {
    /// The other end.
    pub fn stop(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// Asks; there is no way back.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }
}

/// Tells a running part that it shall finish. A [`Stopper`] holds the other end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves once the holder shall finish, also if nobody is left to ask.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn asked(&mut self) {
        drop(self.0.wait_for(|asked| *asked).await);
    }

    /// Whether the holder shall finish.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}
