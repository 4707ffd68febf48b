//! Machine code against the reference interpreter, bit by bit.

use cranelift_entity::PrimaryMap;

use super::{Options, Widen, compile};
use crate::axes::Dim;
use crate::base::{FileId, Span};
use crate::kernel::interpret::run_kernel;
use crate::kernel::*;
use crate::tensor::DType;
use crate::tiles::Isa;

const DTYPES: [DType; 6] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8, DType::Bool];
/// Bytes behind each buffer that nothing may touch.
const CANARY: usize = 64;

/// Runs a kernel both ways on buffers of its arguments in order, and compares all their bytes.
fn check(kernel: &Kernel, buffers: &[Vec<u8>], sizes: &[i64]) {
    let wide = Widen::best() != Widen::Never;
    for widen in [Some(Widen::Never), wide.then_some(Widen::Always)].into_iter().flatten() {
        check_with(kernel, buffers, sizes, Options { widen, ..Options::default() });
    }
}

fn check_with(kernel: &Kernel, buffers: &[Vec<u8>], sizes: &[i64], options: Options) {
    verify(kernel).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let mut expected = buffers.to_vec();
    let places: Vec<(usize, usize)> = (0..buffers.len()).map(|i| (i, 0)).collect();
    let points = kernel.grid_points(sizes).expect("a small grid");
    run_kernel(kernel, &mut expected, &places, sizes, 0, points).unwrap_or_else(|e| panic!("{e}\n{kernel}"));

    let mut program = Program { kernels: PrimaryMap::new(), ..Program::default() };
    let id = program.kernels.push(kernel.clone());
    let code = compile(&program, options).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let mut found: Vec<Vec<u8>> = buffers.iter().map(|b| [&b[..], &[0xee; CANARY]].concat()).collect();
    let args: Vec<*mut u8> = found.iter_mut().map(|b| b.as_mut_ptr()).collect();
    let scratch = *kernel.scratch_layout(sizes).expect("a small scratch").last().expect("an end") as usize;
    let mut scratch = vec![0x5au8; scratch + 64];
    let aligned = scratch.as_mut_ptr().wrapping_add(scratch.as_ptr().align_offset(64));
    // In two parts, as threads would.
    for (begin, end) in [(0, points / 2), (points / 2, points)] {
        // SAFETY: the buffers outlive the call and the interpreter found every access inside of them.
        unsafe { code.run(id, args.as_ptr(), sizes.as_ptr(), begin, end, aligned) };
    }
    let dtypes = kernel.args.values().filter(|a| !matches!(a.kind, ArgKind::Scratch { .. })).map(|a| a.dtype);
    for (i, (dtype, (found, expected))) in dtypes.zip(found.iter().zip(&expected)).enumerate() {
        let (data, canary) = found.split_at(found.len() - CANARY);
        assert!(canary.iter().all(|&b| b == 0xee), "writes behind buffer {i}\n{kernel}");
        for (at, (f, e)) in data.chunks(dtype.size()).zip(expected.chunks(dtype.size())).enumerate() {
            let nan = |b: &[u8]| match dtype {
                DType::F32 => f32::from_le_bytes(b.try_into().expect("four bytes")).is_nan(),
                DType::F64 => f64::from_le_bytes(b.try_into().expect("eight bytes")).is_nan(),
                _ => false,
            };
            assert!(
                f == e || (nan(f) && nan(e)),
                "buffer {i}[{at}]: {f:02x?}, expected {e:02x?}, sizes {sizes:?}\n{kernel}"
            );
        }
    }
}

