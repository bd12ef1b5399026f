//! Plugins by chance: modules of `wasm-smith` with the exports of a plugin, and damaged ones.

use wasm_smith::{Config, Module};

use super::cage;

/// How many modules are made.
pub(super) const MODULES: u64 = 60;

/// How many damaged plugins are tried.
pub(super) const FLIPS: u64 = 40;

/// What a plugin exports.
const SHAPE: &str = r#"(module
    (memory (export "memory") 2)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "weir:plugin/lifecycle@1.0.0#configure")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
    (func (export "weir:plugin/lifecycle@1.0.0#schema") (result i32) unreachable)
    (func (export "weir:plugin/transform@1.0.0#process") (param i32) (result i32) unreachable)
    (func (export "cabi_post_weir:plugin/transform@1.0.0#process") (param i32) unreachable))"#;

/// A plugin whose functions do anything.
pub(super) fn plugin(seed: u64) -> Vec<u8> {
    let config = Config {
        module_shape: Some(wat::parse_str(SHAPE).expect("it is a module")),
        allow_start_export: true,
        bulk_memory_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        max_memories: 1,
        reference_types_enabled: true,
        relaxed_simd_enabled: false,
        simd_enabled: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        ..Config::default()
    };
    let bytes = Bits(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).bytes(8 << 10);
    let module = Module::new(config, &mut arbitrary::Unstructured::new(&bytes));
    cage::encode(module.expect("there are bytes enough").to_bytes())
}

/// `wasm` with a few bits flipped.
pub(super) fn flipped(wasm: &[u8], seed: u64) -> Vec<u8> {
    let mut bits = Bits(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut flipped = wasm.to_vec();
    for _ in 0..=seed % 4 {
        let place = bits.next() as usize % (wasm.len() - 8) + 8;
        flipped[place] ^= 1 << (bits.next() % 8);
    }
    flipped
}

/// The same bits for the same seed.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
