//! The samples of a train block in memory, checked once, and which of them train.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::base::Span;
use crate::check::core::{Core, InputInfo};
use crate::check::train::{self as plan, DataInput, DataSource, TrainPlan};
use crate::diag::Diagnostic;
use crate::formats::source::{Format, Tables};
use crate::formats::text;
use crate::runtime::{Array, OutOfMemory, Pool};
use crate::tensor::random::{Key, site};
use crate::tensor::{DType, Number, Tensor};

use super::errors;

/// All samples, field by field, in the order of the plan's inputs.
pub struct Dataset {
    fields: Vec<Field>,
    pub count: usize,
}

/// One array of the data: a row for each sample, or one that is the same for all.
struct Field {
    dtype: DType,
    whole: bool,
    /// Elements of a row, or of the whole.
    row: usize,
    bytes: Vec<u8>,
}

/// Which samples train and which test, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub train: Vec<u32>,
    /// What is measured on; without a split the training samples.
    pub test: Vec<u32>,
}

impl Dataset {
    /// Reads all arrays of a plan; `locate` finds the file that is written at a place.
    ///
    /// # Errors
    /// A file that cannot be read or has changed; a NaN or an infinity; a label out of its range.
    pub fn load(
        plan: &TrainPlan,
        locate: &dyn Fn(&str, Span) -> PathBuf,
    ) -> Result<Dataset, Box<Diagnostic>> {
        let mut fields = Vec::new();
        let mut tables = Tables::new();
        for (index, input) in plan.inputs.iter().enumerate() {
            let source = &plan.sources[input.source];
            let (step, evaluate) = (&plan.steps[0].core, &plan.evaluate);
            let infos = [&step.inputs[index], &evaluate.inputs[index]];
            let count = (!source.whole).then_some(plan.count);
            let array = array(source, &input.field, step, infos, count, locate, &mut tables)?;
            let row = if source.whole { array.shape() } else { &array.shape()[1..] };
            fields.push(Field {
                dtype: array.dtype(),
                whole: source.whole,
                row: row.iter().product(),
                bytes: array.contiguous().to_le_bytes(),
            });
        }
        Ok(Dataset { fields, count: plan.count })
    }

    /// Arrays for `rows` samples, one for each field; whole arrays are filled.
    ///
    /// # Errors
    /// Memory that there is not.
    pub fn batch(&self, rows: usize) -> Result<Vec<Array>, Box<Diagnostic>> {
        let array = |field: &Field| -> Result<Array, OutOfMemory> {
            let mut array =
                Array::zeros(field.dtype, if field.whole { field.row } else { field.row * rows })?;
            if field.whole {
                array.bytes_mut().copy_from_slice(&field.bytes);
            }
            Ok(array)
        };
        let arrays = self.fields.iter().map(array).collect::<Result<_, _>>();
        arrays.map_err(|error| Box::new(errors::not_run(&error.into())))
    }

    /// A checksum (CRC-32) of all arrays and of which samples these are.
    pub fn checksum(&self, samples: &[u32]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        for field in &self.fields {
            sum.update(field.dtype.name().as_bytes());
            sum.update(&(field.row as u64).to_le_bytes());
            sum.update(&field.bytes);
        }
        for sample in samples {
            sum.update(&sample.to_le_bytes());
        }
        sum.finalize()
    }

    /// The bytes that [`Dataset::gather`] copies for so many samples.
    pub fn bytes(&self, rows: usize) -> usize {
        let fields = self.fields.iter().filter(|field| !field.whole);
        fields.map(|field| field.row * field.dtype.size() * rows).sum()
    }

    /// Copies these samples into arrays that [`Dataset::batch`] made for as many, on the threads of a pool where they are worth it.
    pub fn gather(&self, rows: &[u32], batch: &mut [Array], pool: Option<&Pool>) {
        /// Bytes that are worth a thread's start.
        const SHARE: usize = 1 << 15;
        for (field, array) in self.fields.iter().zip(batch) {
            let size = field.row * field.dtype.size();
            if size == 0 || field.whole {
                continue;
            }
            let copy = |rows: &[u32], target: &mut [u8]| {
                for (&row, place) in rows.iter().zip(target.chunks_exact_mut(size)) {
                    place.copy_from_slice(&field.bytes[row as usize * size..][..size]);
                }
            };
            let target = array.bytes_mut();
            let share = SHARE.div_ceil(size);
            match pool.filter(|pool| pool.threads() > 1 && rows.len() > share) {
                None => copy(rows, target),
                Some(pool) => {
                    let parts = rows.chunks(share).zip(target.chunks_mut(share * size)).map(Mutex::new);
                    let parts: Vec<_> = parts.collect();
                    pool.run(parts.len(), &|index| {
                        let mut part = parts[index].lock().unwrap_or_else(PoisonError::into_inner);
                        let (rows, target) = &mut *part;
                        copy(rows, target);
                    });
                }
            }
        }
    }

    /// `count` rows of `row` elements, each byte another than in the row before.
    #[cfg(test)]
    pub(super) fn of_rows(dtype: DType, row: usize, count: usize) -> Dataset {
        let size = row * dtype.size();
        let bytes = (0..count * size).map(|at| (at / size * 7 + at % 5) as u8).collect();
        Dataset { fields: vec![Field { dtype, whole: false, row, bytes }], count }
    }
}

