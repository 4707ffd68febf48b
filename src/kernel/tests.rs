//! The rules of the kernel IR, one broken kernel for each; the text; what the builder saves.

use super::*;
use crate::axes::Dim;
use crate::base::{FileId, Span};
use crate::tensor::DType;

fn builder() -> BodyBuilder {
    BodyBuilder::new("test", Span::new(FileId(0), 0, 0))
}

fn row(var: Var) -> Address {
    Address::of([(var.into(), Size::Const(1))])
}

/// `out[i] = max(x[i] + 1, 0)` over lanes, then the sum of all.
fn sample() -> Kernel {
    let mut b = builder();
    let (x, out) = (b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    let (zero, one) = (b.f32(0.0), b.f32(1.0));
    let [sum] = b.fold(Range::Full(n), true, [(AccOp::Sum, zero)], |b, i| {
        let x = b.load(x, row(i));
        let y = b.add(x, one);
        let y = b.max(y, zero);
        b.store(out, row(i), y);
        [y]
    });
    b.store(out, Address::at(n), sum);
    b.finish()
}

#[track_caller]
fn rejected(kernel: &Kernel, because: &str) {
    let defect = verify(kernel).expect_err("a broken kernel");
    assert!(defect.message.contains(because), "{defect}");
}

#[test]
fn the_text_of_a_kernel() {
    let expected = "\
test(arg0: f32, arg1: mut f32) where n0 = N, n1 = (N + 4095) / 4096
  v0 = 0.0 : f32
  v1 = 1.0 : f32
  for i1 in 0..n1:
    v6 = 0.0 : f32
    lanes i0 in i1*4096..min(i1*4096+4096, n0):
      v2 = arg0[i0] : f32
      v3 = add v2, v1 : f32
      v4 = max v3, v0 : f32
      arg1[i0] = v4
      v7 = sum v4 from v6 : f32
    v5 = sum v7 from v0 : f32
  arg1[n0] = v5
";
    assert_eq!(sample().to_string(), expected);
    assert_eq!(verify(&sample()), Ok(()));
}

#[test]
fn constants_fold_and_equal_values_are_one() {
    let mut b = builder();
    let out = b.write(DType::I32);
    let (two, three) = (b.i32(2), b.i32(3));
    let (five, again) = (b.add(two, three), b.i32(5));
    assert_eq!(five, again);
    let n = b.size(&Dim::var("N"));
    let (size, same) = (b.size_value(n), b.size_value(n));
    let (a, c) = (b.op(KOp::Low, &[size]), b.op(KOp::Low, &[same]));
    assert_eq!(a, c);
    let sum = b.add(a, five);
    b.store(out, Address::default(), sum);
    let kernel = b.finish();
    // The constants 2 and 3 are gone.
    assert_eq!(kernel.body.len(), 5);
    assert_eq!(verify(&kernel), Ok(()));
}

#[test]
fn values_of_a_loop_stay_inside() {
    let mut b = builder();
    let (x, out) = (b.read(DType::F32), b.write(DType::F32));
    let i = b.begin_loop(Range::Full(Size::Const(4)), false);
    let inside = b.load(x, row(i));
    b.end_loop(&[]);
    b.store(out, Address::default(), inside);
    rejected(&b.finish(), "used where it is not defined");
    let mut b = builder();
    let (x, out) = (b.read(DType::F32), b.write(DType::F32));
    let i = b.begin_loop(Range::Full(Size::Const(4)), false);
    b.end_loop(&[]);
    let outside = b.load(x, row(i));
    b.store(out, Address::default(), outside);
    rejected(&b.finish(), "used outside of its loop");
}

#[test]
fn lane_loops_keep_their_rules() {
    let mut b = builder();
    b.for_lanes(Range::Full(Size::Const(4)), |b, _| b.for_lanes(Range::Full(Size::Const(4)), |_, _| {}));
    rejected(&b.finish(), "stands in a lane loop");

    let mut b = builder();
    let x = b.read(DType::Bool);
    b.for_lanes(Range::Full(Size::Const(4)), |b, i| {
        let cond = b.load(x, row(i));
        b.when(cond, |_| {});
    });
    rejected(&b.finish(), "varies over lanes");

    let mut b = builder();
    let index = b.grid(Size::Const(2));
    b.for_lanes(Range::Chunk { of: Size::Const(20), by: 10, index }, |_, _| {});
    rejected(&b.finish(), "chunks of 10");
}

#[test]
fn dtypes_and_arguments_must_fit() {
    let change = |change: &dyn Fn(&mut Kernel)| {
        let mut kernel = sample();
        change(&mut kernel);
        verify(&kernel).expect_err("a broken kernel").message
    };
    let int = change(&|k| k.args[Arg::from_u32(0)].dtype = DType::I32);
    assert!(int.contains("v2 is declared f32, but is i32"), "{int}");
    let read = change(&|k| k.args[Arg::from_u32(1)].kind = ArgKind::Read);
    assert!(read.contains("read only"), "{read}");
    let half = change(&|k| k.args[Arg::from_u32(0)].dtype = DType::F16);
    assert!(half.contains("v2 is declared f32, but is i32"), "{half}");
    let size = change(&|k| k.sizes.clear());
    assert!(size.contains("n1 is not declared"), "{size}");
}

#[test]
fn an_index_accumulator_follows_its_partner() {
    let mut b = builder();
    let out = b.write(DType::I32);
    let zero = b.i32(0);
    let [at] = b.fold(Range::Full(Size::Const(4)), false, [(AccOp::ArgMax, zero)], |b, i| {
        let i = b.index(i);
        [b.cast(i, DType::I32)]
    });
    b.store(out, Address::default(), at);
    rejected(&b.finish(), "no partner");
}

#[test]
fn contractions_do_not_overwrite_their_operands() {
    let mut b = builder();
    let (x, y) = (b.read(DType::F32), b.write(DType::F32));
    let four = Size::Const(4);
    b.contract(Contract {
        m: Range::Full(four),
        n: Range::Full(four),
        k: Range::Full(four),
        a: Address::default(),
        a_arg: x,
        a_m: four,
        a_k: Size::Const(1),
        b: Address::default(),
        b_arg: y,
        b_k: four,
        b_n: Size::Const(1),
        c: Address::default(),
        c_arg: y,
        c_m: four,
        groups: None,
        blocks: vec![],
        accumulate: false,
        bias: None,
        relu: false,
    });
    rejected(&b.finish(), "overwrites its operand");
}

#[test]
fn programs_hand_kernels_what_they_want() {
    let mut program = Program::default();
    let buffer = |program: &mut Program, dtype, kind| {
        let buffer =
            program.buffers.push(BufferDecl { name: "b".into(), dtype, len: Dim::constant(9), kind });
        BufferRef { buffer, offset: Dim::constant(0), turns: vec![] }
    };
    let input = buffer(&mut program, DType::F32, BufferKind::Input(0));
    let output = buffer(&mut program, DType::F32, BufferKind::Output(0));
    let ints = buffer(&mut program, DType::I32, BufferKind::Temp);
    let kernel = program.kernels.push(sample());
    let mut with = |args: Vec<BufferRef>| {
        program.steps = vec![Step::Run { kernel, args }];
        verify_program(&program).map_err(|defect| defect.message)
    };
    assert_eq!(with(vec![input.clone(), output.clone()]), Ok(()));
    assert_eq!(with(vec![input.clone()]), Err("1 buffers for 2 arguments".to_owned()));
    assert_eq!(with(vec![ints, output]), Err("buf2 is i32, the argument f32".to_owned()));
    assert_eq!(with(vec![input.clone(), input]), Err("writes the input buf0".to_owned()));
}

/// A sum over more than a block, of known length or not, with a maximum and its place beside it.
#[test]
fn long_sums_are_cut_into_blocks() {
    let count = 3 * BLOCK + 777;
    for known in [true, false] {
        let mut b = builder();
        let (from, to) = (b.read(DType::F32), b.write(DType::F32));
        let n = if known { Size::Const(count) } else { b.size(&Dim::var("N")) };
        let (zero, low, none) = (b.f32(2.0), b.f32(f32::NEG_INFINITY), b.i32(i32::MAX));
        let accs = [(AccOp::Sum, zero), (AccOp::Max, low), (AccOp::ArgMax, none)];
        let [sum, max, at] = b.fold(Range::Full(n), true, accs, |b, i| {
            let x = b.load(from, Address::of([(i.into(), Size::Const(1))]));
            let i = b.index(i);
            [x, x, b.cast(i, DType::I32)]
        });
        let at = b.cast(at, DType::F32);
        for (place, value) in [sum, max, at].into_iter().enumerate() {
            b.store(to, Address::at(Size::Const(place as i64)), value);
        }
        let kernel = b.finish();
        verify(&kernel).expect("a sound kernel");
        assert!(kernel.to_string().contains("in i1*4096..min(i1*4096+4096"), "{kernel}");
        let x: Vec<f32> = (0..count).map(|i| (i as f32 * 0.618).fract()).collect();
        let exact = 2.0 + x.iter().map(|x| f64::from(*x)).sum::<f64>();
        let bytes = x.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut buffers = vec![bytes, vec![0; 12]];
        interpret::run_kernel(&kernel, &mut buffers, &[(0, 0), (1, 0)], &[count, 4], 0, 1).expect("a run");
        let found: Vec<f32> =
            buffers[1].chunks(4).map(|four| f32::from_le_bytes(four.try_into().expect("four"))).collect();
        let best = (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best });
        assert_eq!(found[1..], [x[best], best as f32]);
        // One loop is off by 4e-7 of the sum here.
        assert!((f64::from(found[0]) / exact - 1.0).abs() < 1e-7, "{found:?}, {exact}");
    }
}
