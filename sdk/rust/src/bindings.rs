//! What `sdk/wit` says, as Rust: generated, and for the rest of this crate and for `register!`.

wit_bindgen::generate!({
    path: "../wit",
    world: "weir:plugin/plugin",
    pub_export_macro: true,
    export_macro_name: "export_plugin",
    default_bindings_module: "weir_plugin::bindings",
});
