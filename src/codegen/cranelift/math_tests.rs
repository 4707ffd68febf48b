//! The scalar functions as machine code against the standard library's in f64, over all of f32; against the interpreter bit by bit.

use cranelift_entity::PrimaryMap;

use super::{Options, compile};
use crate::axes::Dim;
use crate::base::{FileId, Span};
use crate::kernel::interpret::run_kernel;
use crate::kernel::*;
use crate::tensor::DType;
use crate::tensor::random::Key;

type Expansion = fn(&mut BodyBuilder, &[Val]) -> Val;
type Exact = fn(f64) -> f64;

fn kernel(dtype: DType, arguments: usize, f: Expansion) -> Kernel {
    let mut b = BodyBuilder::new("math", Span::new(FileId(0), 0, 0));
    let args: Vec<Arg> = (0..arguments).map(|_| b.read(dtype)).collect();
    let out = b.write(dtype);
    let n = b.size(&Dim::var("N"));
    b.for_lanes(Range::Full(n), |b, i| {
        let at = Address::of([(i.into(), Size::Const(1))]);
        let x: Vec<Val> = args.iter().map(|&arg| b.load(arg, at.clone())).collect();
        let y = f(b, &x);
        b.store(out, at, y);
    });
    b.finish()
}

fn bytes<T: Copy, const N: usize>(x: &[T], to: fn(T) -> [u8; N]) -> Vec<u8> {
    x.iter().flat_map(|&x| to(x)).collect()
}

/// The function of the arguments' bytes.
fn run(kernel: &Kernel, element: usize, arguments: &[Vec<u8>]) -> Vec<u8> {
    verify(kernel).expect("a sound kernel");
    let mut program = Program { kernels: PrimaryMap::new(), ..Program::default() };
    let id = program.kernels.push(kernel.clone());
    let code = compile(&program, Options::default()).expect("code");
    let mut out = vec![0u8; arguments[0].len()];
    let mut args: Vec<*mut u8> = arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
    args.push(out.as_mut_ptr());
    let sizes = [(arguments[0].len() / element) as i64];
    // SAFETY: all buffers have as many elements as the loop.
    unsafe { code.run(id, args.as_ptr(), sizes.as_ptr(), 0, 1, std::ptr::null_mut()) };
    // The interpreter agrees on some of them.
    let some = 64.min(sizes[0] as usize) * element;
    for start in [0, arguments[0].len() / element / 2 * element] {
        let mut buffers: Vec<Vec<u8>> =
            arguments.iter().map(|a| a[start..a.len().min(start + some)].to_vec()).collect();
        let length = buffers[0].len();
        buffers.push(vec![0; length]);
        let places: Vec<(usize, usize)> = (0..buffers.len()).map(|i| (i, 0)).collect();
        run_kernel(kernel, &mut buffers, &places, &[(length / element) as i64], 0, 1).expect("a run");
        for (at, (a, b)) in
            buffers[arguments.len()].chunks(element).zip(out[start..].chunks(element)).enumerate()
        {
            assert!(
                a == b || is_nan(a) && is_nan(b),
                "element {}: {a:02x?} and {b:02x?}",
                start / element + at
            );
        }
    }
    out
}

fn is_nan(bytes: &[u8]) -> bool {
    match bytes.try_into() {
        Ok(four) => f32::from_le_bytes(four).is_nan(),
        Err(_) => bytes.try_into().is_ok_and(|eight| f64::from_le_bytes(eight).is_nan()),
    }
}

