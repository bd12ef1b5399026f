//! The capabilities in native tests: a world of its own for each thread, set up through `testing`.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

struct World {
    /// Unix time in microseconds.
    now: u64,
    /// Values by key, by name.
    tables: BTreeMap<String, BTreeMap<String, String>>,
    /// Values, each with when it expires in milliseconds; 0 for never.
    state: BTreeMap<String, (Vec<u8>, u64)>,
    measured: BTreeMap<String, f64>,
    /// Status and body by method and URL.
    responses: BTreeMap<(String, String), (u16, Vec<u8>)>,
    seed: u64,
}

impl Default for World {
    fn default() -> Self {
        let (now, seed) = (1_764_000_000_000_000, 0x9e37_79b9_7f4a_7c15);
        let (tables, state, measured, responses) = Default::default();
        Self { now, tables, state, measured, responses, seed }
    }
}

/// Sets what [`clock::now`](crate::clock::now) says, in microseconds since the Unix epoch; what
/// [`kv`](crate::kv) keeps expires by it too.
pub fn set_clock(now: u64) {
    WORLD.with_borrow_mut(|world| world.now = now);
}

/// Declares the table `name` with these keys and values, which are JSON texts.
pub fn set_table(name: &str, rows: &[(&str, &str)]) {
    let rows = rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    WORLD.with_borrow_mut(|world| world.tables.insert(name.to_owned(), rows));
}

/// Sets what [`http`](crate::http) requests of `method` for `url` are answered. All others are
/// denied, as those that a step does not grant.
pub fn set_response(method: &str, url: &str, status: u16, body: impl Into<Vec<u8>>) {
    let request = (method.to_owned(), url.to_owned());
    WORLD.with_borrow_mut(|world| world.responses.insert(request, (status, body.into())));
}

/// What [`metrics`](crate::metrics) were told under `name`: the count, the gauge, or the sum of
/// what was observed.
pub fn measured(name: &str) -> Option<f64> {
    WORLD.with_borrow(|world| world.measured.get(name).copied())
}

pub(crate) mod clock {
    pub(crate) fn now() -> u64 {
        super::WORLD.with_borrow(|world| world.now)
    }
}

pub(crate) mod random {
    pub(crate) fn fill(len: u32) -> Vec<u8> {
        super::WORLD.with_borrow_mut(|world| {
            let byte = |_| {
                world.seed ^= world.seed << 13;
                world.seed ^= world.seed >> 7;
                world.seed ^= world.seed << 17;
                world.seed.to_le_bytes()[7]
            };
            (0..len).map(byte).collect()
        })
    }
}

pub(crate) mod metrics {
    #[expect(clippy::cast_precision_loss, reason = "tests count to less than 2^53")]
    pub(crate) fn count(name: &str, n: u64) {
        observe(name, n as f64);
    }

    pub(crate) fn gauge(name: &str, value: f64) {
        super::WORLD.with_borrow_mut(|world| world.measured.insert(name.to_owned(), value));
    }

    pub(crate) fn observe(name: &str, value: f64) {
        super::WORLD.with_borrow_mut(|world| {
            *world.measured.entry(name.to_owned()).or_default() += value;
        });
    }
}

pub(crate) mod lookup {
    pub(crate) struct Table(String);

    pub(crate) struct Found {
        pub(crate) present: Vec<bool>,
        pub(crate) value_ends: Vec<u32>,
        pub(crate) values: String,
    }

    pub(crate) fn open(name: &str) -> Result<Table, String> {
        let is_known = super::WORLD.with_borrow(|world| world.tables.contains_key(name));
        is_known.then(|| Table(name.to_owned())).ok_or_else(|| {
            format!("there is no table `{name}`; declare it as `[table.NAME]` in the pipeline file")
        })
    }

    impl Table {
        pub(crate) fn get(&self, ends: &[u32], keys: &str) -> Found {
            let (present, value_ends, values) = Default::default();
            let mut found = Found { present, value_ends, values };
            let mut start = 0;
            super::WORLD.with_borrow(|world| {
                let rows = &world.tables[&self.0];
                for end in ends {
                    let value = rows.get(&keys[start..*end as usize]);
                    start = *end as usize;
                    found.present.push(value.is_some());
                    found.values.push_str(value.map_or("", String::as_str));
                    let end = u32::try_from(found.values.len());
                    found.value_ends.push(end.expect("tests look little up"));
                }
            });
            found
        }
    }
}

pub(crate) mod http {
    pub(crate) struct Request {
        pub(crate) method: String,
        pub(crate) url: String,
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) body: Option<Vec<u8>>,
        pub(crate) timeout_ms: u32,
    }

    pub(crate) struct Response {
        pub(crate) status: u16,
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) body: Vec<u8>,
    }

    #[expect(dead_code, reason = "fake servers never fail")]
    pub(crate) enum Error {
        Denied,
        Timeout,
        TooLarge,
        BudgetExhausted,
        Transport(String),
    }

    pub(crate) fn send(request: &Request) -> Result<Response, Error> {
        let key = (request.method.clone(), request.url.clone());
        let known = super::WORLD.with_borrow(|world| world.responses.get(&key).cloned());
        let (status, body) = known.ok_or(Error::Denied)?;
        Ok(Response { status, headers: Vec::new(), body })
    }
}

pub(crate) mod kv {
    use super::World;

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(change(|world, now| world.living(key, now).map(|(value, _)| value)))
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl: Option<u64>) -> Result<(), String> {
        change(|world, now| {
            let expires = ttl.map_or(0, |ttl| now + ttl);
            world.state.insert(key.to_owned(), (value.to_vec(), expires));
        });
        Ok(())
    }

    pub(crate) fn delete(key: &str) -> Result<(), String> {
        change(|world, _| world.state.remove(key));
        Ok(())
    }

    pub(crate) fn increment(key: &str, by: i64, ttl: Option<u64>) -> Result<i64, String> {
        change(|world, now| {
            let begun = || (0_i64.to_le_bytes().to_vec(), ttl.map_or(0, |ttl| now + ttl));
            let (value, expires) = world.living(key, now).unwrap_or_else(begun);
            let number = value.try_into().map_err(|_long| "the value at that key is no number")?;
            let sum = i64::from_le_bytes(number).checked_add(by).ok_or("it is too large")?;
            world.state.insert(key.to_owned(), (sum.to_le_bytes().to_vec(), expires));
            Ok(sum)
        })
    }

    /// Works on the state at a time in milliseconds.
    fn change<T>(work: impl FnOnce(&mut World, u64) -> T) -> T {
        super::WORLD.with_borrow_mut(|world| {
            let now = world.now / 1_000;
            work(world, now)
        })
    }

    impl World {
        fn living(&self, key: &str, now: u64) -> Option<(Vec<u8>, u64)> {
            let (value, expires) = self.state.get(key)?;
            (*expires == 0 || *expires > now).then(|| (value.clone(), *expires))
        }
    }
}