/// `n` numbers of a dtype with all its special ones among them, different for each `seed`.
fn data(dtype: DType, n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        1e-40,
        -1e-40,
        1e30,
        -1e30,
        3e9,
        -3e9,
        1e19,
        -1e19,
        300.0,
        -7.25,
        1e-38,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let ints = [
        0,
        1,
        -1,
        2,
        -2,
        3,
        7,
        -7,
        255,
        256,
        31,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
        i64::MIN,
    ];
    (0..n)
        .flat_map(|_| {
            let (word, small) = (random(), random() % 4 == 0);
            let pick = random() as usize;
            match dtype {
                DType::F32 if small => (floats[pick % floats.len()] as f32).to_le_bytes().to_vec(),
                DType::F32 => ((word as i32 as f32) / 3e8).to_le_bytes().to_vec(),
                DType::F64 if small => floats[pick % floats.len()].to_le_bytes().to_vec(),
                DType::F64 => ((word as i64 as f64) / 1e18).to_le_bytes().to_vec(),
                DType::I32 if small => (ints[pick % ints.len()] as i32).to_le_bytes().to_vec(),
                DType::I32 => (word as i32 >> (pick % 32)).to_le_bytes().to_vec(),
                DType::I64 if small => ints[pick % ints.len()].to_le_bytes().to_vec(),
                DType::I64 => (word as i64 >> (pick % 64)).to_le_bytes().to_vec(),
                DType::U8 => vec![word as u8],
                _ => vec![(word & 1) as u8],
            }
        })
        .collect()
}

fn builder() -> BodyBuilder {
    BodyBuilder::new("test", Span::new(FileId(0), 0, 0))
}

fn row(var: Var) -> Address {
    Address::of([(var.into(), Size::Const(1))])
}

/// `out[i] = op(a[i], b[i], ...)`, by lanes or one by one, for a length that is known or not.
fn map_kernel(op: KOp, operands: &[DType], lanes: bool, length: Option<i64>) -> Kernel {
    let mut b = builder();
    let args: Vec<Arg> = operands.iter().map(|&d| b.read(d)).collect();
    let out = b.write(op.result(operands).expect("a dtype"));
    let n = length.map_or_else(|| b.size(&Dim::var("N")), Size::Const);
    let i = b.begin_loop(Range::Full(n), lanes);
    let values: Vec<Val> = args.iter().map(|&arg| b.load(arg, row(i))).collect();
    let result = b.op(op, &values);
    b.store(out, row(i), result);
    b.end_loop(&[]);
    b.finish()
}

fn all_ops() -> Vec<(KOp, Vec<DType>)> {
    use KOp::*;
    let mut ops = vec![
        Add, Sub, Mul, Div, Rem, Neg, Abs, Fma, Sqrt, Floor, Ceil, Trunc, Nearest, Max, Min, Lt, Le, Eq, Ne,
        And, Or, Not, Xor, Shl, ShrU, ShrS, MulHiU, Select, Low,
    ];
    ops.extend(DTYPES.map(Cast));
    ops.extend(DTYPES.map(Bitcast));
    let mut all = Vec::new();
    for op in ops {
        for dtype in DTYPES {
            let operands =
                if op == Select { vec![DType::Bool, dtype, dtype] } else { vec![dtype; op.arity()] };
            if op.result(&operands).is_some() {
                all.push((op, operands));
            }
        }
    }
    all
}

#[test]
fn every_instruction_on_every_dtype() {
    for (op, operands) in all_ops() {
        for lanes in [false, true] {
            let kernel = map_kernel(op, &operands, lanes, None);
            let mut lengths = vec![0, 1, 15, 16, 37];
            if lanes {
                lengths.push(600);
            }
            for n in lengths {
                let mut buffers: Vec<Vec<u8>> =
                    operands.iter().enumerate().map(|(i, &d)| data(d, n, 7 * n as u64 + i as u64)).collect();
                buffers.push(vec![0; n * op.result(&operands).expect("a dtype").size()]);
                check(&kernel, &buffers, &[n as i64]);
            }
        }
    }
}

#[test]
fn lane_loops_of_every_length() {
    for known in [false, true] {
        for n in 0..40usize {
            let mut b = builder();
            let (x, y, out) = (b.read(DType::F32), b.read(DType::F64), b.write(DType::F32));
            let size = if known { Size::Const(n as i64) } else { b.size(&Dim::var("N")) };
            b.for_lanes(Range::Full(size), |b, i| {
                let (x, y) = (b.load(x, row(i)), b.load(y, row(i)));
                let y = b.cast(y, DType::F32);
                let i_value = b.index(i);
                let i_value = b.cast(i_value, DType::F32);
                let sum = b.fma(x, y, i_value);
                b.store(out, row(i), sum);
            });
            let kernel = b.finish();
            check(&kernel, &[data(DType::F32, n, 1), data(DType::F64, n, 2), vec![0; 4 * n]], &[n as i64]);
        }
    }
}

