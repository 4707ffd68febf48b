//! What an object file would hold, in this process instead: for tests that call `bind` and `run` themselves.

use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncOrDataId, Module, default_libcall_names};

use super::{Entry, Target, fill};

/// The functions of one entry; they live as long as the process.
pub struct Loaded {
    pub plan: Vec<i64>,
    pub build: i64,
    pub bind: *const u8,
    pub workspace: *const u8,
    pub run: *const u8,
}

pub fn load(entry: &Entry<'_>, target: Target) -> Loaded {
    let mut module =
        JITModule::new(JITBuilder::with_isa(target.isa(true, false).unwrap(), default_libcall_names()));
    let plans = fill(&mut module, std::slice::from_ref(entry), target).unwrap();
    module.finalize_definitions().unwrap();
    let address = |function: &str| match module.get_name(&format!("{}_{function}", entry.name)) {
        Some(FuncOrDataId::Func(id)) => module.get_finalized_function(id),
        _ => panic!("no {function}"),
    };
    let [bind, workspace, run] = ["bind_built", "workspace", "run"].map(address);
    Loaded { plan: vec![0; plans[0].words], build: plans[0].build, bind, workspace, run }
}
