//! How often one connection may do something: so many times at once, and again as time passes.

use tokio::time::Instant;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    most: f64,
    /// What comes back in a second.
    rate: f64,
    at: Instant,
}

impl Allowance {
    /// `most` at once, and `rate` a second.
    pub(super) fn new(most: f64, rate: f64) -> Self {
        Self { left: most, most, rate, at: Instant::now() }
    }

    /// Takes one, if there is one.
    pub(super) fn spend(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate).min(self.most);
        self.at = now;
        let is_enough = self.left >= 1.0;
        if is_enough {
            self.left -= 1.0;
        }
        is_enough
    }
}
