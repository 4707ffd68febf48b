//! Programs as object files that need nothing else: kernels, contractions, and as code what the runtime does for programs of this process.
//!
//! docs/objects.md has the design. This room knows programs and what is given to them; it must never know a graph, a file or the C language.

mod bind;
mod cpu;
mod entry;
mod function;
mod launch;
mod layout;
mod run;
mod sort;
mod target;
#[cfg(test)]
pub(crate) mod memory;

use std::hash::{DefaultHasher, Hash, Hasher};

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use indexmap::IndexMap;

pub use target::Target;

pub use entry::{Comparison, Demand, Entry, Given, Parameter, Refusal, Slots, Taken};

use self::bind::Levels;
use self::function::{Fun, define};
use self::layout::Layout;
use self::run::Parts;
use self::target::Variant;
use super::CodegenError;
use super::cranelift::place;
use crate::kernel::Kernel;

/// An object file.
pub struct Object {
    pub bytes: Vec<u8>,
    /// Of each entry.
    pub plans: Vec<Plan>,
}

/// What a caller must know of an entry's plans.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub words: usize,
    /// What `bind` is told, so that it may refuse a caller who knows another build.
    pub build: i64,
}

/// Compiles programs into one object file. Only the entries' functions are seen outside of it.
pub fn compile(entries: &[Entry<'_>], target: Target, verify: bool) -> Result<Object, CodegenError> {
    let failure = |message: String| CodegenError::new("module", message);
    let isa = target.isa(verify, true).map_err(failure)?;
    let builder = ObjectBuilder::new(isa, "nnc", default_libcall_names());
    let mut module = ObjectModule::new(builder.map_err(|e| failure(e.to_string()))?);
    let plans = fill(&mut module, entries, target)?;
    let bytes = module.finish().emit().map_err(|e| failure(e.to_string()))?;
    Ok(Object { bytes, plans })
}

/// Defines all functions of the entries; gives what their callers must know.
fn fill<M: Module>(module: &mut M, entries: &[Entry<'_>], target: Target) -> Result<Vec<Plan>, CodegenError> {
    let variants = target.variants();
    let contracts = |entry: &Entry<'_>| entry.program.kernels.values().any(|kernel| kernel.calls_tiles());
    let contractions: Vec<FuncId> = match entries.iter().any(contracts) {
        true => {
            let code = variants.iter().map(|variant| place::contraction(module, variant.tiles));
            code.collect::<Result<_, _>>()?
        }
        false => Vec::new(),
    };
    let door = place::door(module)?;
    let shared = launch::shared(module, door)?;
    let levels: Vec<i64> = variants.iter().map(|variant| variant.level).collect();
    let levels = Levels { ask: processor(module)?, levels: &levels };
    let sorts = sort::functions(module, entries.iter().map(|entry| entry.program))?;
    let common = Common { variants, contractions, levels, shared, sorts };
    let mut plans = Vec::new();
    for entry in entries {
        let layout = Layout::of(entry);
        let owner = owner(entry, target);
        add(module, entry, owner, &layout, &common)?;
        plans.push(Plan { words: layout.len(), build: owner });
    }
    Ok(plans)
}

/// What all entries of an object file use.
struct Common<'a> {
    variants: &'a [Variant],
    /// One for each variant; none where no kernel contracts.
    contractions: Vec<FuncId>,
    levels: Levels<'a>,
    shared: launch::Shared,
    sorts: IndexMap<sort::Manner, FuncId>,
}

fn add<M: Module>(
    module: &mut M,
    entry: &Entry<'_>,
    owner: i64,
    layout: &Layout,
    common: &Common<'_>,
) -> Result<(), CodegenError> {
    let Common { levels, shared, sorts, .. } = common;
    let sorts: Vec<FuncId> = sort::sorts(entry.program).iter().map(|sort| sorts[&sort.manner]).collect();
    let kernels = kernels(module, entry, common)?;
    let name = &entry.name;
    let mut embedded = Vec::new();
    for (index, given) in entry.inputs.iter().enumerate() {
        embedded.push(match given {
            Given::Embedded(bytes) => {
                Some(data(module, &format!("{name}_weight_{index}"), bytes, bind::ALIGN as u64)?)
            }
            _ => None,
        });
    }
    let mut presets = Vec::new();
    for (index, (_, _, bytes)) in entry.presets.iter().enumerate() {
        presets.push(data(module, &format!("{name}_preset_{index}"), bytes, bind::ALIGN as u64)?);
    }
    let dims = 2 + entry.dims.len();
    define(module, &format!("{name}_bind_built"), Linkage::Export, dims, Some(I32), |fun| {
        bind::emit(fun, entry, layout, levels, owner);
    })?;
    let workspace = define(module, &format!("{name}_workspace"), Linkage::Export, 2, Some(I64), |fun| {
        run::workspace(fun, owner);
    })?;
    let parts = Parts {
        layout,
        owner,
        kernels: &kernels,
        sorts: &sorts,
        shared,
        embedded: &embedded,
        presets: &presets,
        workspace,
    };
    let parameters = entry.parameters().len();
    define(module, &format!("{name}_run"), Linkage::Export, parameters, Some(I32), |fun| {
        run::emit(fun, entry, &parts);
    })?;
    let mut texts = Vec::new();
    for (index, text) in entry.messages().iter().enumerate() {
        let text = [text.replace('\0', " ").as_bytes(), &[0]].concat();
        texts.push(data(module, &format!("{name}_text_{index}"), &text, 1)?);
    }
    let unknown = data(module, &format!("{name}_text"), b"this is no code of the model\0", 1)?;
    define(module, &format!("{name}_message"), Linkage::Export, 1, Some(I64), |fun| {
        message(fun, &texts, unknown);
    })?;
    Ok(())
}

/// The kernels for each variant; those that would be the same in all are shared.
fn kernels<M: Module>(
    module: &mut M,
    entry: &Entry<'_>,
    common: &Common<'_>,
) -> Result<Vec<Vec<FuncId>>, CodegenError> {
    let all: Vec<&Kernel> = entry.program.kernels.values().collect();
    let name = &entry.name;
    let mut kernels: Vec<Vec<FuncId>> = Vec::new();
    for (variant, Variant { widen, .. }) in common.variants.iter().enumerate() {
        let contraction = common.contractions.get(variant).copied();
        let Some(first) = kernels.first() else {
            let (ids, _) = place::kernels(module, &all, &format!("{name}_kernel"), contraction, *widen)?;
            kernels.push(ids);
            continue;
        };
        let mut these = first.clone();
        let wide = place::widened(module.isa(), &all, *widen);
        let own: Vec<usize> =
            (0..all.len()).filter(|&index| all[index].calls_tiles() || wide[index]).collect();
        let chosen: Vec<&Kernel> = own.iter().map(|&index| all[index]).collect();
        let prefix = format!("{name}_kernel_variant_{variant}");
        let (ids, _) = place::kernels(module, &chosen, &prefix, contraction, *widen)?;
        for (index, id) in own.into_iter().zip(ids) {
            these[index] = id;
        }
        kernels.push(these);
    }
    Ok(kernels)
}

/// `(code) -> text`
fn message<M: Module>(fun: &mut Fun<'_, '_, M>, texts: &[DataId], unknown: DataId) {
    let code = fun.b.ins().ireduce(I32, fun.params[0]);
    let mut text = fun.data(unknown);
    for (index, &own) in texts.iter().enumerate() {
        let meant = fun.b.ins().icmp_imm_s(IntCC::Equal, code, index as i64);
        let own = fun.data(own);
        text = fun.b.ins().select(meant, own, text);
    }
    fun.b.ins().return_(&[text]);
}

fn data(module: &mut impl Module, name: &str, bytes: &[u8], align: u64) -> Result<DataId, CodegenError> {
    let id = module.declare_data(name, Linkage::Local, false, false);
    let id = id.map_err(|e| CodegenError::new(name, e))?;
    let mut description = DataDescription::new();
    description.define(bytes.into());
    description.set_align(align);
    module.define_data(id, &description).map_err(|e| CodegenError::new(name, e))?;
    Ok(id)
}

/// The function that asks for the processor's level, where there are several.
fn processor(module: &mut impl Module) -> Result<Option<FuncId>, CodegenError> {
    if module.isa().name() != "x64" {
        return Ok(None);
    }
    let mut signature = place::signature(module.isa());
    signature.params.clear();
    signature.returns = vec![AbiParam::new(I32)];
    let id = module.declare_function("nnc_processor", Linkage::Local, &signature);
    let id = id.map_err(|e| CodegenError::new("nnc_processor", e))?;
    let placed = module.define_function_bytes(id, 16, cpu::X86_64, &[]);
    placed.map_err(|e| CodegenError::new("nnc_processor", e))?;
    Ok(Some(id))
}

/// A number that another program's plan, or another build's, has by no accident.
fn owner(entry: &Entry<'_>, target: Target) -> i64 {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    entry.name.hash(&mut hasher);
    (target as u8).hash(&mut hasher);
    // The order and number of all arguments.
    format!("{:?} {:?}", entry.dims, entry.parameters()).hash(&mut hasher);
    entry.program.to_string().hash(&mut hasher);
    // Never 0, and small enough for an instruction's immediate operand.
    ((hasher.finish() >> 33) | 1) as i64
}