fn run_f32(f: Expansion, arguments: &[Vec<f32>]) -> Vec<f32> {
    let arguments: Vec<Vec<u8>> = arguments.iter().map(|x| bytes(x, f32::to_le_bytes)).collect();
    let out = run(&kernel(DType::F32, arguments.len(), f), 4, &arguments);
    out.chunks(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

fn run_f64(f: Expansion, arguments: &[Vec<f64>]) -> Vec<f64> {
    let arguments: Vec<Vec<u8>> = arguments.iter().map(|x| bytes(x, f64::to_le_bytes)).collect();
    let out = run(&kernel(DType::F64, arguments.len(), f), 8, &arguments);
    out.chunks(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
}

/// Every 4099th bit pattern, subnormal numbers left out.
fn all_f32() -> Vec<f32> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        0.625,
        0.927_734_4,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        f32::MAX,
    ];
    let all = (0..=u32::MAX).step_by(4099).map(f32::from_bits).filter(|x| !x.is_subnormal());
    special.into_iter().chain(all).collect()
}

/// The distance in units of the last place of an f32 result; subnormal results count as zero.
fn ulp_f32(found: f32, exact: f64) -> f64 {
    if found.is_nan() && exact.is_nan() || f64::from(found) == exact {
        return 0.0;
    }
    let smallest = f64::from(f32::MIN_POSITIVE);
    if exact.abs() < smallest && f64::from(found).abs() <= smallest {
        return 0.0;
    }
    // The rounded result overflows.
    if found.is_infinite() && exact.abs() > f64::from(f32::MAX) && f64::from(found).signum() == exact.signum()
    {
        return 0.0;
    }
    let unit = 2f64.powi(exact.abs().max(smallest).log2().floor() as i32 - 23);
    let distance = (f64::from(found) - exact).abs() / unit;
    if distance.is_nan() { f64::INFINITY } else { distance }
}

fn ulp_f64(found: f64, exact: f64) -> f64 {
    if found.is_nan() && exact.is_nan()
        || found == exact
        || exact.abs() < f64::MIN_POSITIVE && found.abs() <= f64::MIN_POSITIVE
    {
        return 0.0;
    }
    let unit = exact.abs().next_up() - exact.abs();
    let distance = (found - exact).abs() / unit;
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// The largest error, and the argument where it happens.
fn worst<T: Copy>(x: &[T], y: &[T], error: impl Fn(T, T) -> f64) -> (f64, T) {
    x.iter().zip(y).map(|(&x, &y)| (error(x, y), x)).fold((-1.0, x[0]), |a, b| if b.0 > a.0 { b } else { a })
}

fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size > 6.0 || x.is_nan() {
        return if x.is_nan() { x } else { x.signum() };
    }
    if size < 2.0 {
        // e^-x² Σ 2^n x^(2n+1) / (2n+1)!!, all terms of one sign
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    }
    // erfc as a continued fraction
    let mut tail = 0.0;
    for n in (1..80).rev() {
        tail = f64::from(n) / 2.0 / (size + tail);
    }
    x.signum() * (1.0 - (-x * x).exp() / (size + tail) * std::f64::consts::FRAC_2_SQRT_PI / 2.0)
}

#[test]
fn f32_functions_are_within_their_bounds() {
    let x = all_f32();
    let near: Vec<f32> = x.iter().map(|&x| if x.abs() > 1e5 { x.rem_euclid(1e5) } else { x }).collect();
    let cases: [(&str, Expansion, Exact, &[f32], f64); 7] = [
        ("exp", math::exp, f64::exp, &x, 1.0),
        ("log", math::log, f64::ln, &x, 1.0),
        ("tanh", math::tanh, f64::tanh, &x, 2.0),
        ("sigmoid", math::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), &x, 2.5),
        ("erf", math::erf, erf, &x, 2.0),
        ("sin", math::sin, f64::sin, &near, 2.0),
        ("cos", math::cos, f64::cos, &near, 2.0),
    ];
    for (name, f, exact, x, bound) in cases {
        let y = run_f32(f, &[x.to_vec()]);
        let (error, at) = worst(x, &y, |x, y| ulp_f32(y, exact(f64::from(x))));
        println!("{name}: {error:.3} ulp at {at:e}");
        assert!(error <= bound, "{name}({at:e}): {error} ulp");
    }
}

#[test]
fn f64_functions_are_within_their_bounds() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut x = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        0.625,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MIN_POSITIVE,
        f64::MAX,
        709.0,
        -700.0,
    ];
    x.extend((0..300_000).map(|i| [1.0, -1.0][i % 2] * (random() * 40.0 - 30.0).exp2()));
    let cases: [(&str, Expansion, Exact, f64); 6] = [
        ("exp", math::exp, f64::exp, 1.5),
        ("log", math::log, f64::ln, 1.5),
        ("tanh", math::tanh, f64::tanh, 3.0),
        (
            "sigmoid",
            math::sigmoid,
            |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) },
            4.0,
        ),
        ("sin", math::sin, f64::sin, 2.0),
        ("cos", math::cos, f64::cos, 2.0),
    ];
    for (name, f, exact, bound) in cases {
        let trig = matches!(name, "sin" | "cos");
        let x: Vec<f64> = x.iter().copied().filter(|x| !(trig && x.abs() == f64::MAX)).collect();
        let y = run_f64(f, std::slice::from_ref(&x));
        let (error, at) = worst(&x, &y, |x, y| ulp_f64(y, exact(x)));
        println!("{name}: {error:.3} ulp at {at:e}");
        assert!(error <= bound, "{name}({at:e}): {error} ulp");
    }
}

/// From mpmath with 200 bits.
const ERF: [(f64, f64); 25] = [
    (1e-300, 1.1283791670955126e-300),
    (1e-08, 1.1283791670955126e-08),
    (0.1, 0.1124629160182849),
    (0.25, 0.27632639016823696),
    (0.5, 0.5204998778130465),
    (0.75, 0.7111556336535151),
    (0.9, 0.7969082124228322),
    (0.999, 0.8422852702064969),
    (1.0, 0.8427007929497149),
    (1.001, 0.8431154854780762),
    (1.1, 0.8802050695740817),
    (1.25, 0.9229001282564583),
    (1.5, 0.9661051464753108),
    (1.75, 0.9866716712191824),
    (2.0, 0.9953222650189527),
    (2.5, 0.999593047982555),
    (3.0, 0.9999779095030014),
    (3.5, 0.9999992569016276),
    (4.0, 0.9999999845827421),
    (4.5, 0.9999999998033839),
    (5.0, 0.9999999999984626),
    (5.5, 0.9999999999999927),
    (5.9, 0.9999999999999999),
    (6.0, 1.0),
    (7.0, 1.0),
];

