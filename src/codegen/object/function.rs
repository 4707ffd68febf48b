//! One function that is being written: Cranelift's builder, and the few phrases that `bind` and `run` are made of.

use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, FuncRef, InstBuilder, MemFlagsData, Signature, Type, Value,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{DataId, FuncId, Linkage, Module};

use super::entry::Refusal;
use crate::codegen::CodegenError;
use crate::codegen::cranelift::place;

/// Loads and stores that never trap.
pub const ACCESS: MemFlagsData = MemFlagsData::new().with_notrap();

pub struct Fun<'m, 'f, M: Module> {
    pub b: FunctionBuilder<'f>,
    pub module: &'m mut M,
    pub params: Vec<Value>,
}

/// The convention of kernels and of C, with `params` arguments of 64 bits.
pub fn signature(module: &impl Module, params: usize, result: Option<Type>) -> Signature {
    let mut signature = place::signature(module.isa());
    signature.params = vec![AbiParam::new(I64); params];
    signature.returns = result.map(AbiParam::new).into_iter().collect();
    signature
}

/// Defines a function; `body` ends it with a return.
pub fn define<M: Module>(
    module: &mut M,
    name: &str,
    linkage: Linkage,
    params: usize,
    result: Option<Type>,
    body: impl FnOnce(&mut Fun<'_, '_, M>),
) -> Result<FuncId, CodegenError> {
    let failure = |e: Box<dyn std::fmt::Display>| CodegenError::new(name, e);
    let signature = signature(module, params, result);
    let id = module.declare_function(name, linkage, &signature).map_err(|e| failure(Box::new(e)))?;
    let mut context = Context::new();
    context.func.signature = signature;
    let mut scratch = FunctionBuilderContext::new();
    let config = module.target_config();
    let mut b = FunctionBuilder::new(&mut context.func, &mut scratch);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let mut fun = Fun { b, module, params };
    body(&mut fun);
    fun.b.seal_all_blocks();
    fun.b.finalize(config);
    module.define_function(id, &mut context).map_err(|e| failure(Box::new(format!("{e:?}"))))?;
    Ok(id)
}

impl<M: Module> Fun<'_, '_, M> {
    pub fn int(&mut self, value: i64) -> Value {
        self.b.ins().iconst(I64, value)
    }

    pub fn load(&mut self, at: Value, word: usize) -> Value {
        self.b.ins().load(I64, ACCESS, at, 8 * word as i32)
    }

    pub fn store(&mut self, value: Value, at: Value, word: usize) {
        self.b.ins().store(ACCESS, value, at, 8 * word as i32);
    }

    pub fn variable(&mut self, value: Value) -> Variable {
        let ty = self.b.func.dfg.value_type(value);
        let variable = self.b.declare_var(ty);
        self.b.def_var(variable, value);
        variable
    }

    pub fn reference(&mut self, id: FuncId) -> FuncRef {
        self.module.declare_func_in_func(id, self.b.func)
    }

    pub fn address(&mut self, id: FuncId) -> Value {
        let function = self.reference(id);
        self.b.ins().func_addr(I64, function)
    }

    pub fn data(&mut self, id: DataId) -> Value {
        let data = self.module.declare_data_in_func(id, self.b.func);
        self.b.ins().symbol_value(I64, data)
    }

    pub fn call(&mut self, id: FuncId, args: &[Value]) -> Option<Value> {
        let function = self.reference(id);
        let call = self.b.ins().call(function, args);
        self.b.inst_results(call).first().copied()
    }

    pub fn blocks<const N: usize>(&mut self) -> [Block; N] {
        [(); N].map(|()| self.b.create_block())
    }

    pub fn jump(&mut self, to: Block, args: &[Value]) {
        let args: Vec<BlockArg> = args.iter().map(|&value| BlockArg::Value(value)).collect();
        self.b.ins().jump(to, &args);
    }

    /// `if cond { then }`
    pub fn when(&mut self, cond: Value, then: impl FnOnce(&mut Self)) {
        let [yes, behind] = self.blocks();
        self.b.ins().brif(cond, yes, &[], behind, &[]);
        self.b.switch_to_block(yes);
        then(self);
        self.jump(behind, &[]);
        self.b.switch_to_block(behind);
    }

    /// Returns the refusal's code if the condition holds.
    pub fn refuse_if(&mut self, cond: Value, refusal: Refusal) {
        self.return_if(cond, refusal.code());
    }

    pub fn return_if(&mut self, cond: Value, code: i64) {
        let [refused, fine] = self.blocks();
        self.b.ins().brif(cond, refused, &[], fine, &[]);
        self.b.switch_to_block(refused);
        self.return_code(code);
        self.b.switch_to_block(fine);
    }

    pub fn return_code(&mut self, code: i64) {
        let code = self.b.ins().iconst(I32, code);
        self.b.ins().return_(&[code]);
    }

    pub fn is_null(&mut self, pointer: Value) -> Value {
        self.b.ins().icmp_imm_s(IntCC::Equal, pointer, 0)
    }

    /// `for i in 0..count { body(i) }`
    pub fn count(&mut self, count: Value, body: impl FnOnce(&mut Self, Value)) {
        let zero = self.int(0);
        let i = self.variable(zero);
        let [test, turn, done] = self.blocks();
        self.jump(test, &[]);
        self.b.switch_to_block(test);
        let at = self.b.use_var(i);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, at, count);
        self.b.ins().brif(more, turn, &[], done, &[]);
        self.b.switch_to_block(turn);
        body(self, at);
        let next = self.b.ins().iadd_imm_s(at, 1);
        self.b.def_var(i, next);
        self.jump(test, &[]);
        self.b.switch_to_block(done);
    }

    /// `while a < b { body }`, of addresses or unsigned numbers.
    pub fn while_below(&mut self, a: Variable, b: Variable, body: impl FnOnce(&mut Self)) {
        let [test, turn, done] = self.blocks();
        self.jump(test, &[]);
        self.b.switch_to_block(test);
        let (x, y) = (self.b.use_var(a), self.b.use_var(b));
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, x, y);
        self.b.ins().brif(more, turn, &[], done, &[]);
        self.b.switch_to_block(turn);
        body(self);
        self.jump(test, &[]);
        self.b.switch_to_block(done);
    }
}
