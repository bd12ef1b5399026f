//! The capability `random`: bytes fit for cryptography.

use ring::rand::{SecureRandom, SystemRandom};
use wasmtime::component::Linker;
use wasmtime::{Error, Result, StoreContextMut};

use super::{Host, Overrun};

/// Bytes that one call may ask for.
const LEN_MAX: u32 = 64 << 10;

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut random = linker.instance("weir:plugin/random@1.0.0")?;
    random.func_wrap("fill", |mut cx: StoreContextMut<'_, Host>, (len,): (u32,)| {
        cx.data_mut().calls.take()?;
        fill(len).map(|bytes| (bytes,))
    })
}

fn fill(len: u32) -> Result<Vec<u8>> {
    if len > LEN_MAX {
        let message = format!("it asks for {len} random bytes at once, {LEN_MAX} are allowed");
        return Err(Overrun(message).into());
    }
    let mut bytes = vec![0; len as usize];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_unspecified| Error::msg("the system has no random bytes"))?;
    Ok(bytes)
}