#[test]
fn erf_of_f64_matches_the_table() {
    let x: Vec<f64> = ERF.iter().map(|e| e.0).chain(ERF.iter().map(|e| -e.0)).collect();
    let y = run_f64(math::erf, &[x]);
    for (i, &(x, exact)) in ERF.iter().enumerate() {
        assert!(ulp_f64(y[i], exact) <= 2.0, "erf({x}) = {}", y[i]);
        assert_eq!(y[i], -y[i + ERF.len()]);
    }
}

#[test]
fn powers() {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        2.5,
        1e30,
        -1e30,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let (mut x, mut y): (Vec<f64>, Vec<f64>) =
        special.iter().flat_map(|&x| special.iter().map(move |&y| (x, y))).unzip();
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    for _ in 0..300_000 {
        x.push((random() * 60.0 - 30.0).exp2());
        y.push(random() * 60.0 - 30.0);
    }
    let (x32, y32): (Vec<f32>, Vec<f32>) = x.iter().zip(&y).map(|(&x, &y)| (x as f32, y as f32)).unzip();
    let found = run_f32(math::pow, &[x32.clone(), y32.clone()]);
    let mut worst = 0f64;
    for i in 0..found.len() {
        let error = ulp_f32(found[i], f64::from(x32[i]).powf(f64::from(y32[i])));
        worst = worst.max(error);
        assert!(error <= 2.0, "{} ^ {} = {}: {error} ulp", x32[i], y32[i], found[i]);
    }
    println!("pow f32: {worst:.3} ulp");
    let found = run_f64(math::pow, &[x.clone(), y.clone()]);
    let mut worst = 0f64;
    for i in 0..found.len() {
        let error = ulp_f64(found[i], x[i].powf(y[i]));
        worst = worst.max(error);
        assert!(error <= 8.0, "{} ^ {} = {}: {error} ulp", x[i], y[i], found[i]);
    }
    println!("pow f64: {worst:.3} ulp");
}

#[test]
fn powers_of_integers_wrap() {
    let x = [0, 1, -1, 2, -2, 3, 7, -7, 10, i32::MAX, i32::MIN];
    let y = [0, 1, 2, 3, 5, 31, 32, 100, -1, -2, -3];
    let (xs, ys): (Vec<i32>, Vec<i32>) = x.iter().flat_map(|&x| y.iter().map(move |&y| (x, y))).unzip();
    let out = run(
        &kernel(DType::I32, 2, math::pow),
        4,
        &[bytes(&xs, i32::to_le_bytes), bytes(&ys, i32::to_le_bytes)],
    );
    for (i, found) in out.chunks(4).enumerate() {
        let exact = match (xs[i], ys[i]) {
            (x, y) if y >= 0 => x.wrapping_pow(y as u32),
            (1, _) => 1,
            (-1, y) => [1, -1][(y & 1) as usize],
            _ => 0,
        };
        assert_eq!(i32::from_le_bytes(found.try_into().expect("four bytes")), exact, "{} ^ {}", xs[i], ys[i]);
    }
}

#[test]
fn draws_match_the_reference() {
    let (seed, site, step) = (0x1234_5678_9abc_def0u64, 0xfedc_ba98_7654_3210u64, 5u64);
    let n = 1000usize;
    for normal in [false, true] {
        let mut b = BodyBuilder::new("draw", Span::new(FileId(0), 0, 0));
        let (seeds, out) = (b.read(DType::I64), b.write(DType::F32));
        let (seed_value, step_value) =
            (b.load(seeds, Address::default()), b.load(seeds, Address::at(Size::Const(1))));
        let stream = philox::stream(&mut b, seed_value, site, step_value);
        b.for_lanes(Range::Full(Size::Const(n as i64)), |b, i| {
            let index = b.index(i);
            let x = if normal { philox::normal(b, stream, index) } else { philox::uniform(b, stream, index) };
            b.store(out, Address::of([(i.into(), Size::Const(1))]), x);
        });
        let kernel = b.finish();
        verify(&kernel).expect("a sound kernel");
        let mut program = Program { kernels: PrimaryMap::new(), ..Program::default() };
        let id = program.kernels.push(kernel);
        let code = compile(&program, Options::default()).expect("code");
        let (mut inputs, mut found) = ([seed, step], vec![0f32; n]);
        let args = [inputs.as_mut_ptr().cast::<u8>(), found.as_mut_ptr().cast::<u8>()];
        // SAFETY: both buffers have what the kernel reads and writes.
        unsafe { code.run(id, args.as_ptr(), std::ptr::null(), 0, 1, std::ptr::null_mut()) };
        let key = Key::new(seed, site);
        let mut worst = 0f64;
        for (i, &found) in found.iter().enumerate() {
            if normal {
                worst = worst.max(ulp_f32(found, f64::from(key.normal(step, i as u64))));
            } else {
                assert_eq!(found.to_bits(), key.uniform(step, i as u64).to_bits(), "element {i}");
            }
        }
        println!("normal: {worst} ulp");
        assert!(worst <= 4.0, "{worst} ulp");
    }
}
