//! Write a Weir transform in Rust.
//!
//! A plugin judges events one after the other: each is kept, dropped, changed, split, sent to
//! another route, or failed. It runs in the daemon's WebAssembly sandbox; how events travel there,
//! as columns of a whole batch, is not its concern.
//!
//! # A function
//!
//! A plugin that needs neither config nor state is a function:
//!
//! ```
//! use weir_plugin::{Action, Event, Failure};
//!
//! /// Lets through what happens to carts.
//! fn only_carts(event: &Event<'_>) -> Result<Action, Failure> {
//!     Ok(if event.event_type().starts_with("cart.") { Action::Keep } else { Action::Drop })
//! }
//!
//! weir_plugin::register!(OnlyCarts, only_carts);
//! ```
//!
//! # From nothing to a running plugin
//!
//! 1. `cargo new --lib tax`, and in `tax/Cargo.toml` (`weir-plugin` is in `sdk/rust` of Weir):
//!
//!    ```toml
//!    [package]
//!    name = "tax"
//!    version = "0.1.0"
//!    edition = "2024"
//!
//!    [lib]
//!    crate-type = ["cdylib", "rlib"]
//!
//!    [dependencies]
//!    weir-plugin = { path = "../weir/sdk/rust" }
//!    serde = { version = "1", features = ["derive"] }
//!    serde_json = "1"
//!
//!    [profile.release]
//!    lto = true
//!    codegen-units = 1
//!    panic = "abort"
//!    strip = true
//!    ```
//!
//! 2. `tax/.cargo/config.toml` names the linker that writes a finished component. It comes with
//!    Rust; the target is added by `rustup target add wasm32-unknown-unknown`:
//!
//!    ```toml
//!    [target.wasm32-unknown-unknown]
//!    linker = "wasm-component-ld"
//!    ```
//!
//! 3. `tax/src/lib.rs`. A plugin with a config or with state is a type that implements [`Plugin`]:
//!
//!    ```
//!    use serde::Deserialize;
//!    use weir_plugin::{Action, Event, Failure, Plugin, Row, Step};
//!
//!    /// The `config` table of the step.
//!    #[derive(Deserialize)]
//!    #[serde(deny_unknown_fields)]
//!    pub struct Config {
//!        rate: f64,
//!    }
//!
//!    /// Adds the tax to orders, and sends those without an amount to the route `odd`.
//!    pub struct Tax {
//!        rate: f64,
//!    }
//!
//!    #[derive(Deserialize)]
//!    struct Order {
//!        net: Option<f64>,
//!    }
//!
//!    impl Plugin for Tax {
//!        type Config = Config;
//!
//!        fn configure(config: Config, _: &Step) -> Result<Self, String> {
//!            if !(0.0..1.0).contains(&config.rate) {
//!                return Err("`rate` is a fraction, such as 0.19".into());
//!            }
//!            Ok(Self { rate: config.rate })
//!        }
//!
//!        fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
//!            if event.event_type() != "order" {
//!                return Ok(Action::Keep);
//!            }
//!            let order: Order = event.json()?;
//!            let Some(net) = order.net else {
//!                return Ok(Action::Emit(vec![Row::new().route("odd")]));
//!            };
//!            let data = serde_json::json!({ "net": net, "tax": net * self.rate });
//!            Ok(Action::Replace(data.to_string().into_bytes()))
//!        }
//!    }
//!
//!    weir_plugin::register!(Tax);
//!    ```
//!
//! 4. A test, in `tax/src/tests.rs` with `#[cfg(test)] mod tests;` in `lib.rs`, runs natively with
//!    `cargo test`:
//!
//!    ```text
//!    use weir_plugin::testing::{Harness, event};
//!
//!    use crate::Tax;
//!
//!    #[test]
//!    fn orders_are_taxed() {
//!        let mut tax = Harness::<Tax>::new(r#"{"rate":0.5}"#).unwrap();
//!        let judged = tax.judge(event().event_type("order").data(r#"{"net":10.0}"#));
//!        assert_eq!(judged.texts(), [r#"{"net":10.0,"tax":5.0}"#]);
//!    }
//!    ```
//!
//! 5. `cargo build --release --target wasm32-unknown-unknown`, then copy
//!    `target/wasm32-unknown-unknown/release/tax.wasm` to where the daemon looks for plugins
//!    (`plugins = ["./plugins/dist"]` in `weir.toml`). A running daemon takes a new version of the
//!    file at once.
//!
//! 6. In a pipeline file:
//!
//!    ```toml
//!    [[transform]]
//!    plugin = "tax"
//!    config = { rate = 0.19 }
//!    on_error = "reject"
//!    ```
//!
//! # Fields of JSON data
//!
//! A plugin that reads a few fields of JSON data names them, and changes some: the daemon finds
//! them once for all steps and changes the text itself, which takes a fraction of the time of
//! reading a document in the sandbox. [`Plugin::fields`] names them, [`Event::field`] reads one,
//! [`Event::set`] starts a [`Patch`].
//!
//! ```
//! use weir_plugin::{Action, Event, Failure, NoConfig, Plugin, Step};
//!
//! /// Marks the events of people who pay.
//! pub struct Paying;
//!
//! impl Plugin for Paying {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig, _: &Step) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn fields(&self) -> Vec<String> {
//!         vec!["user.plan".into()]
//!     }
//!
//!     fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
//!         match event.field("user.plan").as_str() {
//!             Some("free") | None => Ok(Action::Keep),
//!             Some(_) => Ok(event.set("user.pays", true).into()),
//!         }
//!     }
//! }
//!
//! weir_plugin::register!(Paying);
//! ```
//!
//! # Windows and sessions
//!
//! A plugin that emits events of its own, some time after the events that they are about, is a
//! [`Timer`]. It is registered as one, and its step says how often it is told the time.
//!
//! ```
//! use weir_plugin::{Action, Event, Failure, NoConfig, Plugin, Row, Step, Timer};
//!
//! /// Says how many events there were since it was last told the time.
//! pub struct Counting {
//!     events: u64,
//! }
//!
//! impl Plugin for Counting {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig, _: &Step) -> Result<Self, String> {
//!         Ok(Self { events: 0 })
//!     }
//!
//!     fn transform(&mut self, _: &Event<'_>) -> Result<Action, Failure> {
//!         self.events += 1;
//!         Ok(Action::Keep)
//!     }
//! }
//!
//! impl Timer for Counting {
//!     fn tick(&mut self, _now: u64) -> Result<Vec<Row>, Failure> {
//!         let events = std::mem::take(&mut self.events);
//!         Ok(vec![Row::new().event_type("counted").data(events.to_string())])
//!     }
//! }
//!
//! weir_plugin::register!(Counting, timer);
//! ```
//!
//! State that a plugin holds in memory is lost when its file is replaced, unless it is a [`Snapshot`].
//!
//! # What can go wrong
//!
//! An `Err` of [`Plugin::configure`] refuses the pipeline, with its words. A [`Failure`] of
//! [`Plugin::transform`] is a matter of that event alone, and `on_error` decides what becomes of
//! it. So it is when the plugin panics, takes too long or wants too much memory: the panic's
//! message is logged, the daemon makes a new instance and finds the event that is to blame, so
//! state that the plugin held is lost. Words for the log are said with [`log`].
//!
//! # More than the event
//!
//! The sandbox has no files, no network and no clock: `std::time` and `std::fs` compile, but trap
//! or fail. What there is instead a plugin asks for by calling it, and a step grants it by name,
//! as in `grants = ["clock", "kv"]`: [`clock`], [`random`] bytes, numbers for the daemon's
//! [`metrics`], [`lookup`] in tables, [`kv`], state that outlives the plugin, and [`http`], requests
//! to servers elsewhere.