const ACC_OPS: [AccOp; 6] = [AccOp::Sum, AccOp::Prod, AccOp::Max, AccOp::Min, AccOp::Any, AccOp::All];

#[test]
fn reductions_follow_the_tree() {
    for op in ACC_OPS {
        for dtype in DTYPES {
            if op.neutral(dtype).is_none() {
                continue;
            }
            for (lanes, known) in [(true, false), (true, true), (false, false)] {
                for n in [0usize, 1, 2, 5, 15, 16, 17, 31, 32, 33, 39, 100, 4096, 4097, 8230] {
                    let mut b = builder();
                    let (x, init, out) = (b.read(dtype), b.read(dtype), b.write(dtype));
                    let size = if known { Size::Const(n as i64) } else { b.size(&Dim::var("N")) };
                    let first = b.load(init, Address::default());
                    let [total] = b.fold(Range::Full(size), lanes, [(op, first)], |b, i| [b.load(x, row(i))]);
                    b.store(out, Address::default(), total);
                    let kernel = b.finish();
                    // Without NaN and infinities too, so that the order is seen in the bits.
                    for seed in [3, 4] {
                        let mut values = data(dtype, n, seed);
                        if dtype == DType::F32 && seed == 4 {
                            values =
                                (0..n).flat_map(|i| ((i as f32 * 0.37).sin() * 1.1).to_le_bytes()).collect();
                        }
                        // The second size is the number of blocks, where there are any.
                        let sizes = [n as i64, (n as i64 + crate::kernel::BLOCK - 1) / crate::kernel::BLOCK];
                        let sizes = &sizes[..kernel.sizes.len()];
                        check(&kernel, &[values, data(dtype, 1, 9), vec![0; dtype.size()]], sizes);
                    }
                }
            }
        }
    }
}

#[test]
fn the_first_best_index() {
    for (value, index) in [(AccOp::Max, AccOp::ArgMax), (AccOp::Min, AccOp::ArgMin)] {
        for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8] {
            for lanes in [false, true] {
                for n in [0usize, 1, 3, 16, 20, 33, 70] {
                    let mut b = builder();
                    let (x, best, at) = (b.read(dtype), b.write(dtype), b.write(DType::I32));
                    let size = b.size(&Dim::var("N"));
                    let (worst, zero) = (b.neutral(value, dtype), b.i32(0));
                    let [m, i] = b.fold(Range::Full(size), lanes, [(value, worst), (index, zero)], |b, i| {
                        let x = b.load(x, row(i));
                        let i = b.index(i);
                        [x, b.cast(i, DType::I32)]
                    });
                    b.store(best, Address::default(), m);
                    b.store(at, Address::default(), i);
                    let kernel = b.finish();
                    for seed in 0..4 {
                        let mut values = data(dtype, n, seed);
                        if seed == 3 {
                            values = vec![0; n * dtype.size()];
                        }
                        check(&kernel, &[values, vec![0; dtype.size()], vec![0; 4]], &[n as i64]);
                    }
                }
            }
        }
    }
}

/// Column sums: a plain loop over rows inside of a lane loop over columns, in chunks of the grid.
#[test]
fn plain_loops_inside_lane_loops() {
    for dtype in [DType::F32, DType::F64, DType::I32, DType::U8] {
        for (rows, columns) in [(0usize, 5usize), (1, 16), (7, 17), (9, 64), (3, 100), (5, 0)] {
            let mut b = builder();
            let (x, out, last) = (b.read(dtype), b.write(dtype), b.write(dtype));
            let (m, n) = (b.size(&Dim::var("M")), b.size(&Dim::var("N")));
            let chunks = b.size(&Dim::var("C"));
            let chunk = b.grid(chunks);
            b.for_lanes(Range::Chunk { of: n, by: 32, index: chunk }, |b, j| {
                let zero = b.number(dtype, 0.0);
                let most = b.neutral(AccOp::Max, dtype);
                let [sum, max] =
                    b.fold(Range::Full(m), false, [(AccOp::Sum, zero), (AccOp::Max, most)], |b, i| {
                        let x = b.load(x, Address::of([(i.into(), n), (j.into(), Size::Const(1))]));
                        [b.mul(x, x), x]
                    });
                b.store(out, row(j), sum);
                b.store(last, row(j), max);
            });
            let kernel = b.finish();
            let bytes = columns * dtype.size();
            let buffers = [data(dtype, rows * columns, 5), vec![0; bytes], vec![0; bytes]];
            check(&kernel, &buffers, &[rows as i64, columns as i64, columns.div_ceil(32) as i64]);
        }
    }
}

