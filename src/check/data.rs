//! The files that train and test blocks read. `data d = npz("digits.npz")` has samples, of which a step sees a batch;
//! `npz("karate.npz")` as a value, or any of the formats, is a record of whole arrays, the same in every step. Headers are read here, no data.

use nn_grammar::ast::{self, ExprKind};

use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::diag::Diagnostic;
use crate::tensor::DType;

use super::core::*;
use super::errors;
use super::origin::Why;
use super::state::{Checker, Checking};
use super::train::TrainWalk;
use super::value::{Field, Num, Value};

/// What a data file holds, read from its header.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Name, element type and shape of each array.
    pub arrays: Vec<(Name, DType, Vec<usize>)>,
    /// How many different characters a text has.
    pub symbols: Option<usize>,
    /// How many classes a folder of folders has.
    pub classes: Option<usize>,
}

/// Reads the headers of data files.
pub trait Headers {
    fn header(&self, source: &DataSource) -> Result<Header, Box<Diagnostic>>;
}

/// A file that a block reads.
#[derive(Clone, Debug)]
pub struct DataSource {
    pub binding: Name,
    /// `npz`, `npy`, `csv`, `idx`, `folder` or `text`
    pub format: Name,
    pub path: Name,
    /// The characters of a text's sample.
    pub window: Option<usize>,
    /// Its arrays are the same for all samples; else their first axis is the samples.
    pub whole: bool,
    /// The path.
    pub span: Span,
}

/// An input of a block's cores: an array of one of its files.
#[derive(Clone, Debug)]
pub struct DataInput {
    pub source: usize,
    pub field: Name,
}

/// The files of a block, in the order in which it names them.
#[derive(Default)]
pub struct Files<'p> {
    /// `None`: what is walked is no block, and reads no files.
    pub headers: Option<&'p dyn Headers>,
    pub sources: Vec<DataSource>,
    /// In the order of the core's inputs.
    pub inputs: Vec<DataInput>,
    /// Arrays that are not one row for each of the samples: they are no fields.
    pub left: Vec<LeftArray>,
}

/// An array of a data file whose first axis is not that of the samples.
pub struct LeftArray {
    pub binding: Name,
    pub field: Name,
    pub shape: Vec<usize>,
    pub samples: usize,
}

impl Checker<'_> {
    /// `npz("data/karate.npz")`, `csv("table.csv")`: a record of the file's arrays, those that `data` gives. `text("plays.txt")` has `x`, the characters, and their number, `symbols`.
    pub fn whole_arrays(&mut self, format: &str, path: Value, span: Span) -> Checking<Value> {
        let Value::Str(path) = path else {
            return self.fail(errors::data_form(span));
        };
        let Some(headers) = self.files.headers.filter(|_| self.at_top()) else {
            return self.fail(errors::files_outside_of_blocks(span));
        };
        let binding = Name::new(path.rsplit('/').next().unwrap_or_default());
        let format = Name::new(format);
        let source = DataSource { binding, format, path, window: None, whole: true, span };
        let header = match headers.header(&source) {
            Ok(header) => header,
            Err(diagnostic) => return self.fail(*diagnostic),
        };
        let mut fields = self.counts(&header);
        self.files.sources.push(source);
        for (field, dtype, shape) in header.arrays {
            let value = self.array(&field, dtype, Vec::new(), &shape);
            fields.push(Field { label: Some(field), value });
        }
        Ok(Value::Tuple(fields.into()))
    }

    /// The numbers that are known of a file beside its arrays.
    fn counts(&self, header: &Header) -> Vec<Field> {
        let field = |(name, count): (&str, Option<usize>)| {
            let value = Value::Num(Num::constant(count? as i64));
            Some(Field { label: Some(Name::new(name)), value })
        };
        [("symbols", header.symbols), ("classes", header.classes)].into_iter().filter_map(field).collect()
    }

    /// An input for an array of the file that was named last, with axes of these sizes behind those in front.
    fn array(&mut self, field: &Name, dtype: DType, mut axes: Vec<AxisVar>, shape: &[usize]) -> Value {
        let number = self.files.sources.len() - 1;
        let (binding, span) = (self.files.sources[number].binding.clone(), self.files.sources[number].span);
        let label = Name::new(format!("{binding}.{field}"));
        for &size in shape {
            let axis = self.fresh_axis(size.to_string(), Some(Dim::constant(size as i64)), span);
            self.set_origin(axis, Why::Column, &label);
            axes.push(axis);
        }
        let dtype = match dtype {
            DType::F32 | DType::F64 | DType::F16 | DType::BF16 => self.float(),
            other => other,
        };
        self.files.inputs.push(DataInput { source: number, field: field.clone() });
        Value::Tensor(self.input(label, Elem::Of(dtype), axes, span))
    }
}

