//! Instructions of x86-64 as bytes: those of 512-bit vectors and masks that the emitter uses, and a few on addresses.
//!
//! Encodings are those of the Intel 64 manual, volume 2. Constants stand in a pool behind the code and are read relative to it, so the
//! bytes may lie anywhere.

use std::collections::HashMap;

/// A vector register, 0 to 31.
pub type Z = u8;
/// A mask register, 0 to 7.
pub type K = u8;
/// A general register, 0 to 15.
pub type R = u8;

pub const RAX: R = 0;
pub const RCX: R = 1;
pub const RSI: R = 6;
pub const RDI: R = 7;

/// The last operand of a vector instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rm {
    Z(Z),
    /// Bytes at `base + index * scale + disp`.
    Mem {
        base: R,
        index: Option<(R, u8)>,
        disp: i32,
    },
    /// A word of 32 bits of the pool.
    Pool(u32),
}

/// An instruction with a vector or mask operand: map and prefix as the manual writes them, W, opcode.
#[derive(Clone, Copy)]
pub struct Op {
    map: u8,
    prefix: u8,
    w: u8,
    code: u8,
}

const fn op(map: u8, prefix: u8, code: u8) -> Op {
    Op { map, prefix, w: 0, code }
}

pub const ADD_PS: Op = op(1, 0, 0x58);
pub const MUL_PS: Op = op(1, 0, 0x59);
pub const SUB_PS: Op = op(1, 0, 0x5c);
pub const MIN_PS: Op = op(1, 0, 0x5d);
pub const DIV_PS: Op = op(1, 0, 0x5e);
pub const MAX_PS: Op = op(1, 0, 0x5f);
pub const SQRT_PS: Op = op(1, 0, 0x51);
/// `reg = other * reg + rm`
pub const FMADD213_PS: Op = op(2, 1, 0xa8);
/// `reg = other * rm + reg`
pub const FMADD231_PS: Op = op(2, 1, 0xb8);
/// With the rounding as an immediate.
pub const ROUND_PS: Op = op(3, 1, 0x08);
pub const DQ_TO_PS: Op = op(1, 0, 0x5b);
pub const PS_TO_DQ_TRUNCATED: Op = op(1, 2, 0x5b);
pub const AND_D: Op = op(1, 1, 0xdb);
pub const OR_D: Op = op(1, 1, 0xeb);
pub const XOR_D: Op = op(1, 1, 0xef);
pub const ADD_D: Op = op(1, 1, 0xfe);
pub const SUB_D: Op = op(1, 1, 0xfa);
pub const MUL_D: Op = op(2, 1, 0x40);
pub const MIN_D: Op = op(2, 1, 0x39);
pub const MAX_D: Op = op(2, 1, 0x3d);
pub const ABS_D: Op = op(2, 1, 0x1e);
/// Into a mask, by the predicate in the immediate.
pub const COMPARE_PS: Op = op(1, 0, 0xc2);
pub const COMPARE_D: Op = op(3, 1, 0x1f);
/// Into a mask: which lanes of `other & rm` are not zero.
pub const TEST_D: Op = op(2, 1, 0x27);
/// `reg = mask ? rm : other`
pub const BLEND_PS: Op = op(2, 1, 0x65);
pub const BROADCAST_SS: Op = op(2, 1, 0x18);
pub const MOVE: Op = op(1, 0, 0x28);
pub const LOAD: Op = op(1, 0, 0x10);
pub const STORE: Op = op(1, 0, 0x11);
/// Sixteen bytes as words.
pub const WIDEN_BYTES: Op = op(2, 1, 0x31);
/// The low bytes of words, stored.
pub const STORE_BYTES: Op = op(2, 2, 0x31);
/// Sixteen halves of words as words.
pub const WIDEN_HALVES: Op = op(2, 1, 0x33);
/// The low halves of words, stored.
pub const STORE_HALVES: Op = op(2, 2, 0x33);
/// A mask as words of ones.
pub const MASK_TO_D: Op = op(2, 2, 0x38);
/// The products of the even lanes, unsigned, over pairs of lanes.
pub const MUL_EVEN: Op = Op { map: 1, prefix: 1, w: 1, code: 0xf4 };
const SHIFT_Q: Op = Op { map: 1, prefix: 1, w: 1, code: 0x73 };
/// A general register's low word in all lanes.
const BROADCAST_REGISTER: Op = op(2, 1, 0x7c);
const SHIFT_D: Op = op(1, 1, 0x72);

/// The extension that names a shift by an immediate.
#[derive(Clone, Copy)]
pub enum Shift {
    RightLogical = 2,
    RightArithmetic = 4,
    Left = 6,
}

/// An instruction on three masks.
#[derive(Clone, Copy)]
pub enum MaskOp {
    And = 0x41,
    /// `!a & b`
    AndNot = 0x42,
    Or = 0x45,
    Xnor = 0x46,
    Xor = 0x47,
}

