//! A lane loop, statement by statement.

use std::collections::HashMap;

use super::encode::{self as x, Assembler, R, RAX, RCX, RDI, RSI, Rm, With, Z};
use super::registers::{Place, Pool, is_kept};
use super::{Outside, Wide, Word};
use crate::kernel::{
    Acc, AccOp, Address, Arg, Const, Coord, Inst, Kernel, LANES, Loop, Range, Size, Stmt, Val, Var,
};
use crate::tensor::DType;

/// A pointer that moves along with an inner loop.
struct Moving<'a> {
    arg: Arg,
    address: &'a Address,
    register: R,
    /// How far behind it the address is.
    disp: i32,
    /// The register with the pointer before the loop.
    before: Option<(R, i32)>,
    /// The table's byte with the stride; none for an address that shares the register of another one.
    advance: Option<i32>,
}

pub(super) struct Emitter<'a, 'o> {
    pub a: Assembler,
    kernel: &'a Kernel,
    lanes: Var,
    /// The largest value of the lanes' variable, where it is known.
    most: Option<i64>,
    outside: &'o dyn Fn(Val) -> Option<Outside>,
    words: Vec<Word<'a>>,
    /// The values of the loop.
    places: HashMap<Val, Place>,
    /// Positions and what follows from them: i64 in the kernel, i32 here. The largest magnitude of each.
    narrow: HashMap<Val, i64>,
    /// The number of each value's last use in the order of the text; a loop's end for what is used in it but made before.
    last: HashMap<Val, usize>,
    now: usize,
    pub vectors: Pool,
    pub masks: Pool,
    addresses: Pool,
    used: Vec<R>,
    /// The register that holds a pointer, and how many bytes behind it the address is.
    pointers: HashMap<*const Address, (R, i32)>,
    /// The registers that are loaded once, from which byte of the table.
    loaded: Vec<(R, i32)>,
}

/// See [`super::lane_loop`].
pub(super) fn lane_loop<'a>(
    kernel: &'a Kernel,
    l: &'a Loop,
    outside: &dyn Fn(Val) -> Option<Outside>,
) -> Option<Wide<'a>> {
    let most = match l.range {
        Range::Full(Size::Const(n)) => Some(n),
        _ => None,
    };
    let mut e = Emitter {
        a: Assembler::default(),
        kernel,
        lanes: l.var,
        most,
        outside,
        words: Vec::new(),
        places: HashMap::new(),
        narrow: HashMap::new(),
        last: HashMap::new(),
        now: 0,
        vectors: Pool::vectors(),
        masks: Pool::masks(),
        addresses: Pool::addresses(),
        used: Vec::new(),
        pointers: HashMap::new(),
        loaded: Vec::new(),
    };
    e.count_uses(&l.body, &mut 0);
    for acc in &l.accs {
        e.last.insert(acc.term, usize::MAX);
    }
    e.function(l)
}

/// How many bytes `to` is behind `from`, where they differ by a constant alone.
fn apart(from: &Address, to: &Address, element: i64) -> Option<i32> {
    let base = |at: &Address| match at.base {
        None => Some(0),
        Some(Size::Const(base)) => Some(base),
        Some(Size::Sym(_)) => None,
    };
    if from == to {
        return Some(0);
    }
    let by = base(to)?.checked_sub(base(from)?)?.checked_mul(element)?;
    (from.terms == to.terms).then(|| i32::try_from(by).ok()).flatten()
}

