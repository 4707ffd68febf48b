//! Kernels as functions of a module, whatever the module is: memory of this process, an object file. All of them are seen only there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, Function, Signature, UserExternalName, UserFuncName,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, ModuleRelocTarget};
use rayon::prelude::*;

use super::wide_loops::{NAMESPACE, Widen};
use super::{emit, tile};
use crate::codegen::code::CodegenError;
use crate::codegen::entry;
use crate::kernel::{Kernel, Shape};
use crate::tiles::Isa;

/// A kernel's machine code before it is placed.
struct Compiled {
    align: u64,
    bytes: Vec<u8>,
    relocs: Vec<ModuleReloc>,
}

/// Defines kernels as `<prefix>_<number>`, with `contraction` for those that contract. Kernels of one shape are one function: the update of
/// all parameters, the layers of a network that are written out. Also gives the bytes of their code.
pub(in crate::codegen) fn kernels(
    module: &mut impl Module,
    kernels: &[&Kernel],
    prefix: &str,
    contraction: Option<FuncId>,
    widen: Widen,
) -> Result<(Vec<FuncId>, usize), CodegenError> {
    let signature = signature(module.isa());
    let mut ids = Vec::new();
    let mut work: Vec<(&Kernel, FuncId)> = Vec::new();
    let mut known: HashMap<Shape<'_>, FuncId> = HashMap::new();
    for (index, kernel) in kernels.iter().copied().enumerate() {
        let id = match known.entry(kernel.shape()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let id = module.declare_function(&format!("{prefix}_{index}"), Linkage::Local, &signature);
                let id = id.map_err(|e| CodegenError::new(&kernel.name, e))?;
                work.push((kernel, id));
                *new.insert(id)
            }
        };
        ids.push(id);
    }
    let isa = module.isa();
    let compiled: Vec<Result<Compiled, CodegenError>> =
        work.par_iter().map(|&(kernel, id)| compile_kernel(isa, kernel, id, contraction, widen)).collect();
    let mut size = 0;
    for ((kernel, id), compiled) in work.into_iter().zip(compiled) {
        let Compiled { align, bytes, relocs } = compiled?;
        size += bytes.len();
        let placed = module.define_function_bytes(id, align, &bytes, &relocs);
        placed.map_err(|e| CodegenError::new(&kernel.name, e))?;
    }
    Ok((ids, size))
}

/// Which kernels have wide loops.
pub(in crate::codegen) fn widened(isa: &dyn TargetIsa, kernels: &[&Kernel], widen: Widen) -> Vec<bool> {
    let id = FuncId::from_u32(0);
    let wide = |kernel: &&Kernel| {
        let contraction = kernel.calls_tiles().then_some(id);
        widen != Widen::Never && !function(isa, kernel, id, contraction, widen).1.is_empty()
    };
    kernels.par_iter().map(wide).collect()
}

/// The code of contractions. A module wants each once.
pub(in crate::codegen) fn contraction(module: &mut impl Module, tiles: Isa) -> Result<FuncId, CodegenError> {
    tile::define(module, tiles).map_err(|e| CodegenError::new("contraction", e))
}

/// The door through which kernels that flush subnormal numbers are entered, where the machine has one. A module wants it once.
pub(in crate::codegen) fn door(module: &mut impl Module) -> Result<Option<FuncId>, CodegenError> {
    let bytes = match module.isa().name() {
        "x64" => entry::X86_64,
        "aarch64" => entry::AARCH64,
        // Elsewhere subnormal numbers keep their values, at some cost in time.
        _ => return Ok(None),
    };
    let mut signature = signature(module.isa());
    signature.params.insert(0, AbiParam::new(I64));
    let id = module.declare_function("nnc_enter_flushing", Linkage::Local, &signature);
    let id = id.map_err(|e| CodegenError::new("door", e))?;
    let placed = module.define_function_bytes(id, 16, bytes, &[]);
    placed.map_err(|e| CodegenError::new("door", e))?;
    Ok(Some(id))
}

/// Of every kernel; see [`crate::codegen::KernelFn`].
pub(in crate::codegen) fn signature(isa: &dyn TargetIsa) -> Signature {
    let convention = if isa.name() == "x64" { CallConv::SystemV } else { isa.default_call_conv() };
    let mut signature = Signature::new(convention);
    signature.params.extend([AbiParam::new(I64); 5]);
    signature
}

fn compile_kernel(
    isa: &dyn TargetIsa,
    kernel: &Kernel,
    id: FuncId,
    contraction: Option<FuncId>,
    widen: Widen,
) -> Result<Compiled, CodegenError> {
    let failure = |message: String| CodegenError { kernel: kernel.name.to_string(), message };
    let (mut context, wide) = function(isa, kernel, id, contraction, widen);
    let code =
        context.compile(isa, &mut ControlPlane::default()).map_err(|e| failure(format!("{:?}", e.inner)))?;
    let align = u64::from(code.buffer.alignment).max(16);
    let mut bytes = code.code_buffer().to_vec();
    let relocs = code.buffer.relocs().to_vec();
    let mut relocs: Vec<ModuleReloc> =
        relocs.iter().map(|reloc| ModuleReloc::from_mach_reloc(reloc, &context.func, id)).collect();
    append(&mut bytes, &mut relocs, &wide);
    Ok(Compiled { align, bytes, relocs })
}

/// Puts the code of wide loops behind a kernel's own, and lets its calls lead there.
fn append(bytes: &mut Vec<u8>, relocs: &mut Vec<ModuleReloc>, wide: &[Vec<u8>]) {
    let mut starts = Vec::new();
    for code in wide {
        bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
        starts.push(bytes.len() as i64);
        bytes.extend(code);
    }
    relocs.retain(|reloc| {
        let ModuleRelocTarget::User { namespace: NAMESPACE, index } = reloc.name else { return true };
        let at = reloc.offset as usize;
        let distance = starts[index as usize] + reloc.addend - at as i64;
        bytes[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
        false
    });
}

/// A kernel's function in Cranelift's IR, and the code of its wide loops.
pub(super) fn function(
    isa: &dyn TargetIsa,
    kernel: &Kernel,
    id: FuncId,
    contraction: Option<FuncId>,
    widen: Widen,
) -> (Context, Vec<Vec<u8>>) {
    let mut context = Context::new();
    context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature(isa));
    let contraction = contraction.map(|callee| {
        let signature = context.func.import_signature(tile::signature(isa));
        let name = UserExternalName { namespace: 0, index: callee.as_u32() };
        let name = ExternalName::user(context.func.declare_imported_user_function(name));
        context.func.import_function(ExtFuncData { name, signature, colocated: true, patchable: false })
    });
    let mut scratch = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut scratch);
    let wide = emit::emit(&mut builder, kernel, isa.has_native_fma(), contraction, widen);
    builder.finalize(isa.frontend_config());
    (context, wide)
}