/// What qualifies a vector instruction.
#[derive(Clone, Copy, Default)]
pub struct With {
    /// Only these lanes are written; 0 is all.
    pub mask: K,
    /// The other lanes become zero instead of staying.
    pub zero: bool,
    /// The last operand is one word in memory, for all lanes.
    pub repeat: bool,
    pub immediate: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(usize);

/// Code under construction.
#[derive(Default)]
pub struct Assembler {
    bytes: Vec<u8>,
    pool: Vec<u32>,
    known: HashMap<u32, u32>,
    /// Where the numbers of the lanes begin in the pool.
    numbers: Option<u32>,
    /// Where a word of the pool is read: the displacement's place, the end of its instruction, the word.
    reads: Vec<(usize, usize, u32)>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A word of the pool.
    pub fn constant(&mut self, bits: u32) -> Rm {
        let next = self.pool.len() as u32;
        let at = *self.known.entry(bits).or_insert(next);
        if at as usize == self.pool.len() {
            self.pool.push(bits);
        }
        Rm::Pool(at)
    }

    /// The numbers of the lanes, sixteen words.
    pub fn lanes(&mut self) -> Rm {
        let at = *self.numbers.get_or_insert_with(|| {
            self.pool.extend(0..16);
            self.pool.len() as u32 - 16
        });
        Rm::Pool(at)
    }

    /// The bytes of code without labels and constants.
    pub fn straight(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes, with the pool behind them.
    pub fn finish(mut self) -> Vec<u8> {
        for (at, label) in std::mem::take(&mut self.jumps) {
            let target = self.labels[label.0].expect("every label is placed");
            self.patch(at, target as i64 - (at as i64 + 4));
        }
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0xcc);
        }
        let start = self.bytes.len();
        for (at, end, word) in std::mem::take(&mut self.reads) {
            self.patch(at, (start + 4 * word as usize) as i64 - end as i64);
        }
        self.bytes.extend(self.pool.iter().flat_map(|word| word.to_le_bytes()));
        self.bytes
    }

