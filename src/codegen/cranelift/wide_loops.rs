//! Lane loops that run on wide vectors: their tables are filled here, and their lanes joined.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, InstBuilder, Signature, StackSlotData, StackSlotKind,
    UserExternalName, Value,
};
use cranelift_codegen::isa::CallConv;

use super::accs::Shape;
use super::emit::{ACCESS, Emitter, GROUPS, Rep, index};
use crate::codegen::wide::{self, Outside, Wide, Word};
use crate::kernel::{Coord, Loop, Range, Size, Stmt, Val};
use crate::tensor::DType;

/// The namespace of wide loops among a function's callees; they stand behind the function's own code.
pub(super) const NAMESPACE: u32 = 1;
/// Statements on lanes below which a loop of known length stays where it is: the call and its table take about 5 ns.
const WORTH: i64 = 256;

/// Which lane loops are wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widen {
    Never,
    /// Where it pays.
    Worth,
    /// All that can be: for tests.
    Always,
}

impl Widen {
    /// What this machine runs best.
    pub fn best() -> Widen {
        if wide::is_supported() { Widen::Worth } else { Widen::Never }
    }
}

impl<'a> Emitter<'a, '_> {
    /// Calls the wide code of a lane loop, and gives the accumulators; `None` where it has none.
    pub fn wide_loop(&mut self, l: &'a Loop, start: Value, end: Value) -> Option<Vec<Rep>> {
        if self.widen == Widen::Never || (self.widen == Widen::Worth && !is_worth(l)) {
            return None;
        }
        let (vals, consts) = (&self.scope.vals, &self.consts);
        let outside = |val: Val| match (consts.get(&val), vals[index(val)]) {
            (Some(value), _) => Some(Outside::Const(*value)),
            (None, Rep::One(_)) => Some(Outside::Number),
            _ => None,
        };
        let Wide { bytes, words, accumulators, table } = wide::lane_loop(self.kernel, l, &outside)?;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, table.max(8) as u32, 4);
        let slot = self.b.create_sized_stack_slot(slot);
        let at = self.b.ins().stack_addr(I64, slot, 0);
        for (k, word) in words.into_iter().enumerate() {
            let value = self.word(l, start, word);
            self.b.ins().store(ACCESS, value, at, 8 * k as i32);
        }
        let count = match l.range {
            Range::Full(_) => end,
            Range::Chunk { .. } => self.b.ins().isub(end, start),
        };
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.extend([AbiParam::new(I64); 2]);
        let signature = self.b.import_signature(signature);
        let name = UserExternalName { namespace: NAMESPACE, index: self.wide.len() as u32 };
        let name = ExternalName::user(self.b.func.declare_imported_user_function(name));
        let callee =
            self.b.import_function(ExtFuncData { name, signature, colocated: true, patchable: false });
        self.b.ins().call(callee, &[at, count]);
        self.wide.push(bytes);

        let shape = |val: Val| Shape { dtype: self.kernel.vals[val], groups: GROUPS, lanes: true };
        let shapes: Vec<Shape> = l.accs.iter().map(|acc| shape(acc.init)).collect();
        let mut partials = Vec::new();
        for (k, shape) in shapes.iter().enumerate() {
            let first = (accumulators + 64 * k) as i32;
            partials.push(
                (0..GROUPS as i32).map(|group| self.load_partial(*shape, at, first + 16 * group)).collect(),
            );
        }
        Some(self.combine_lanes(l, &shapes, partials))
    }

    /// An entry of the table.
    fn word(&mut self, l: &'a Loop, start: Value, word: Word<'a>) -> Value {
        match word {
            Word::Pointer(arg, at) => {
                let pointer = self.pointer(arg, at);
                let along = at.terms.iter().any(|(coord, _)| *coord == Coord::Var(l.var));
                if !along || matches!(l.range, Range::Full(_)) {
                    return pointer;
                }
                let element = self.kernel.args[arg].dtype.size() as i64;
                let first = self.b.ins().imul_imm_s(start, element);
                self.b.ins().iadd(pointer, first)
            }
            Word::Number(val) => {
                let value = self.one(val);
                let dtype = self.kernel.vals[val];
                if dtype == DType::Bool { self.widen(dtype, value) } else { value }
            }
            Word::Count(size) => self.size(size),
            Word::Stride(size, element) => self.size_bytes(size, element),
        }
    }
}

fn is_worth(l: &Loop) -> bool {
    match l.range {
        Range::Full(Size::Const(n)) => {
            // A vector that is not full is worth it where loops inside repeat it.
            let least = if n >= 16 { WORTH } else { 4 * WORTH };
            n.saturating_mul(weight(&l.body)) >= least
        }
        _ => true,
    }
}

fn weight(stmts: &[Stmt]) -> i64 {
    let of = |stmt: &Stmt| match stmt {
        Stmt::Loop(l) => match l.range {
            Range::Full(Size::Const(n)) => n.saturating_mul(weight(&l.body)),
            _ => WORTH,
        },
        _ => 1,
    };
    stmts.iter().map(of).fold(0, i64::saturating_add)
}