/// Softmax of each row: lane loops one after the other, scratch, a grid of two dimensions, uniform values, `if`.
#[test]
fn rows_with_scratch_and_conditions() {
    for n in [1usize, 4, 10, 16, 33, 50] {
        let mut b = builder();
        let (x, out) = (b.read(DType::F32), b.write(DType::F32));
        let (p, q, width) = (b.size(&Dim::var("P")), b.size(&Dim::var("Q")), b.size(&Dim::var("N")));
        let keep = b.scratch(DType::F32, width);
        let _second = b.scratch(DType::U8, Size::Const(3));
        let (i, j) = (b.grid(p), b.grid(q));
        let qn = b.size(&Dim::var("QN"));
        let at = |k: Var| Address::of([(i.into(), qn), (j.into(), width), (k.into(), Size::Const(1))]);
        let low = b.neutral(AccOp::Max, DType::F32);
        let zero = b.f32(0.0);
        let [max] = b.fold(Range::Full(width), true, [(AccOp::Max, low)], |b, k| [b.load(x, at(k))]);
        let [sum] = b.fold(Range::Full(width), true, [(AccOp::Sum, zero)], |b, k| {
            let x = b.load(x, at(k));
            let d = b.sub(x, max);
            let e = math::exp(b, &[d]);
            b.store(keep, row(k), e);
            [e]
        });
        let (one, three) = (b.f32(1.0), b.f32(3.0));
        let factor = b.div(one, sum);
        let large = b.lt(three, sum);
        b.for_lanes(Range::Full(width), |b, k| {
            let e = b.load(keep, row(k));
            let y = b.mul(e, factor);
            b.store(out, at(k), y);
        });
        b.when(large, |b| {
            b.for_each(Range::Full(width), |b, k| {
                let y = b.load(out, at(k));
                let y = b.neg(y);
                b.store(out, at(k), y);
            });
        });
        let kernel = b.finish();
        let count = 2 * 3 * n;
        let values: Vec<u8> = (0..count).flat_map(|i| ((i as f32 * 0.7).cos() * 3.0).to_le_bytes()).collect();
        check(&kernel, &[values, vec![0; 4 * count]], &[2, 3, n as i64, 3 * n as i64]);
    }
}