impl<'a> Emitter<'a, '_> {
    fn function(mut self, l: &'a Loop) -> Option<Wide<'a>> {
        // The registers to restore are known at the end; so the body is made first, in an assembler of its own.
        let accs: Vec<Place> = l.accs.iter().map(|acc| self.accumulator(acc)).collect::<Option<_>>()?;
        self.pointers_of(&l.body)?;
        let accumulators = {
            let [again, tail, done] = [(); 3].map(|()| self.a.label());
            for (acc, place) in l.accs.iter().zip(&accs) {
                self.start(acc.op, *place);
            }
            self.a.zero(RCX);
            self.a.mask(x::MaskOp::Xnor, 1, 1, 1);
            self.a.compare_small(RSI, LANES as i8);
            self.a.jump_ge(again);
            self.a.compare_small(RSI, 0);
            self.a.jump_le(done);
            self.a.place(tail);
            self.a.ones_below_esi();
            self.a.mask_of_eax(1);
            self.a.place(again);
            self.stmts(&l.body)?;
            for (acc, place) in l.accs.iter().zip(&accs) {
                self.accumulate(acc, *place, 1)?;
            }
            self.a.add_small(RCX, LANES as i8);
            self.a.add_small(RSI, -(LANES as i8));
            self.a.jump_le(done);
            self.a.compare_small(RSI, LANES as i8);
            self.a.jump_ge(again);
            self.a.jump(tail);
            self.a.place(done);
            let words = 8 * self.words.len();
            let at = words.next_multiple_of(64);
            for (k, place) in accs.iter().enumerate() {
                self.store_accumulator(*place, (at + 64 * k) as i32);
            }
            at
        };
        let mut before = Assembler::default();
        let kept: Vec<R> = self.used.iter().copied().filter(|r| is_kept(*r)).collect();
        kept.iter().for_each(|r| before.push(*r));
        for (r, disp) in &self.loaded {
            before.load(*r, RDI, *disp);
        }
        kept.iter().rev().for_each(|r| self.a.pop(*r));
        self.a.zero_upper();
        self.a.ret();
        let mut bytes = before.straight();
        bytes.extend(self.a.finish());
        Some(Wide { bytes, words: self.words, accumulators, table: accumulators + 64 * l.accs.len() })
    }

    // Uses

    /// Numbers the statements and finds the last use of each value.
    fn count_uses(&mut self, stmts: &'a [Stmt], at: &mut usize) {
        for stmt in stmts {
            *at += 1;
            match stmt {
                Stmt::Let(_, inst) => match inst {
                    Inst::Op(_, operands) => operands.iter().for_each(|val| self.used_at(*val, *at)),
                    Inst::LoadIf { mask, .. } => self.used_at(*mask, *at),
                    _ => {}
                },
                Stmt::Store { value, .. } => self.used_at(*value, *at),
                Stmt::Loop(l) => {
                    l.accs.iter().for_each(|acc| self.used_at(acc.init, *at));
                    let first = *at;
                    let before: HashMap<Val, usize> = self.last.clone();
                    self.count_uses(&l.body, at);
                    *at += 1;
                    l.accs.iter().for_each(|acc| self.used_at(acc.term, *at));
                    // What the body only reads must outlive all turns.
                    let made = made_in(&l.body);
                    let end = *at;
                    for (val, last) in &mut self.last {
                        if *last > first && before.get(val) != Some(last) && !made.contains(val) {
                            *last = end;
                        }
                    }
                }
                Stmt::If { .. } | Stmt::Contract(_) | Stmt::Transpose(_) => {}
            }
        }
    }

    fn used_at(&mut self, val: Val, at: usize) {
        self.last.insert(val, at);
    }

    /// Gives back the registers of values that this statement used for the last time.
    fn free_dead(&mut self, operands: &[Val]) {
        for (k, val) in operands.iter().enumerate() {
            if !operands[..k].contains(val) && self.dies(*val) {
                match self.places.remove(val) {
                    Some(Place::Vector(z)) => self.vectors.give(z),
                    Some(Place::Mask(k)) => self.masks.give(k),
                    None => {}
                }
            }
        }
    }

    /// Gives back the registers of all values that are not read behind this place.
    fn free_all_dead(&mut self) {
        let dead: Vec<Val> = self.places.keys().copied().filter(|val| self.dies(*val)).collect();
        self.free_dead(&dead);
    }

    pub fn has_register(&self, val: Val) -> bool {
        matches!(self.places.get(&val), Some(Place::Vector(_)))
    }

    /// The register of a value that is over, for another value.
    pub fn take_over(&mut self, val: Val) -> Option<Z> {
        match self.places.remove(&val)? {
            Place::Vector(z) => Some(z),
            Place::Mask(_) => None,
        }
    }

    pub fn dies(&self, val: Val) -> bool {
        self.last.get(&val).is_none_or(|last| *last <= self.now)
    }

    // Statements

    fn stmts(&mut self, stmts: &'a [Stmt]) -> Option<()> {
        for stmt in stmts {
            self.now += 1;
            match stmt {
                Stmt::Let(val, _) if (self.outside)(*val).is_some() => {}
                Stmt::Let(val, inst) => {
                    let place = self.inst(*val, inst)?;
                    self.places.insert(*val, place);
                    match inst {
                        Inst::Op(_, operands) => self.free_dead(operands),
                        Inst::LoadIf { mask, .. } => self.free_dead(&[*mask]),
                        _ => {}
                    }
                    // What nothing reads.
                    if !self.last.contains_key(val) {
                        self.free_dead(&[*val]);
                    }
                }
                Stmt::Store { arg, at, value } => {
                    self.store(*arg, at, *value)?;
                    self.free_dead(&[*value]);
                }
                Stmt::Loop(l) if !l.lanes => self.plain_loop(l)?,
                Stmt::Loop(_) | Stmt::If { .. } | Stmt::Contract(_) | Stmt::Transpose(_) => return None,
            }
        }
        Some(())
    }

    fn inst(&mut self, val: Val, inst: &'a Inst) -> Option<Place> {
        let dtype = self.kernel.vals[val];
        match inst {
            Inst::Load { arg, at } => self.load(*arg, at, 1),
            Inst::LoadIf { arg, at, mask } => {
                let mask = self.mask(*mask)?;
                self.a.mask(x::MaskOp::And, 2, 1, mask);
                self.load(*arg, at, 2)
            }
            Inst::Index(var) if *var == self.lanes => {
                self.narrow.insert(val, self.most.filter(|most| *most < 1 << 30)?);
                self.position()
            }
            Inst::Op(op, operands) => self.op(val, *op, operands, dtype),
            Inst::Const(_) | Inst::Size(_) | Inst::Index(_) => None,
        }
    }

    /// The lanes' variable; the loop starts at 0.
    fn position(&mut self) -> Option<Place> {
        let z = self.vectors.take()?;
        // The number of the first lane in all lanes, and the lanes' own numbers from the pool.
        self.a.broadcast_register(z, RCX);
        let steps = self.a.lanes();
        self.a.vector(x::ADD_D, z, z, steps, With::default());
        Some(Place::Vector(z))
    }

    fn plain_loop(&mut self, l: &'a Loop) -> Option<()> {
        let Range::Full(count) = l.range else { return None };
        let places: Vec<Place> = l.accs.iter().map(|acc| self.carried(acc)).collect::<Option<_>>()?;
        let inits: Vec<Val> = l.accs.iter().map(|acc| acc.init).collect();
        self.free_dead(&inits);
        let counter = self.address()?;
        let word = self.word(Word::Count(count));
        self.a.load(counter, RDI, word);
        // Pointers that move along; addresses that begin alike and step alike share one.
        let mut moving: Vec<Moving<'a>> = Vec::new();
        let mut found: Vec<(Arg, &'a Address)> = Vec::new();
        visit(&l.body, &mut |arg, at| found.push((arg, at)));
        for (arg, at) in found {
            let element = self.kernel.args[arg].dtype.size() as i64;
            let strides: Vec<Size> =
                at.terms.iter().filter(|(coord, _)| *coord == Coord::Var(l.var)).map(|(_, s)| *s).collect();
            let [stride] = strides[..] else {
                match strides.len() {
                    0 => continue,
                    _ => return None,
                }
            };
            let key: *const Address = at;
            let before = self.pointers.get(&key).copied();
            let held = |place: Option<(R, i32)>| place.map(|(register, _)| register);
            let like = |other: &Moving| {
                let same = other.arg == arg && other.advance.is_some() && held(other.before) == held(before);
                let from = apart(other.address, at, element).filter(|_| same)?;
                Some((other.register, other.disp.checked_add(from)?))
            };
            if let Some((register, disp)) = moving.iter().find_map(like) {
                self.pointers.insert(key, (register, disp));
                moving.push(Moving { arg, address: at, register, disp, before, advance: None });
                continue;
            }
            let advance = Some(self.word(Word::Stride(stride, element)));
            let r = self.address()?;
            let mut disp = 0;
            match before {
                Some((from, behind)) => {
                    self.a.move_register(r, from);
                    disp = behind;
                }
                None => {
                    let base = self.word(Word::Pointer(arg, at));
                    self.a.load(r, RDI, base);
                }
            }
            self.pointers.insert(key, (r, disp));
            moving.push(Moving { arg, address: at, register: r, disp, before, advance });
        }
        let [again, done] = [(); 2].map(|()| self.a.label());
        self.a.compare_small(counter, 0);
        self.a.jump_le(done);
        self.a.place(again);
        self.stmts(&l.body)?;
        self.now += 1;
        for (acc, place) in l.accs.iter().zip(&places) {
            self.accumulate(acc, *place, 0)?;
        }
        for step in &moving {
            if let Some(disp) = step.advance {
                self.a.add_from(step.register, RDI, disp);
            }
        }
        self.a.add_small(counter, -1);
        self.a.jump_g(again);
        self.a.place(done);
        self.free_all_dead();
        for Moving { address, register, before, advance, .. } in moving {
            if advance.is_some() {
                self.addresses.give(register);
            }
            match before {
                Some(before) => self.pointers.insert(address, before),
                None => self.pointers.remove(&(address as *const Address)),
            };
        }
        self.addresses.give(counter);
        for (acc, place) in l.accs.iter().zip(places) {
            self.places.insert(acc.result, place);
            if !self.last.contains_key(&acc.result) {
                self.free_dead(&[acc.result]);
            }
        }
        Some(())
    }

    // Values

    /// A vector register with a value in all lanes, to be read only; temporary ones are appended to `taken`.
    pub fn vector(&mut self, val: Val, taken: &mut Vec<Z>) -> Option<Z> {
        if let Some(place) = self.places.get(&val) {
            let Place::Vector(z) = place else { return None };
            return Some(*z);
        }
        let from = self.memory(val)?;
        let z = self.vectors.take()?;
        taken.push(z);
        self.a.vector(x::BROADCAST_SS, z, 0, from, With::default());
        Some(z)
    }

    /// A value as a last operand: a register, or one word in memory for all lanes.
    pub fn operand(&mut self, val: Val) -> Option<(Rm, bool)> {
        match self.places.get(&val) {
            Some(Place::Vector(z)) => Some((Rm::Z(*z), false)),
            Some(Place::Mask(_)) => None,
            None => Some((self.memory(val)?, true)),
        }
    }

    /// The word in memory of a value that is known before the loop.
    fn memory(&mut self, val: Val) -> Option<Rm> {
        match (self.outside)(val)? {
            Outside::Const(value) => {
                let bits = word(value)?;
                if let Const::I64(value) = value {
                    self.narrow.insert(val, value.checked_abs()?);
                }
                Some(self.a.constant(bits))
            }
            Outside::Number => {
                if !matches!(self.kernel.vals[val], DType::F32 | DType::I32 | DType::Bool) {
                    return None;
                }
                let disp = self.word(Word::Number(val));
                Some(Rm::Mem { base: RDI, index: None, disp })
            }
        }
    }

    /// A truth as a mask: its own register, or register 2 with what is the same in all lanes.
    pub fn mask(&mut self, val: Val) -> Option<u8> {
        match self.places.get(&val) {
            Some(Place::Mask(k)) => Some(*k),
            Some(Place::Vector(_)) => None,
            None => {
                let from = self.memory(val)?;
                self.a.mask_load(2, from);
                Some(2)
            }
        }
    }

    /// The bound of a value that is an i64 in the kernel.
    pub fn bound(&mut self, val: Val) -> Option<i64> {
        if let Some(Outside::Const(Const::I64(value))) = (self.outside)(val) {
            return value.checked_abs().filter(|value| *value < 1 << 30);
        }
        self.narrow.get(&val).copied()
    }

    pub fn is_wide(&self, val: Val) -> bool {
        !matches!(self.kernel.vals[val], DType::F32 | DType::I32 | DType::Bool)
    }

    pub fn set_bound(&mut self, val: Val, bound: i64) {
        self.narrow.insert(val, bound);
    }

    pub fn dtype(&self, val: Val) -> DType {
        self.kernel.vals[val]
    }

    /// The number of a constant.
    pub fn constant(&self, val: Val) -> Option<Const> {
        match (self.outside)(val) {
            Some(Outside::Const(value)) => Some(value),
            _ => None,
        }
    }

    // Memory

    /// The place of an entry in the table.
    fn word(&mut self, word: Word<'a>) -> i32 {
        let at = self.words.iter().position(|other| *other == word).unwrap_or_else(|| {
            self.words.push(word);
            self.words.len() - 1
        });
        8 * at as i32
    }

    fn address(&mut self) -> Option<R> {
        let r = self.addresses.take()?;
        if !self.used.contains(&r) {
            self.used.push(r);
        }
        Some(r)
    }

    /// Holds the pointers of a body's own statements in registers, as far as there are any: two are left for inner loops.
    fn pointers_of(&mut self, stmts: &'a [Stmt]) -> Option<()> {
        let mut left = 8;
        for stmt in stmts {
            let (arg, at) = match stmt {
                Stmt::Let(_, Inst::Load { arg, at } | Inst::LoadIf { arg, at, .. }) => (*arg, at),
                Stmt::Store { arg, at, .. } => (*arg, at),
                _ => continue,
            };
            if left > 0 && !self.pointers.contains_key(&(at as *const Address)) {
                let element = self.kernel.args[arg].dtype.size() as i64;
                let same = self.words.iter().find_map(|word| match word {
                    Word::Pointer(a, other) if *a == arg => {
                        let (register, disp) = self.pointers.get(&(*other as *const Address))?;
                        Some((*register, disp.checked_add(apart(other, at, element)?)?))
                    }
                    _ => None,
                });
                let place = match same {
                    Some(place) => place,
                    None => {
                        left -= 1;
                        let word = self.word(Word::Pointer(arg, at));
                        let r = self.address()?;
                        self.loaded.push((r, word));
                        (r, 0)
                    }
                };
                self.pointers.insert(at, place);
            }
        }
        Some(())
    }

    /// The operand in memory of an address, and whether it is one word for all lanes.
    fn element(&mut self, arg: Arg, at: &'a Address) -> Option<(Rm, bool)> {
        let mut along = false;
        for (coord, factor) in &at.terms {
            match coord {
                Coord::Var(var) if *var == self.lanes => {
                    if along || *factor != Size::Const(1) {
                        return None;
                    }
                    along = true;
                }
                // Inner loops move the pointer; all else is in it from the start.
                Coord::Val(val) if (self.outside)(*val).is_none() => return None,
                _ => {}
            }
        }
        let (base, disp) = match self.pointers.get(&(at as *const Address)) {
            Some(place) => *place,
            None => {
                let word = self.word(Word::Pointer(arg, at));
                self.a.load(RAX, RDI, word);
                (RAX, 0)
            }
        };
        let scale = self.kernel.args[arg].dtype.size() as u8;
        let index = along.then_some((RCX, scale));
        Some((Rm::Mem { base, index, disp }, !along))
    }

    /// Loads the lanes of a mask register; the others are zero.
    fn load(&mut self, arg: Arg, at: &'a Address, mask: u8) -> Option<Place> {
        let (from, repeats) = self.element(arg, at)?;
        let with = With { mask, zero: true, ..With::default() };
        match self.kernel.args[arg].dtype {
            DType::F32 | DType::I32 => {
                let z = self.vectors.take()?;
                let op = if repeats { x::BROADCAST_SS } else { x::LOAD };
                self.a.vector(op, z, 0, from, with);
                Some(Place::Vector(z))
            }
            DType::BF16 | DType::F16 if !repeats => {
                let z = self.vectors.take()?;
                self.a.vector(x::WIDEN_HALVES, z, 0, from, with);
                Some(Place::Vector(z))
            }
            DType::Bool if !repeats => {
                let z = self.vectors.take()?;
                self.a.vector(x::WIDEN_BYTES, z, 0, from, with);
                let k = self.masks.take()?;
                self.a.vector(x::TEST_D, k, z, Rm::Z(z), With::default());
                self.vectors.give(z);
                Some(Place::Mask(k))
            }
            _ => None,
        }
    }

    fn store(&mut self, arg: Arg, at: &'a Address, value: Val) -> Option<()> {
        let dtype = self.kernel.args[arg].dtype;
        if !matches!(dtype, DType::F32 | DType::I32 | DType::BF16 | DType::F16 | DType::Bool) {
            return None;
        }
        // A place that is the same for all lanes keeps the last lane's number: left to others.
        let (to, false) = self.element(arg, at)? else { return None };
        let with = With { mask: 1, ..With::default() };
        let mut taken = Vec::new();
        if dtype == DType::Bool {
            let k = self.mask(value)?;
            let z = self.vectors.take()?;
            taken.push(z);
            let one = self.a.constant(1);
            self.a.vector(x::BROADCAST_SS, z, 0, one, With { mask: k, zero: true, ..With::default() });
            self.a.vector(x::STORE_BYTES, z, 0, to, with);
        } else {
            let z = self.vector(value, &mut taken)?;
            let op = if dtype.size() == 2 { x::STORE_HALVES } else { x::STORE };
            self.a.vector(op, z, 0, to, with);
        }
        taken.into_iter().for_each(|z| self.vectors.give(z));
        Some(())
    }

    // Accumulators

    /// A register for an accumulator of the lane loop.
    fn accumulator(&mut self, acc: &Acc) -> Option<Place> {
        match (self.kernel.vals[acc.term], acc.op) {
            (DType::F32, AccOp::Sum | AccOp::Prod | AccOp::Max | AccOp::Min) => {
                Some(Place::Vector(self.vectors.take()?))
            }
            (DType::Bool, AccOp::Any | AccOp::All) => Some(Place::Mask(self.masks.take()?)),
            _ => None,
        }
    }

    /// The neutral value in all lanes.
    fn start(&mut self, op: AccOp, place: Place) {
        match place {
            Place::Vector(z) => {
                let neutral = op.neutral(DType::F32).and_then(word).unwrap_or(0);
                let from = self.a.constant(neutral);
                self.a.vector(x::BROADCAST_SS, z, 0, from, With::default());
            }
            Place::Mask(k) => {
                let op = if op == AccOp::All { x::MaskOp::Xnor } else { x::MaskOp::Xor };
                self.a.mask(op, k, k, k);
            }
        }
    }

    /// An accumulator of an inner loop, with its first value.
    fn carried(&mut self, acc: &Acc) -> Option<Place> {
        let place = self.accumulator(acc)?;
        match place {
            Place::Vector(z) => match self.operand(acc.init)? {
                (from @ Rm::Z(_), _) => self.a.vector(x::MOVE, z, 0, from, With::default()),
                (from, _) => self.a.vector(x::BROADCAST_SS, z, 0, from, With::default()),
            },
            Place::Mask(k) => {
                let from = self.mask(acc.init)?;
                self.a.mask_move(k, from);
            }
        }
        Some(place)
    }

    /// Combines a term with its accumulator in the lanes of a mask.
    fn accumulate(&mut self, acc: &Acc, place: Place, mask: u8) -> Option<()> {
        match place {
            Place::Vector(z) => {
                let with = With { mask, ..With::default() };
                match acc.op {
                    AccOp::Sum | AccOp::Prod => {
                        let (rm, repeat) = self.operand(acc.term)?;
                        let op = if acc.op == AccOp::Sum { x::ADD_PS } else { x::MUL_PS };
                        self.a.vector(op, z, z, rm, With { repeat, ..with });
                    }
                    _ => {
                        let mut taken = Vec::new();
                        let term = self.vector(acc.term, &mut taken)?;
                        self.extreme(acc.op == AccOp::Max, z, z, term, mask);
                        taken.into_iter().for_each(|z| self.vectors.give(z));
                    }
                }
            }
            Place::Mask(k) => {
                let term = self.mask(acc.term)?;
                match (acc.op, mask) {
                    (AccOp::Any, 0) => self.a.mask(x::MaskOp::Or, k, k, term),
                    (AccOp::Any, _) => {
                        self.a.mask(x::MaskOp::And, 2, term, mask);
                        self.a.mask(x::MaskOp::Or, k, k, 2);
                    }
                    (_, 0) => self.a.mask(x::MaskOp::And, k, k, term),
                    _ => {
                        // Lanes that are not there hold: !(mask & !term).
                        self.a.mask(x::MaskOp::AndNot, 2, term, mask);
                        self.a.mask(x::MaskOp::AndNot, k, 2, k);
                    }
                }
            }
        }
        Some(())
    }

    fn store_accumulator(&mut self, place: Place, disp: i32) {
        let to = Rm::Mem { base: RDI, index: None, disp };
        let z = match place {
            Place::Vector(z) => z,
            // All is done: any register but those of other accumulators is free.
            Place::Mask(k) => {
                let z = self.vectors.take().unwrap_or(31);
                self.a.vector(x::MASK_TO_D, z, 0, Rm::Z(k), With::default());
                self.vectors.give(z);
                z
            }
        };
        self.a.vector(x::STORE, z, 0, to, With::default());
    }
}

/// The word of 32 bits that a constant is in a lane.
fn word(value: Const) -> Option<u32> {
    match value {
        Const::F32(value) => Some(value.to_bits()),
        Const::I32(value) => Some(value as u32),
        Const::I64(value) => Some(i32::try_from(value).ok()? as u32),
        Const::Bool(value) => Some(if value { u32::MAX } else { 0 }),
        Const::F64(_) | Const::U8(_) => None,
    }
}

fn made_in(stmts: &[Stmt]) -> std::collections::HashSet<Val> {
    let mut made = std::collections::HashSet::new();
    for stmt in stmts {
        match stmt {
            Stmt::Let(val, _) => drop(made.insert(*val)),
            Stmt::Loop(l) => {
                made.extend(made_in(&l.body));
                made.extend(l.accs.iter().map(|acc| acc.result));
            }
            _ => {}
        }
    }
    made
}

fn visit<'a>(stmts: &'a [Stmt], found: &mut dyn FnMut(Arg, &'a Address)) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(_, Inst::Load { arg, at } | Inst::LoadIf { arg, at, .. }) => found(*arg, at),
            Stmt::Store { arg, at, .. } => found(*arg, at),
            Stmt::Loop(l) => visit(&l.body, found),
            _ => {}
        }
    }
}
