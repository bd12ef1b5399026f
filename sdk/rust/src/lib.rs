//! Write a Weir transform in Rust.
//!
//! A plugin judges events: each is kept, dropped, changed, split, routed elsewhere, or failed.

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod guest;
pub mod log;
pub mod testing;

mod action;
mod event;
mod plugin;
mod verdicts;

pub use action::{Action, Failure, FailureKind, Row};
pub use event::{Batch, Event};
pub use plugin::{NoConfig, Plugin, Step};
pub use verdicts::Verdicts;

/// Makes a plugin known to the daemon; once per crate.
///
/// `register!(Type)` registers a type that implements [`Plugin`]. `register!(Name, function)`
/// makes one, called `Name`, of a function from [`&Event`](Event) to `Result<Action, Failure>`
/// that needs neither config nor state.
#[macro_export]
macro_rules! register {
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
        // Elsewhere, as in tests, there is nobody to export it to.
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
        };
    };
}