/// All ways in which lanes lie in memory: one place, neighbours, strides known and not, gathers, scatters, guarded.
#[test]
fn loads_and_stores_of_every_shape() {
    for dtype in DTYPES {
        for n in [0usize, 3, 16, 37] {
            let mut b = builder();
            let (x, index, out) = (b.read(dtype), b.read(DType::I32), b.write(dtype));
            let (size, stride) = (b.size(&Dim::var("N")), b.size(&Dim::var("S")));
            let outs: Vec<Arg> = (0..4).map(|_| b.write(dtype)).collect();
            b.for_lanes(Range::Full(size), |b, i| {
                let same = b.load(x, Address::at(Size::Const(1)));
                b.store(outs[0], row(i), same);
                let near = b.load(x, row(i));
                b.store(outs[0], Address::default(), near);
                let three = b.load(x, Address::of([(i.into(), Size::Const(3))]));
                b.store(outs[1], row(i), three);
                let wide = b.load(x, Address { base: Some(Size::Const(2)), terms: vec![(i.into(), stride)] });
                b.store(outs[2], Address::of([(i.into(), stride)]), wide);
                let place = b.load(index, row(i));
                let gathered =
                    b.load(x, Address::of([(place.into(), Size::Const(1)), (i.into(), Size::Const(1))]));
                b.store(
                    out,
                    Address::of([(place.into(), Size::Const(1)), (i.into(), Size::Const(2))]),
                    gathered,
                );
                // Guarded: neighbours, a stride, a gather; beyond the end on both sides.
                let number = b.index(i);
                let (low, high) = (b.i64(2), b.i64(30));
                let (above, below) = (b.le(low, number), b.lt(number, high));
                let mask = b.and(above, below);
                let shifted =
                    Address { base: Some(Size::Const(-2)), terms: vec![(i.into(), Size::Const(1))] };
                let a = b.load_if(x, shifted, mask);
                let c = b.load_if(
                    x,
                    Address { base: Some(Size::Const(-4)), terms: vec![(i.into(), Size::Const(2))] },
                    mask,
                );
                let never = b.bool(false);
                let d = b.load_if(
                    x,
                    Address { base: Some(Size::Const(1 << 40)), terms: vec![(i.into(), Size::Const(1))] },
                    never,
                );
                let both = b.eq(a, c);
                let kept = b.select(both, d, c);
                b.store(outs[3], row(i), kept);
            });
            let kernel = b.finish();
            let places: Vec<u8> = (0..n).flat_map(|i| ((i as i32 * 7) % 5).to_le_bytes()).collect();
            let room = || vec![0; (3 * n + 8) * dtype.size()];
            let buffers = [data(dtype, 3 * n + 8, 8), places, room(), room(), room(), room(), room()];
            check(&kernel, &buffers, &[n as i64, 3]);
        }
    }
}

