//! What `sdk/wit` says, as Rust: generated, and for the rest of this crate and for `register!`.
//!
//! All capabilities are here; a component imports only those whose functions its plugin calls. What
//! a plugin may export or not has a module, because an export macro exports all that its world has.

wit_bindgen::generate!({
    inline: "
        package weir:sdk;
        world everything {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/clock@1.0.0;
            import weir:plugin/http@1.0.0;
            import weir:plugin/kv@1.0.0;
            import weir:plugin/lookup@1.0.0;
            import weir:plugin/metrics@1.0.0;
            import weir:plugin/random@1.0.0;
        }
    ",
    path: "../wit",
    world: "weir:sdk/everything",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_plugin",
    default_bindings_module: "weir_plugin::bindings",
});

/// The optional export `timer`, for plugins that register it.
pub mod timer {
    wit_bindgen::generate!({
        inline: "
            package weir:sdk-timer;
            world timed { export weir:plugin/timer@1.0.0; }
        ",
        path: "../wit",
        world: "weir:sdk-timer/timed",
        with: { "weir:plugin/types@1.0.0": crate::bindings::weir::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_timer",
        default_bindings_module: "weir_plugin::bindings::timer",
    });
}

/// The optional export `snapshot`, for plugins that register it.
pub mod snapshot {
    wit_bindgen::generate!({
        inline: "
            package weir:sdk-snapshot;
            world saved { export weir:plugin/snapshot@1.0.0; }
        ",
        path: "../wit",
        world: "weir:sdk-snapshot/saved",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_snapshot",
        default_bindings_module: "weir_plugin::bindings::snapshot",
    });
}
