//! The capability `kv`: small durable state, private to the step.

use wasmtime::component::{Linker, WasmList, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::Host;
use crate::store::{State, StateError, Undo};

/// What the plugin is told.
type Answer<T> = Result<(Result<T, String>,)>;

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    type Set = (WasmStr, WasmList<u8>, Option<u64>);
    type Increment = (WasmStr, i64, Option<u64>);
    let mut kv = linker.instance("weir:plugin/kv@1.0.0")?;
    kv.func_wrap("get", |cx: StoreContextMut<'_, Host>, (key,): (WasmStr,)| -> Answer<_> {
        ask(cx, &key, |state, key, _| state.get(key))
    })?;
    kv.func_wrap("set", |cx: StoreContextMut<'_, Host>, (key, value, ttl): Set| -> Answer<_> {
        let value = value.as_le_slice(&cx).to_vec();
        ask(cx, &key, |state, key, within| state.set(key, &value, ttl, within))
    })?;
    kv.func_wrap("delete", |cx: StoreContextMut<'_, Host>, (key,): (WasmStr,)| -> Answer<_> {
        ask(cx, &key, |state, key, (_, undo)| state.delete(key, undo))
    })?;
    kv.func_wrap("increment", |cx: StoreContextMut<'_, Host>, args: Increment| -> Answer<_> {
        let (key, by, ttl) = args;
        ask(cx, &key, |state, key, within| state.increment(key, by, ttl, within))
    })
}

/// Counts the call and asks the step's state, whose quota is beside what undoes the run.
fn ask<T>(
    mut cx: StoreContextMut<'_, Host>,
    key: &WasmStr,
    question: impl FnOnce(&State, &str, (usize, &mut Undo)) -> Result<T, StateError>,
) -> Answer<T> {
    cx.data_mut().calls.take()?;
    let key = key.to_str(&cx)?.into_owned();
    let host = cx.data_mut();
    let answer = question(&host.lends.state, &key, (host.state_max, &mut host.undo));
    Ok((answer.map_err(|error| error.to_string()),))
}