#[doc(hidden)]
pub mod bindings;
pub mod clock;
#[doc(hidden)]
pub mod guest;
pub mod http;
pub mod kv;
pub mod log;
pub mod lookup;
pub mod metrics;
pub mod random;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

mod action;
mod event;
#[cfg(not(target_arch = "wasm32"))]
mod fakes;
mod field;
mod patch;
mod plugin;
#[cfg(test)]
mod tests;
mod verdicts;

pub use action::{Action, Failure, FailureKind, Row};
pub use event::{Batch, Event};
pub use field::Field;
pub use patch::{Changes, Patch, Value};
pub use plugin::{NoConfig, Plugin, Snapshot, Step, Timer};
pub use verdicts::Verdicts;

/// Makes a plugin known to the daemon; once per crate.
///
/// `register!(Type)` registers a type that implements [`Plugin`]. `register!(Name, function)`
/// makes one, called `Name`, of a function from [`&Event`](Event) to `Result<Action, Failure>`
/// that needs neither config nor state. `register!(Type, timer)`, `register!(Type, snapshot)` and
/// `register!(Type, timer, snapshot)` register a [`Timer`] and a [`Snapshot`] too.
#[macro_export]
macro_rules! register {
    ($plugin:ty, timer) => {
        $crate::register!(@all $plugin, timer);
    };
    ($plugin:ty, snapshot) => {
        $crate::register!(@all $plugin, snapshot);
    };
    ($plugin:ty, timer, snapshot) => {
        $crate::register!(@all $plugin, timer, snapshot);
    };
    ($name:ident, $function:path) => {
        #[doc = concat!("The plugin that [`", stringify!($function), "`] is.")]
        #[derive(Debug)]
        pub struct $name;

        impl $crate::Plugin for $name {
            type Config = $crate::NoConfig;

            fn configure(_: $crate::NoConfig, _: &$crate::Step) -> Result<Self, String> {
                Ok(Self)
            }

            fn transform(
                &mut self,
                event: &$crate::Event<'_>,
            ) -> Result<$crate::Action, $crate::Failure> {
                $function(event)
            }
        }

        $crate::register!($name);
    };
    ($plugin:ty) => {
        $crate::register!(@all $plugin);
    };
    (@export timer, $plugin:ty) => {
        impl $crate::bindings::timer::exports::weir::plugin::timer::Guest for Exports {
            fn tick(now: u64) -> Result<transform::Outcome, String> {
                SLOT.with(|slot| slot.tick(now))
            }
        }

        $crate::bindings::timer::export_timer!(Exports with_types_in $crate::bindings::timer);
    };
    (@export snapshot, $plugin:ty) => {
        impl $crate::bindings::snapshot::exports::weir::plugin::snapshot::Guest for Exports {
            fn save() -> Vec<u8> {
                SLOT.with(|slot| slot.save())
            }

            fn restore(state: Vec<u8>) -> Result<(), String> {
                SLOT.with(|slot| slot.restore(&state))
            }
        }

        $crate::bindings::snapshot::export_snapshot!(
            Exports with_types_in $crate::bindings::snapshot
        );
    };
    (@all $plugin:ty $(, $optional:ident)*) => {
        // Elsewhere, as in tests, there is nobody to export it to.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::guest::Slot<$plugin> = $crate::guest::Slot::<$plugin>::for_plugin;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::exports::weir::plugin::{lifecycle, transform};

            thread_local! {
                static SLOT: $crate::guest::Slot<$plugin> =
                    const { $crate::guest::Slot::empty() };
            }

            struct Exports;

            impl lifecycle::Guest for Exports {
                fn configure(
                    config: String,
                    step: lifecycle::Step,
                ) -> Result<lifecycle::Needs, String> {
                    SLOT.with(|slot| slot.configure(&config, step))
                }

                fn schema() -> Option<String> {
                    <$plugin as $crate::Plugin>::SCHEMA.map(String::from)
                }
            }

            impl transform::Guest for Exports {
                fn process(input: transform::Batch) -> Result<transform::Outcome, String> {
                    SLOT.with(|slot| slot.process(&input))
                }
            }

            $crate::bindings::export_plugin!(Exports with_types_in $crate::bindings);
            $($crate::register!(@export $optional, $plugin);)*
        };
    };
}
