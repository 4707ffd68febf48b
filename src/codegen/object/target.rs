//! The processors that an object file can be for.

use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use super::cpu::{V2_FLAGS, V3_FLAGS};
use crate::codegen::cranelift::Widen;
use crate::tiles::Isa;

/// What an object file is for. The system is always that of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// x86-64 with AVX2 and FMA, and faster code where AVX-512F and AVX-512DQ are there.
    X86,
    /// x86-64-v2: no fused multiply-add, so its bits are its own.
    V2,
    /// x86-64-v3 alone.
    V3,
    /// x86-64-v3, AVX-512F and AVX-512DQ.
    V4,
    /// Any 64-bit ARM.
    Aarch64,
}

/// Code for processors of one level: what stands in an object file several times, where it is for several.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// The contractions.
    pub tiles: Isa,
    /// The other lane loops.
    pub widen: Widen,
    /// The level of `cpu` that it needs.
    pub level: i64,
}

impl Variant {
    const AVX512: Variant = Variant { tiles: Isa::Avx512, widen: Widen::Worth, level: 3 };
    const AVX2: Variant = Variant { tiles: Isa::Avx2, ..Variant::portable(2) };

    /// Where this nnc has not the tiles of a processor, that of any processor is compiled for it: the same bits, more slowly.
    const fn portable(level: i64) -> Variant {
        Variant { tiles: Isa::Portable, widen: if level == 3 { Widen::Worth } else { Widen::Never }, level }
    }
}

impl Target {
    /// What serves every machine of this one's architecture; `None` where nothing is known of it.
    pub fn of_this_architecture() -> Option<Target> {
        if cfg!(target_arch = "x86_64") {
            Some(Target::X86)
        } else {
            cfg!(target_arch = "aarch64").then_some(Target::Aarch64)
        }
    }

    /// The best that runs on this machine.
    pub fn of_this_machine() -> Option<Target> {
        match Target::of_this_architecture()? {
            Target::X86 => Some(match Isa::best() {
                Isa::Avx512 if Widen::best() == Widen::Worth => Target::V4,
                Isa::Avx512 | Isa::Avx2 => Target::V3,
                Isa::Portable => Target::V2,
            }),
            other => Some(other),
        }
    }

    /// What the processor must have, in words.
    pub fn needs(self) -> &'static str {
        match self {
            Target::X86 | Target::V3 => "an x86-64 processor with the instructions of x86-64-v3",
            Target::V2 => "an x86-64 processor with the instructions of x86-64-v2",
            Target::V4 => "an x86-64 processor with the instructions of x86-64-v3, AVX-512F and AVX-512DQ",
            Target::Aarch64 => "a 64-bit ARM processor",
        }
    }

    /// Whether this machine's linker makes programs for it.
    pub fn is_native(self) -> bool {
        (self == Target::Aarch64) == cfg!(target_arch = "aarch64")
    }

    /// Its code, by ascending level.
    pub(super) fn variants(self) -> &'static [Variant] {
        const PORTABLE: [Variant; 4] =
            [Variant::portable(0), Variant::portable(1), Variant::portable(2), Variant::portable(3)];
        let blobs = Isa::Avx2.blob().is_some() && Isa::Avx512.blob().is_some();
        match self {
            Target::X86 if blobs => &[Variant::AVX2, Variant::AVX512],
            Target::V3 if blobs => &[Variant::AVX2],
            Target::V4 if blobs => &[Variant::AVX512],
            Target::X86 => &PORTABLE[2..],
            Target::V3 => &PORTABLE[2..3],
            Target::V4 => &PORTABLE[3..],
            Target::V2 => &PORTABLE[1..2],
            Target::Aarch64 => &PORTABLE[..1],
        }
    }

    /// Code generation for it, with the instructions that it names and no others: files do not depend on where they were made.
    /// `movable`: the code runs wherever it is loaded.
    pub(super) fn isa(self, verify: bool, movable: bool) -> Result<OwnedTargetIsa, String> {
        let mut flags = settings::builder();
        let on = |flag| if flag { "true" } else { "false" };
        let chosen = [
            ("opt_level", "none"),
            ("enable_verifier", on(verify)),
            ("enable_probestack", "false"),
            ("use_colocated_libcalls", "false"),
            ("is_pic", on(movable)),
            ("unwind_info", "false"),
        ];
        for (name, value) in chosen {
            flags.set(name, value).map_err(|e| e.to_string())?;
        }
        let host = cranelift_native::builder().map_err(str::to_owned)?;
        let mut triple = host.triple().clone();
        let (architecture, own): (&str, &[&str]) = match self {
            Target::Aarch64 => ("aarch64", &[]),
            Target::V2 => ("x86_64", V2_FLAGS),
            Target::X86 | Target::V3 | Target::V4 => ("x86_64", V3_FLAGS),
        };
        triple.architecture = architecture.parse().map_err(|()| format!("no architecture {architecture}"))?;
        let mut builder = isa::lookup(triple).map_err(|e| e.to_string())?;
        for flag in own {
            builder.enable(flag).map_err(|e| e.to_string())?;
        }
        builder.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
    }
}
