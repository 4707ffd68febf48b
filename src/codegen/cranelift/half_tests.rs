//! The floats of 16 bits as machine code: all of them are loaded and stored exactly, and numbers of every dtype round to them once.

use cranelift_entity::PrimaryMap;

use super::{Options, Widen, compile};
use crate::axes::Dim;
use crate::base::{FileId, Span};
use crate::kernel::interpret::run_kernel;
use crate::kernel::*;
use crate::tensor::{DType, Element, Tensor};

/// `to[i] = from[i * stride]`, converted.
fn kernel(from: DType, to: DType, lanes: bool, stride: i64) -> Kernel {
    let mut b = BodyBuilder::new("half", Span::new(FileId(0), 0, 0));
    let (x, y) = (b.read(from), b.write(to));
    let n = b.size(&Dim::var("N"));
    let i = b.begin_loop(Range::Full(n), lanes);
    let value = b.load(x, Address::of([(i.into(), Size::Const(stride))]));
    let value = math::cast(&mut b, &[value], to);
    b.store(y, Address::of([(i.into(), Size::Const(1))]), value);
    b.end_loop(&[]);
    b.finish()
}

/// The converted elements by machine code, in vectors of both widths and one by one, and by the interpreter, which all agree.
fn converted(from: &Tensor, to: DType) -> Tensor {
    let bytes = from.to_le_bytes();
    let mut first: Option<Vec<u8>> = None;
    for (lanes, stride) in [(true, 1), (false, 1), (true, 2)] {
        let kernel = kernel(from.dtype(), to, lanes, stride);
        verify(&kernel).expect("a sound kernel");
        let count = from.len() / stride as usize;
        for widen in [Widen::Never, Widen::best()] {
            let mut program = Program { kernels: PrimaryMap::new(), ..Program::default() };
            let id = program.kernels.push(kernel.clone());
            let code = compile(&program, Options { widen, ..Options::default() }).expect("code");
            let mut out = vec![0u8; count * to.size()];
            let args = [bytes.as_ptr().cast_mut(), out.as_mut_ptr()];
            // SAFETY: both buffers have as many elements as the loop reads and writes.
            unsafe { code.run(id, args.as_ptr(), [count as i64].as_ptr(), 0, 1, std::ptr::null_mut()) };
            let known = first.get_or_insert_with(|| out.clone());
            let expected: Vec<u8> = match stride {
                1 => known.clone(),
                _ => known.chunks(2 * to.size()).flat_map(|pair| pair[..to.size()].to_vec()).collect(),
            };
            assert!(out == expected[..out.len()], "{} to {to}, {lanes}, {stride}, {widen:?}", from.dtype());
        }
        let mut buffers = vec![bytes.clone(), vec![0; count * to.size()]];
        run_kernel(&kernel, &mut buffers, &[(0, 0), (1, 0)], &[count as i64], 0, 1).expect("a run");
        if stride == 1 {
            assert!(Some(&buffers[1]) == first.as_ref(), "{} to {to}: the interpreter", from.dtype());
        }
    }
    Tensor::from_le_bytes(to, &[from.len()], &first.expect("converted")).expect("as many")
}

/// Element by element, NaN for NaN.
#[track_caller]
fn same(found: &Tensor, expected: &Tensor, of: &Tensor) {
    let all = found.numbers().zip(expected.numbers()).zip(of.numbers());
    for (at, ((found, expected), of)) in all.enumerate() {
        let (x, y) = (found.as_f64(), expected.as_f64());
        assert!(x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan(), "{at}: {of:?} gives {x}, not {y}");
    }
}

fn tensor<T: Element>(elements: Vec<T>) -> Tensor {
    Tensor::from_vec(&[elements.len()], elements).expect("a row")
}

#[test]
fn all_numbers_of_16_bits_are_loaded_and_stored() {
    let bits: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for dtype in [DType::BF16, DType::F16] {
        let all = Tensor::from_le_bytes(dtype, &[1 << 16], &bits).expect("all of them");
        same(&converted(&all, DType::F32), &all.cast(DType::F32), &all);
        let back = converted(&all.cast(DType::F32), dtype);
        let normal = all.numbers().map(|x| {
            let x = x.as_f64();
            // Subnormal numbers of bf16 are those of f32.
            if dtype == DType::BF16 && x.abs() < f64::from(f32::MIN_POSITIVE) { 0f64.copysign(x) } else { x }
        });
        same(&back, &tensor(normal.collect::<Vec<f64>>()), &all);
    }
}

#[test]
fn numbers_round_once_to_16_bits() {
    let steps = (0..=u32::MAX).step_by(262_139).map(f32::from_bits).filter(|x| !x.is_subnormal());
    // Ties and their neighbours.
    let ties = (0..=u16::MAX).step_by(61).flat_map(|high| {
        [0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001]
            .map(|low| f32::from_bits(u32::from(high) << 16 | low))
    });
    let singles: Vec<f32> = steps.chain(ties.filter(|x| !x.is_subnormal())).collect();
    let doubles: Vec<f64> =
        singles.iter().flat_map(|x| [f64::from(*x), f64::from(*x).next_up(), f64::from(*x) * 1.1]).collect();
    let doubles = doubles.into_iter().filter(|x| x.abs() >= f64::from(f32::MIN_POSITIVE)).collect();
    let long = |k: i64| (k.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64)) >> (k % 64);
    let longs: Vec<i64> =
        (0..5000).map(long).chain([i64::MIN, i64::MAX, (1 << 62) + (1 << 54) + 1]).collect();
    let ints: Vec<i32> = longs.iter().map(|x| *x as i32).collect();
    let bytes: Vec<u8> = (0..=255).collect();
    for of in [tensor(singles), tensor::<f64>(doubles), tensor(longs), tensor(ints), tensor(bytes)] {
        for dtype in [DType::BF16, DType::F16] {
            same(&converted(&of, dtype), &of.cast(dtype), &of);
        }
    }
}
