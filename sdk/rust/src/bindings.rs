//! What `sdk/wit` says, as Rust: generated, and for the rest of this crate and for `register!`.
//!
//! All capabilities are here; a component imports only those whose functions its plugin calls.

wit_bindgen::generate!({
    inline: "
        package weir:sdk;
        world everything {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/clock@1.0.0;
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
