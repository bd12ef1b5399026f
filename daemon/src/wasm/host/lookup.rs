//! The capability `lookup`: the tables that the pipeline file declares.

use wasmtime::component::{
    ComponentType, Linker, Lower, Resource, ResourceType, WasmList, WasmStr,
};
use wasmtime::{Error, Result, StoreContextMut};

use super::{Host, Overrun};

/// Bytes of values that one call may fetch.
const VALUES_MAX: usize = 16 << 20;

/// `lookup.table`: the number is a place in the step's tables, so a handle holds nothing.
enum Table {}

/// `lookup.found`.
#[derive(ComponentType, Lower, Default)]
#[component(record)]
struct Found {
    present: Vec<bool>,
    #[component(name = "value-ends")]
    value_ends: Vec<u32>,
    values: String,
}

type GetArgs = (Resource<Table>, WasmList<u32>, WasmStr);

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut lookup = linker.instance("weir:plugin/lookup@1.0.0")?;
    lookup.resource("table", ResourceType::host::<Table>(), |_, _| Ok(()))?;
    lookup.func_wrap("open", |cx: StoreContextMut<'_, Host>, (name,): (WasmStr,)| {
        open(cx, &name).map(|opened| (opened,))
    })?;
    lookup.func_wrap("[method]table.get", |cx: StoreContextMut<'_, Host>, args: GetArgs| {
        get(cx, &args).map(|found| (found,))
    })
}

fn open(
    mut cx: StoreContextMut<'_, Host>,
    name: &WasmStr,
) -> Result<Result<Resource<Table>, String>> {
    cx.data_mut().calls.take()?;
    let name = name.to_str(&cx)?;
    let tables = &cx.data().lends.tables;
    let place = tables.iter().position(|(known, _)| *known == *name);
    Ok(match place.and_then(|place| u32::try_from(place).ok()) {
        Some(place) => Ok(Resource::new_own(place)),
        None => Err(format!(
            "there is no table `{}`; declare it as `[table.NAME]` in the pipeline file",
            super::super::clip(&name, 100)
        )),
    })
}

fn get(mut cx: StoreContextMut<'_, Host>, (table, ends, keys): &GetArgs) -> Result<Found> {
    cx.data_mut().calls.take()?;
    let keys = keys.to_str(&cx)?;
    let ends = ends.as_le_slice(&cx);
    let mut start = 0;
    let mut cuts = Vec::with_capacity(ends.len());
    for end in ends {
        let end = *end as usize;
        let key = keys.get(start..end).ok_or_else(|| Error::msg("key-ends do not cut the keys"))?;
        cuts.push(key);
        start = end;
    }
    let (_, table) = cx
        .data()
        .lends
        .tables
        .get(table.rep() as usize)
        .ok_or_else(|| Error::msg("that is no table"))?;
    let mut found = Found::default();
    table.look_up(&cuts, |value| {
        found.present.push(value.is_some());
        found.values.push_str(value.unwrap_or_default());
        if found.values.len() > VALUES_MAX {
            let mib = VALUES_MAX >> 20;
            return Err(Overrun(format!("it looks up more than {mib} MiB of values at once")));
        }
        let end = u32::try_from(found.values.len()).expect("the bound above is far smaller");
        found.value_ends.push(end);
        Ok(())
    })?;
    Ok(found)
}
