//! Kernels as code in the memory of this process.

use std::sync::OnceLock;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, default_libcall_names};

use super::place;
use super::wide_loops::Widen;
use crate::codegen::code::{Code, CodegenError, Door, Entry, KernelFn};
use crate::kernel::{Kernel, Program};
use crate::tiles::Isa;

/// What a session may choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The code of contractions.
    pub tiles: Isa,
    /// The lane loops that run on wide vectors.
    pub widen: Widen,
    /// Checks Cranelift's IR of every function: for tests.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { tiles: Isa::best(), widen: Widen::best(), verify: cfg!(test) }
    }
}

/// Compiles all kernels of a program to code in memory.
pub fn compile(program: &Program, options: Options) -> Result<Code, CodegenError> {
    let failure = |message: String| CodegenError { kernel: "module".to_owned(), message };
    let isa = host(options.verify).map_err(failure)?;
    let mut module = JITModule::new(JITBuilder::with_isa(isa.clone(), default_libcall_names()));
    let built = define(&mut module, program, options).and_then(|placed| {
        module.finalize_definitions().map_err(|e| failure(e.to_string()))?;
        Ok(placed)
    });
    // From here on the memory is freed, whatever happens.
    let memory = Memory(Some(module));
    let placed = built?;
    let address = |id: FuncId| memory.0.as_ref().map(|module| module.get_finalized_function(id));
    let mut kernels = cranelift_entity::PrimaryMap::new();
    for (kernel, &id) in program.kernels.values().zip(&placed.kernels) {
        let code = address(id).ok_or_else(|| failure("no module".to_owned()))?;
        // SAFETY: `define` made this function with the signature of `KernelFn`.
        let code = unsafe { std::mem::transmute::<*const u8, KernelFn>(code) };
        kernels.push(Entry { code, flushes: kernel.flushes() });
    }
    // SAFETY: these are the bytes of `entry`, which obey `Door`.
    let door =
        placed.door.and_then(address).map(|door| unsafe { std::mem::transmute::<*const u8, Door>(door) });
    Ok(Code { kernels, door, size: placed.size, _memory: Box::new(memory) })
}

/// The functions that a module got.
struct Placed {
    kernels: Vec<FuncId>,
    door: Option<FuncId>,
    size: usize,
}

/// Puts all kernels of a program into a module, and what they need: contractions, the door.
fn define(module: &mut JITModule, program: &Program, options: Options) -> Result<Placed, CodegenError> {
    let contraction = match contracts(program) {
        true => Some(place::contraction(module, options.tiles)?),
        false => None,
    };
    let all: Vec<&Kernel> = program.kernels.values().collect();
    let (kernels, size) = place::kernels(module, &all, "kernel", contraction, options.widen)?;
    Ok(Placed { kernels, door: place::door(module)?, size })
}

fn contracts(program: &Program) -> bool {
    program.kernels.values().any(|kernel| kernel.calls_tiles())
}

/// The text of a program's kernels: Cranelift's IR (`--emit clif`) or, disassembled, the machine code (`--emit asm`).
pub fn text(program: &Program, options: Options, machine_code: bool) -> Result<String, CodegenError> {
    let failure = |message: String| CodegenError { kernel: "module".to_owned(), message };
    let isa = host(options.verify).map_err(failure)?;
    let mut text = String::new();
    for (i, kernel) in program.kernels.values().enumerate() {
        let (id, contraction) = (FuncId::from_u32(i as u32), FuncId::from_u32(program.kernels.len() as u32));
        let contraction = kernel.calls_tiles().then_some(contraction);
        // The same on every machine: all loops as they are on short vectors.
        let (mut context, _) = place::function(&*isa, kernel, id, contraction, Widen::Never);
        text += &format!("; kernel_{i}: {}\n", kernel.name);
        if machine_code {
            context.set_disasm(true);
            let code = context.compile(&*isa, &mut ControlPlane::default());
            let code = code.map_err(|e| CodegenError {
                kernel: kernel.name.to_string(),
                message: format!("{:?}", e.inner),
            })?;
            text += code.vcode.as_deref().unwrap_or_default();
        } else {
            text += &context.func.display().to_string();
        }
        text.push('\n');
    }
    Ok(text)
}

/// This machine; made once, for Cranelift takes a while to ask it what it can.
fn host(verify: bool) -> Result<OwnedTargetIsa, String> {
    static HOSTS: [OnceLock<Result<OwnedTargetIsa, String>>; 2] = [const { OnceLock::new() }; 2];
    HOSTS[usize::from(verify)].get_or_init(|| build_host(verify)).clone()
}

fn build_host(verify: bool) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let verify = if verify { "true" } else { "false" };
    let chosen = [
        // Measured: `speed` gives the same times and takes twice as long to compile, for the emitter hoists and folds already.
        ("opt_level", "none"),
        ("enable_verifier", verify),
        ("enable_probestack", "false"),
        ("use_colocated_libcalls", "false"),
        ("is_pic", "false"),
        ("unwind_info", "false"),
    ];
    for (name, value) in chosen {
        flags.set(name, value).map_err(|e| e.to_string())?;
    }
    let builder = cranelift_native::builder().map_err(str::to_owned)?;
    builder.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
}

/// The memory of a module's code.
struct Memory(Option<JITModule>);

// SAFETY: the module is only kept to be freed; nothing reads it through a shared reference.
unsafe impl Sync for Memory {}
// SAFETY: the module owns its memory and holds no thread's own state; its parts that are not `Send` are addresses of its code.
unsafe impl Send for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            // SAFETY: `Code` owns this value beside its functions, so none of them is running or called again.
            unsafe { module.free_memory() }
        }
    }
}