/// Loads that are guarded outside of lane loops, and where all lanes agree.
#[test]
fn guarded_loads_of_single_numbers() {
    let mut b = builder();
    let (x, out) = (b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    b.for_each(Range::Full(n), |b, i| {
        let (number, two) = (b.index(i), b.i64(2));
        let two_up = b.le(two, number);
        let far = Address { base: Some(Size::Const(-2)), terms: vec![(i.into(), Size::Const(1))] };
        let before = b.load_if(x, far.clone(), two_up);
        b.for_lanes(Range::Full(Size::Const(20)), |b, j| {
            let same = b.load_if(x, far.clone(), two_up);
            let row_of = Address {
                base: Some(Size::Const(-2)),
                terms: vec![(i.into(), Size::Const(1)), (j.into(), Size::Const(1))],
            };
            let lanes = b.load_if(x, row_of, two_up);
            let sum = b.add(before, same);
            let sum = b.add(sum, lanes);
            b.store(out, Address::of([(i.into(), Size::Const(20)), (j.into(), Size::Const(1))]), sum);
        });
    });
    let kernel = b.finish();
    check(&kernel, &[data(DType::F32, 40, 1), vec![0; 4 * 20 * 9]], &[9]);
}

#[test]
fn contractions_of_odd_sizes() {
    for tiles in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
        for (m, n, k) in [(1usize, 1usize, 1usize), (3, 5, 7), (17, 33, 9), (40, 70, 20), (5, 16, 0)] {
            for relu in [false, true] {
                let mut b = builder();
                let (x, w, bias, y) =
                    (b.read(DType::F32), b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
                let sizes = ["M", "N", "K", "C"].map(|name| b.size(&Dim::var(name)));
                let [m_size, n_size, k_size, chunks] = sizes;
                let chunk = b.grid(chunks);
                b.contract(Contract {
                    m: Range::Chunk { of: m_size, by: 16, index: chunk },
                    n: Range::Full(n_size),
                    k: Range::Full(k_size),
                    a: Address::default(),
                    a_arg: x,
                    a_m: k_size,
                    a_k: Size::Const(1),
                    b: Address::default(),
                    b_arg: w,
                    b_k: n_size,
                    b_n: Size::Const(1),
                    c: Address::default(),
                    c_arg: y,
                    c_m: n_size,
                    groups: None,
                    blocks: vec![],
                    accumulate: false,
                    bias: Some((bias, Address::default())),
                    relu,
                });
                let kernel = b.finish();
                let plain = |n: usize, f: f32| -> Vec<u8> {
                    (0..n).flat_map(|i| (i as f32 * f).sin().to_le_bytes()).collect()
                };
                let buffers = [plain(m * k, 0.3), plain(k * n, 0.7), plain(n, 0.2), vec![0; 4 * m * n]];
                let sizes = [m, n, k, m.div_ceil(16)].map(|size| size as i64);
                check_with(&kernel, &buffers, &sizes, Options { tiles, ..Options::default() });
            }
        }
    }
}

/// A convolution: taps as blocks, accumulated onto what is there.
#[test]
fn contractions_over_blocks() {
    let mut b = builder();
    let (x, w, y) = (b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
    let (height, width, taps) = (b.size(&Dim::var("H")), b.size(&Dim::var("W")), b.size(&Dim::var("T")));
    let (pitch, inner) = (b.size(&Dim::var("P")), 5i64);
    let line = b.grid(height);
    b.contract(Contract {
        m: Range::Full(width),
        n: Range::Full(Size::Const(6)),
        k: Range::Full(Size::Const(inner)),
        a: Address::of([(line.into(), pitch)]),
        a_arg: x,
        a_m: Size::Const(inner),
        a_k: Size::Const(1),
        b: Address::default(),
        b_arg: w,
        b_k: Size::Const(6),
        b_n: Size::Const(1),
        c: Address::of([(line.into(), pitch)]),
        c_arg: y,
        c_m: Size::Const(6),
        groups: None,
        blocks: vec![
            (Range::Full(taps), pitch, Size::Const(3 * inner * 6)),
            (Range::Full(Size::Const(3)), Size::Const(inner), Size::Const(inner * 6)),
        ],
        accumulate: true,
        bias: None,
        relu: true,
    });
    let kernel = b.finish();
    let plain =
        |n: usize, f: f32| -> Vec<u8> { (0..n).flat_map(|i| (i as f32 * f).sin().to_le_bytes()).collect() };
    // 6 lines of 9 points, of which 4 x 7 are written with 3 x 3 taps; the pitch serves both arrays.
    let buffers = [plain(6 * 45, 0.3), plain(9 * inner as usize * 6, 0.7), plain(6 * 45, 0.9)];
    check(&kernel, &buffers, &[4, 7, 3, 45]);
    check(&kernel, &buffers, &[4, 7, 0, 45]);
}

#[test]
fn subnormal_numbers_are_flushed_and_the_flags_restored() {
    let kernel = map_kernel(KOp::Mul, &[DType::F32, DType::F32], true, None);
    let buffers = [1e-30f32, 1e-10].map(|x| x.to_le_bytes().repeat(20));
    check(&kernel, &[buffers[0].clone(), buffers[1].clone(), vec![0xff; 80]], &[20]);
    assert!(std::hint::black_box(1e-30f32) * std::hint::black_box(1e-10) > 0.0);
}

/// What a softmax or a gelu is made of runs on wide vectors; other types do not.
#[test]
fn lane_loops_of_floats_are_wide() {
    use crate::codegen::wide::{Outside, lane_loop};
    for (dtype, expected) in [(DType::F32, true), (DType::F64, false)] {
        let mut b = builder();
        let (x, y) = (b.read(dtype), b.write(dtype));
        let n = b.size(&Dim::var("N"));
        // The sum of a row, not of all: that would be cut into blocks.
        b.grid(Size::Const(2));
        let zero = b.number(dtype, 0.0);
        let i = b.begin_loop(Range::Full(n), true);
        let value = b.load(x, row(i));
        let value = crate::kernel::math::exp(&mut b, &[value]);
        b.store(y, row(i), value);
        b.end_loop(&[(AccOp::Sum, zero, value)]);
        let kernel = b.finish();
        let Some(Stmt::Loop(l)) = kernel.body.iter().find(|stmt| matches!(stmt, Stmt::Loop(_))) else {
            panic!("{kernel}")
        };
        let consts = |val: Val| {
            let is = |stmt: &Stmt| match stmt {
                Stmt::Let(own, Inst::Const(value)) if *own == val => Some(*value),
                _ => None,
            };
            kernel.body.iter().chain(&l.body).find_map(is).map(Outside::Const)
        };
        assert_eq!(lane_loop(&kernel, l, &consts).is_some(), expected, "{kernel}");
    }
}