    fn patch(&mut self, at: usize, distance: i64) {
        self.bytes[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
    }

    // Vectors

    /// `op reg, other, rm` on 512 bits. Unused operands are 0.
    pub fn vector(&mut self, op: Op, reg: u8, other: Z, rm: Rm, with: With) {
        let (x, b) = match rm {
            Rm::Z(z) => (z >> 4 & 1, z >> 3 & 1),
            Rm::Mem { base, index, .. } => (index.map_or(0, |(index, _)| index >> 3 & 1), base >> 3 & 1),
            Rm::Pool(_) => (0, 0),
        };
        let not = |bit: u8| bit & 1 ^ 1;
        let (r, r2) = (reg >> 3, reg >> 4);
        self.bytes.push(0x62);
        self.bytes.push(not(r) << 7 | not(x) << 6 | not(b) << 5 | not(r2) << 4 | op.map);
        self.bytes.push(op.w << 7 | (!other & 15) << 3 | 1 << 2 | op.prefix);
        let (zero, repeat) = (u8::from(with.zero), u8::from(with.repeat));
        self.bytes.push(zero << 7 | 2 << 5 | repeat << 4 | not(other >> 4) << 3 | with.mask);
        self.bytes.push(op.code);
        self.operand(reg & 7, rm, with.immediate);
    }

    /// `op reg, rm` for a shift of all lanes by `bits`.
    pub fn shift(&mut self, shift: Shift, to: Z, from: Z, bits: u8) {
        // The destination stands where others have their second operand.
        let with = With { immediate: Some(bits), ..With::default() };
        self.vector(SHIFT_D, shift as u8, to, Rm::Z(from), with);
    }

    /// The upper lane of each pair in the place of the lower one, zeros above.
    pub fn shift_pairs(&mut self, to: Z, from: Z) {
        let with = With { immediate: Some(32), ..With::default() };
        self.vector(SHIFT_Q, Shift::RightLogical as u8, to, Rm::Z(from), with);
    }

    pub fn broadcast_register(&mut self, to: Z, from: R) {
        self.vector(BROADCAST_REGISTER, to, 0, Rm::Z(from), With::default());
    }

    // Masks

    pub fn mask(&mut self, op: MaskOp, to: K, a: K, b: K) {
        self.bytes.extend([0xc5, 0x80 | (!a & 15) << 3 | 1 << 2, op as u8, 0xc0 | to << 3 | b]);
    }

    pub fn mask_not(&mut self, to: K, from: K) {
        self.bytes.extend([0xc5, 0xf8, 0x44, 0xc0 | to << 3 | from]);
    }

    pub fn mask_move(&mut self, to: K, from: K) {
        self.bytes.extend([0xc5, 0xf8, 0x90, 0xc0 | to << 3 | from]);
    }

    /// The low 16 bits of a word in memory.
    pub fn mask_load(&mut self, to: K, from: Rm) {
        self.bytes.extend([0xc5, 0xf8, 0x90]);
        self.operand(to, from, None);
    }

    pub fn mask_of_eax(&mut self, to: K) {
        self.bytes.extend([0xc5, 0xf8, 0x92, 0xc0 | to << 3]);
    }

    // Addresses and control

    pub fn push(&mut self, r: R) {
        self.rex_b(r);
        self.bytes.push(0x50 | r & 7);
    }

    pub fn pop(&mut self, r: R) {
        self.rex_b(r);
        self.bytes.push(0x58 | r & 7);
    }

    fn rex_b(&mut self, r: R) {
        if r > 7 {
            self.bytes.push(0x41);
        }
    }

    pub fn move_register(&mut self, to: R, from: R) {
        self.bytes.extend([0x48 | from >> 3 << 2 | to >> 3, 0x89, 0xc0 | (from & 7) << 3 | to & 7]);
    }

    /// `to = [base + disp]`
    pub fn load(&mut self, to: R, base: R, disp: i32) {
        self.bytes.extend([0x48 | to >> 3 << 2 | base >> 3, 0x8b]);
        self.operand(to & 7, Rm::Mem { base, index: None, disp }, None);
    }

    /// `to += [base + disp]`
    pub fn add_from(&mut self, to: R, base: R, disp: i32) {
        self.bytes.extend([0x48 | to >> 3 << 2 | base >> 3, 0x03]);
        self.operand(to & 7, Rm::Mem { base, index: None, disp }, None);
    }

    pub fn add_small(&mut self, to: R, value: i8) {
        self.bytes.extend([0x48 | to >> 3, 0x83, 0xc0 | to & 7, value as u8]);
    }

    pub fn compare_small(&mut self, r: R, value: i8) {
        self.bytes.extend([0x48 | r >> 3, 0x83, 0xf8 | r & 7, value as u8]);
    }

    pub fn zero(&mut self, r: R) {
        self.bytes.extend([0x48 | r >> 3 << 2 | r >> 3, 0x31, 0xc0 | (r & 7) << 3 | r & 7]);
    }

    /// `eax` = ones in the lowest `esi` bits, which are fewer than 32.
    pub fn ones_below_esi(&mut self) {
        self.bytes.extend([0xb8, 0xff, 0xff, 0xff, 0xff]); // mov eax, -1
        self.bytes.extend([0xc4, 0xe2, 0x48, 0xf5, 0xc0]); // bzhi eax, eax, esi
    }

    pub fn zero_upper(&mut self) {
        self.bytes.extend([0xc5, 0xf8, 0x77]);
    }

    pub fn ret(&mut self) {
        self.bytes.push(0xc3);
    }

    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.bytes.len());
    }

    pub fn jump(&mut self, to: Label) {
        self.bytes.push(0xe9);
        self.distance(to);
    }

    /// By the signed comparison before: `>=`.
    pub fn jump_ge(&mut self, to: Label) {
        self.bytes.extend([0x0f, 0x8d]);
        self.distance(to);
    }

    /// `<=`; behind an addition, whether the result is not positive.
    pub fn jump_le(&mut self, to: Label) {
        self.bytes.extend([0x0f, 0x8e]);
        self.distance(to);
    }

    /// `>`
    pub fn jump_g(&mut self, to: Label) {
        self.bytes.extend([0x0f, 0x8f]);
        self.distance(to);
    }

    fn distance(&mut self, to: Label) {
        self.jumps.push((self.bytes.len(), to));
        self.bytes.extend([0; 4]);
    }

    /// ModRM, SIB, displacement and immediate.
    fn operand(&mut self, reg: u8, rm: Rm, immediate: Option<u8>) {
        let reg = reg & 7;
        match rm {
            Rm::Z(z) => self.bytes.push(0xc0 | reg << 3 | z & 7),
            Rm::Mem { base, index, disp } => {
                // Vector instructions count short displacements in operands: only 0 and long ones are the same for all.
                let short = disp == 0;
                let mode = if short { 0x40 } else { 0x80 };
                match index {
                    None if base & 7 != 4 => self.bytes.push(mode | reg << 3 | base & 7),
                    None => self.bytes.extend([mode | reg << 3 | 4, 0x24]),
                    Some((index, scale)) => {
                        let scale = scale.trailing_zeros() as u8;
                        self.bytes.extend([mode | reg << 3 | 4, scale << 6 | (index & 7) << 3 | base & 7]);
                    }
                }
                match short {
                    true => self.bytes.push(0),
                    false => self.bytes.extend(disp.to_le_bytes()),
                }
            }
            Rm::Pool(word) => {
                self.bytes.push(reg << 3 | 5);
                let at = self.bytes.len();
                self.bytes.extend([0; 4]);
                self.reads.push((at, at + 4 + usize::from(immediate.is_some()), word));
            }
        }
        self.bytes.extend(immediate);
    }
}