impl TrainWalk<'_> {
    /// `data d = npz("digits.npz")`: a record of arrays whose first axis is the samples. `text("plays.txt", window: 64)` has `x`, the
    /// characters of each window, `y`, those that follow each of them, and the number of `symbols`; a folder with a folder for each class
    /// has the samples `x`, the numbers `y` of their classes, and the number of `classes`.
    pub(super) fn data(&mut self, name: Option<&ast::Ident>, value: &ast::Expr) -> Checking<()> {
        let (Some(name), ExprKind::Call { callee, args }) = (name, &value.kind) else {
            return self.cx.fail(errors::data_form(value.span));
        };
        let (Some(format), [ast::Arg { label: None, value: path, .. }, options @ ..]) =
            (callee.as_name(), args.as_slice())
        else {
            return self.cx.fail(errors::data_form(value.span));
        };
        let (ExprKind::Str(written), place) = (&path.kind, path.span) else {
            return self.cx.fail(errors::data_form(value.span));
        };
        let window = match options {
            [] if format.name == "text" => return self.cx.fail(errors::text_without_window(value.span)),
            [] => None,
            [ast::Arg { label: Some(label), value, .. }]
                if format.name == "text" && label.name == "window" =>
            {
                Some(self.count_of(value)?)
            }
            [option, ..] => return self.cx.fail(errors::unknown_data_option(option.span, &format.name)),
        };
        let source = DataSource {
            binding: name.name.clone(),
            format: format.name.clone(),
            path: written.clone(),
            window,
            whole: false,
            span: place,
        };
        let Some(headers) = self.cx.files.headers else {
            return self.cx.fail(errors::files_outside_of_blocks(place));
        };
        let header = match headers.header(&source) {
            Ok(header) => header,
            Err(diagnostic) => return self.cx.fail(*diagnostic),
        };
        let Some(count) = header.arrays.iter().find_map(|(_, _, shape)| shape.first().copied()) else {
            return self.cx.fail(errors::data_without_samples(place, written));
        };
        if count == 0 {
            return self.cx.fail(errors::no_samples(place, written));
        }
        if let Some(before) = self.count
            && before != count
        {
            return self.cx.fail(errors::data_counts_differ(place, before, count));
        }
        self.count = Some(count);
        let samples = match self.samples {
            Some(axis) => axis,
            None => {
                let kind = Some((super::kind::Kind::Set, value.span));
                let axis = self.cx.introduce_axis_root(Name::new("B"), kind, value.span);
                self.cx.bind("B", Value::Num(Num { axis: Some(axis), ..Num::dim(Dim::var("B")) }));
                *self.samples.insert(axis)
            }
        };
        let mut fields = self.cx.counts(&header);
        self.cx.files.sources.push(source);
        for (field, dtype, shape) in header.arrays {
            if shape.first() != Some(&count) {
                let binding = name.name.clone();
                self.cx.files.left.push(LeftArray { binding, field, shape, samples: count });
                continue;
            }
            let value = self.cx.array(&field, dtype, vec![samples], &shape[1..]);
            fields.push(Field { label: Some(field), value });
        }
        self.cx.bind(name.name.clone(), Value::Tuple(fields.into()));
        Ok(())
    }
}
