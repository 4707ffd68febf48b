//! Measurements: `cargo test --release --lib cranelift::bench -- --ignored --nocapture`, on a quiet machine.

use std::time::Instant;

use cranelift_entity::PrimaryMap;

use super::{Options, compile, text};
use crate::axes::Dim;
use crate::base::{FileId, Span};
use crate::kernel::*;
use crate::tensor::DType;

fn builder(name: &str) -> BodyBuilder {
    BodyBuilder::new(name, Span::new(FileId(0), 0, 0))
}

fn relu() -> Kernel {
    let mut b = builder("relu(x + y)");
    let (x, y, out) = (b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    b.for_lanes(Range::Full(n), |b, i| {
        let at = Address::of([(i.into(), Size::Const(1))]);
        let (x, y, zero) = (b.load(x, at.clone()), b.load(y, at.clone()), b.f32(0.0));
        let sum = b.add(x, y);
        let sum = b.max(sum, zero);
        b.store(out, at, sum);
    });
    b.finish()
}

fn map(name: &str, f: fn(&mut BodyBuilder, &[Val]) -> Val) -> Kernel {
    let mut b = builder(name);
    let (x, _, out) = (b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    b.for_lanes(Range::Full(n), |b, i| {
        let at = Address::of([(i.into(), Size::Const(1))]);
        let x = b.load(x, at.clone());
        let y = f(b, &[x]);
        b.store(out, at, y);
    });
    b.finish()
}

fn column_sum(columns: i64) -> Kernel {
    let mut b = builder("column sum");
    let (x, _, out) = (b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    let rows = b.size(&Dim::var("N").div(&Dim::constant(columns)).expect("a dim"));
    let _ = n;
    b.for_lanes(Range::Full(Size::Const(columns)), |b, j| {
        let zero = b.f32(0.0);
        let [sum] = b.fold(Range::Full(rows), false, [(AccOp::Sum, zero)], |b, i| {
            [b.load(x, Address::of([(i.into(), Size::Const(columns)), (j.into(), Size::Const(1))]))]
        });
        b.store(out, Address::of([(j.into(), Size::Const(1))]), sum);
    });
    b.finish()
}

fn softmax(columns: i64) -> Kernel {
    let mut b = builder("softmax");
    let (x, _, out) = (b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    let rows = b.size(&Dim::var("N").div(&Dim::constant(columns)).expect("a dim"));
    let _ = n;
    let width = Size::Const(columns);
    b.for_each(Range::Full(rows), |b, i| {
        let at = |k: Var| Address::of([(i.into(), width), (k.into(), Size::Const(1))]);
        let (low, zero) = (b.neutral(AccOp::Max, DType::F32), b.f32(0.0));
        let [max] = b.fold(Range::Full(width), true, [(AccOp::Max, low)], |b, k| [b.load(x, at(k))]);
        let [sum] = b.fold(Range::Full(width), true, [(AccOp::Sum, zero)], |b, k| {
            let x = b.load(x, at(k));
            let d = b.sub(x, max);
            let e = math::exp(b, &[d]);
            b.store(out, at(k), e);
            [e]
        });
        let one = b.f32(1.0);
        let factor = b.div(one, sum);
        b.for_lanes(Range::Full(width), |b, k| {
            let e = b.load(out, at(k));
            let y = b.mul(e, factor);
            b.store(out, at(k), y);
        });
    });
    b.finish()
}

fn row_sum() -> Kernel {
    let mut b = builder("sum");
    let (x, _, out) = (b.read(DType::F32), b.read(DType::F32), b.write(DType::F32));
    let n = b.size(&Dim::var("N"));
    let zero = b.f32(0.0);
    let [sum] = b.fold(Range::Full(n), true, [(AccOp::Sum, zero)], |b, i| {
        [b.load(x, Address::of([(i.into(), Size::Const(1))]))]
    });
    b.store(out, Address::default(), sum);
    b.finish()
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let n = 16 * 1024usize;
    let kernels = vec![
        relu(),
        row_sum(),
        column_sum(256),
        softmax(256),
        softmax(10),
        map("exp", math::exp),
        map("log", math::log),
        map("sin", math::sin),
        map("tanh", math::tanh),
        map("erf", math::erf),
    ];
    let mut program = Program { kernels: PrimaryMap::new(), ..Program::default() };
    for kernel in kernels {
        program.kernels.push(kernel);
    }
    let options = Options { verify: false, ..Options::default() };
    let code = compile(&program, options).expect("code");
    for _ in 0..3 {
        let begun = Instant::now();
        let again = compile(&program, options).expect("code");
        println!(
            "compiled {} kernels to {} bytes in {:?}",
            program.kernels.len(),
            again.size(),
            begun.elapsed()
        );
    }
    let (x, y, mut out) = (vec![0.3f32; n], vec![-0.7f32; n], vec![0f32; n]);
    let args = [x.as_ptr().cast_mut().cast::<u8>(), y.as_ptr().cast_mut().cast(), out.as_mut_ptr().cast()];
    for (id, kernel) in &program.kernels {
        let dims = [("N".into(), n as i64)].into();
        let sizes: Vec<i64> = kernel.sizes.values().map(|d| d.eval(&dims).expect("a size")).collect();
        let mut best = f64::INFINITY;
        for _ in 0..200 {
            let begun = Instant::now();
            // SAFETY: all buffers have n elements.
            unsafe { code.run(id, args.as_ptr(), sizes.as_ptr(), 0, 1, std::ptr::null_mut()) };
            best = best.min(begun.elapsed().as_secs_f64());
        }
        println!("{:14} {:.3} ns an element", kernel.name, best * 1e9 / n as f64);
    }
    if std::env::var_os("NNC_SHOW").is_some() {
        println!("{program}");
        println!("{}", text(&program, options, true).expect("text"));
    }
}