/// The arrays that a test block reads, in the order of its core's inputs.
///
/// # Errors
/// As [`Dataset::load`].
pub fn whole_arrays(
    (sources, inputs): &(Vec<DataSource>, Vec<DataInput>),
    core: &Core,
    locate: &dyn Fn(&str, Span) -> PathBuf,
) -> Result<Vec<Tensor>, Box<Diagnostic>> {
    let mut tables = Tables::new();
    let read = |(input, info): (&DataInput, &InputInfo)| {
        array(&sources[input.source], &input.field, core, [info, info], None, locate, &mut tables)
    };
    inputs.iter().zip(&core.inputs).map(read).collect()
}

/// One array of a file, checked against its header of before and the labels that it is used as. With a count, this is what the first
/// axis is.
fn array(
    source: &DataSource,
    field: &str,
    core: &Core,
    infos: [&InputInfo; 2],
    count: Option<usize>,
    locate: &dyn Fn(&str, Span) -> PathBuf,
    tables: &mut Tables,
) -> Result<Tensor, Box<Diagnostic>> {
    let (file, span) = (locate(&source.path, source.span), source.span);
    let format = Format::parse(&source.format);
    let array = match (&*source.format, source.window) {
        ("text", None) => text::load_characters(&file).map(|(_, characters)| characters),
        ("text", Some(window)) => text::load_windows(&file, window).map(|text| match field {
            "y" => text.following,
            _ => text.characters,
        }),
        _ => format.unwrap_or(Format::Npz).load(&file, field, tables),
    };
    let array = array.map_err(|error| Box::new(errors::unreadable(span, &error)))?;
    let known = infos[0].axes.iter().skip(usize::from(count.is_some()));
    let known: Option<Vec<i64>> = known.map(|&axis| core.size(axis).as_const()).collect();
    let known = known.unwrap_or_default().into_iter().map(|size| size as usize);
    let shape: Vec<usize> = count.into_iter().chain(known).collect();
    if array.shape() != shape {
        return Err(Box::new(errors::data_changed(span, &file, field)));
    }
    let mut holder = |at: &[usize]| match (format, at.first()) {
        (Some(format), Some(&sample)) => format.holder(&file, sample, tables),
        _ => file.display().to_string(),
    };
    if let Some((at, value, bound)) = beyond_labels(&array, &infos) {
        return Err(Box::new(errors::out_of_range(span, &holder(&at), field, &at, value, bound)));
    }
    // After the conversion: what is finite in f64 may be infinite in f32.
    let array = array.cast(infos[0].elem.dtype());
    if !array.all_finite() {
        let at = array.first_non_finite().unwrap_or_default();
        let value = value_at(&array, &at);
        return Err(Box::new(errors::not_finite(span, &holder(&at), field, &at, value)));
    }
    Ok(array)
}

/// The first label beyond the classes: where it stands, what it is, and how many there are.
fn beyond_labels(array: &Tensor, infos: &[&InputInfo]) -> Option<(Vec<usize>, i64, i64)> {
    infos.iter().find_map(|info| {
        let bound = info.bound.as_ref()?.as_const()?;
        let outside = |number: Number| match number {
            Number::Int(value) => !(0..bound).contains(&value),
            Number::Float(value) => !(0.0..bound as f64).contains(&value),
        };
        let position = array.numbers().position(outside)?;
        let value = array.number(position).map_or(0, |number| number.as_f64() as i64);
        Some((coordinates(position, array.shape()), value, bound))
    })
}

fn value_at(array: &Tensor, at: &[usize]) -> f64 {
    let position = at.iter().zip(array.shape()).fold(0, |position, (index, size)| position * size + index);
    array.number(position).map_or(f64::NAN, Number::as_f64)
}

/// The indices of an element that stands at `position` in row-major order.
fn coordinates(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (index, size) in at.iter_mut().zip(shape).rev() {
        *index = position % size;
        position /= size;
    }
    at
}

/// The samples of each side.
///
/// # Errors
/// No samples to train with; more than can be numbered.
pub fn split(plan: &TrainPlan) -> Result<Split, Box<Diagnostic>> {
    let Some(count) = u32::try_from(plan.count).ok().filter(|&count| count < 1 << 31) else {
        return Err(Box::new(errors::too_many_samples(plan.span, plan.count)));
    };
    let mut split = match &plan.split {
        plan::Split::None => Split { train: (0..count).collect(), test: Vec::new() },
        plan::Split::Fraction { test, seed } => {
            let mut order = Key::new(*seed, site("split")).permutation(0, count);
            let held_out = (f64::from(count) * test).round() as usize;
            let mut train = order.split_off(held_out.min(order.len()));
            // In the order of the file; which are held out is all that is random.
            order.sort_unstable();
            train.sort_unstable();
            Split { train, test: order }
        }
        plan::Split::Chosen(chosen) => {
            let of = |side| (0..count).filter(|&index| chosen[index as usize] == side).collect();
            Split { train: of(plan::Side::Train), test: of(plan::Side::Test) }
        }
    };
    if split.train.is_empty() {
        return Err(Box::new(errors::no_training_samples(plan.span)));
    }
    if plan.samples.is_none() {
        // One measure for all that is there.
        split.test = vec![0];
    } else if split.test.is_empty() {
        split.test = split.train.clone();
    }
    Ok(split)
}
