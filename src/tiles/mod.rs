//! Contractions at the machine's peak: machine code for `C (+)= Σ A·B`, made by the Rust compiler when this crate is built.
//!
//! The code is a *blob*: the bytes of one function without relocations, for each kind of vector registers. A code generator places it with
//! `define_function_bytes` into whatever module it fills and calls it like its own functions, so code that runs at once and code that goes
//! into an object file share one path. Where there is no blob (not x86-64, or no AVX2) the code generator emits the same function itself.
//!
//! This room knows pointers and strides. It must never know what a tensor, a kernel or a code generator is.

mod abi;
mod blocking;
mod peak;

use std::fmt;
use std::str::FromStr;

pub use abi::{ACCUMULATE, COPY, Contraction, RELU, ROOM, Tile};
pub use blocking::{Blocking, Extents, PANEL, cut};
pub use peak::peak;

include!(concat!(env!("OUT_DIR"), "/blobs.rs"));

/// The instructions that a contraction's code uses, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// x86-64 with AVX-512F and FMA.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// What the code generator emits, on any machine.
    Portable,
}

/// The machine code of one [`Contraction`], position independent and without relocations.
pub struct Blob {
    pub isa: Isa,
    /// A name that nothing else has.
    pub symbol: &'static str,
    /// What the first byte must be aligned to.
    pub align: u64,
    pub bytes: &'static [u8],
}

impl Isa {
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// Whether this machine can run it.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f") && Isa::Avx2.is_supported(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => false,
            Isa::Portable => true,
        }
    }

    /// The best of this machine.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().find(|isa| isa.is_supported()).unwrap_or(Isa::Portable)
    }

    /// Its code; `None` if the code generator emits it.
    pub fn blob(self) -> Option<&'static Blob> {
        BLOBS.iter().find(|blob| blob.isa == self)
    }

    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Isa, String> {
        let isa = Isa::ALL.into_iter().find(|isa| isa.name() == name);
        let isa = isa.ok_or_else(|| format!("`{name}` is none of avx512, avx2, portable"))?;
        if !isa.is_supported() {
            return Err(format!("this machine has no {isa}"));
        }
        Ok(isa)
    }
}

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod speed;
