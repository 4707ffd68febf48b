//! Binders, indices and reductions.

use nn_grammar::ast;

use crate::axes::Dim;
use crate::base::Span;
use crate::diag::{Code, Diagnostic, Help};

use super::AxisAt;

/// `meant` is the range that the uses of the binder suggest.
pub fn range_unknown(span: Span, name: &str, meant: Option<&str>) -> Diagnostic {
    let help = match meant {
        Some(range) => {
            Help::from(format!("write its range: for {name}: {range} => …")).after(span, format!(": {range}"))
        }
        None => {
            Help::from(format!("use it as a plain index, x[{name}], or write its range: for {name}: N => …"))
        }
    };
    Diagnostic::error(Code(230), format!("the range of `{name}` is not known"))
        .label(span, "runs over which axis?")
        .help(help)
}

/// `what` is an index or a slice.
pub fn index_range_unknown(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(230), format!("the range of this {what} is not known"))
        .label(span, "runs over which axis?")
        .help("write the ranges of its binders: for i: N => …")
}

pub fn binder_over_other_axis(span: Span, binder: AxisAt, axis: &str, value: &str) -> Diagnostic {
    Diagnostic::error(Code(231), format!("the index runs over `{}`, but this axis is `{axis}`", binder.name))
        .label(span, format!("indexes axis `{axis}` of {value}"))
        .label(binder.span, format!("runs over `{}`", binder.name))
}

pub fn read_not_in_range(span: Span, axis: &str) -> Diagnostic {
    Diagnostic::error(Code(232), format!("this index may lie outside of the axis, which has {axis} entries"))
        .label(span, "not provably in range")
        .help("write the binder's range so that all reads lie inside, guard them (`sum k where t - k in T => …`), use `shift`,")
        .help("or declare the axis: outside of `grid` there are zeros, before the start of `causal` too, and `ring` goes round")
}

/// One entry that an axis does not have; counting from the end is a habit from elsewhere.
pub fn read_outside(span: Span, index: i64, axis: &str) -> Diagnostic {
    let message = format!("there is no entry {index}: the axis has {axis} entries");
    let diagnostic = Diagnostic::error(Code(232), message).label(span, "outside of the axis");
    let meant = match (index, axis.parse::<i64>()) {
        (..0, Ok(size)) if size + index >= 0 => (size + index).to_string(),
        (..0, Err(_)) => format!("{axis} - {}", index.unsigned_abs()),
        _ => return diagnostic.help("entries are counted from 0"),
    };
    diagnostic.help(Help::from(format!("from the end it is {meant}")).replace(span, meant))
}

pub fn slice_not_in_range(span: Span, low: &str, high: &str, value: &str, axis: &str) -> Diagnostic {
    Diagnostic::error(Code(233), format!("the slice {low}..{high} does not lie inside of {value}"))
        .label(span, format!("the axis has {axis} entries, 0..{axis}"))
}

pub fn too_many_indices(span: Span, value: &str, given: usize) -> Diagnostic {
    Diagnostic::error(Code(234), format!("{given} indices for {value}")).label(span, "too many indices")
}

pub fn cannot_index(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(235), format!("{what} has no entries to index"))
        .label(span, format!("this is {what}"))
}

pub fn not_an_index(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code(236), "an index is wanted here").label(span, format!("this is {what}"))
}

pub fn index_must_be_positions(span: Span, given: &str, axis: &str) -> Diagnostic {
    Diagnostic::error(
        Code(237),
        format!("an index by values must be of type Idx[{axis}], so that it lies in range"),
    )
    .label(span, format!("this is {given}"))
    .help(format!("declare where it comes from as Idx[{axis}]: it is checked once, where data enters"))
}

pub fn entry_of_other_axis(span: Span, entry: &str, value: &str, axis: &Dim) -> Diagnostic {
    Diagnostic::error(Code(238), format!("{entry} does not index the axis `{axis}` of {value}"))
        .label(span, format!("this is {entry}"))
}

pub fn positions_of_other_axis(span: Span, given: &str, axis: &Dim) -> Diagnostic {
    Diagnostic::error(Code(239), format!("{given} is compared with an index over `{axis}`"))
        .label(span, "different axes")
}

pub fn compared_axes_differ(span: Span, left: &str, right: &str) -> Diagnostic {
    Diagnostic::error(Code(240), format!("indices over different axes are compared: `{left}` and `{right}`"))
        .label(span, "different axes")
}

pub fn list_index(span: Span, index: i64, length: usize) -> Diagnostic {
    Diagnostic::error(Code(241), format!("there is no entry {index} among {length}"))
        .label(span, "out of range")
}

pub fn list_index_not_static(span: Span) -> Diagnostic {
    Diagnostic::error(Code(242), "a list or tuple is indexed by one number that is known when compiling")
        .label(span, "not such a number")
}

pub fn guard_on_for(span: Span) -> Diagnostic {
    Diagnostic::error(Code(243), "`for` gives an entry for every point, so it takes no guard")
        .label(span, "a guard on `for`")
        .help("select inside: for i => if g { e } else { 0 }")
}

pub fn reducer_elem(span: Span, reducer: &str, given: &str) -> Diagnostic {
    let error = Diagnostic::error(Code(244), format!("`{reducer}` does not take {given}"))
        .label(span, "reduced here");
    match reducer {
        "any" | "all" => error.help(format!("compare first: {reducer}(x > 0)")),
        _ if given == "bool" => {
            error.help("numbers of truth values: x as f32 is 1 where x holds, 0 elsewhere")
        }
        _ if given.starts_with("Idx") => error.help("the numbers of positions: for e => position(i[e])"),
        _ => error.help("convert first: x as f32"),
    }
}

pub fn argmax_over_several(span: Span, reducer: &str) -> Diagnostic {
    Diagnostic::error(Code(245), format!("`{reducer}` runs over exactly one axis"))
        .label(span, "not one axis")
        .help(format!("name it: {reducer}(x, over: C)"))
}

/// `i / 2` in arithmetic with numbers.
pub fn division_of_index(span: Span) -> Diagnostic {
    Diagnostic::error(Code(246), "an index divides with a remainder, a number without: which is meant?")
        .label(span, "an index with a division, used as a number")
        .help("divide by a float for the exact quotient, as in position(i) / 2.0, or floor it: floor(position(i) / 2.0)")
}

pub fn into_wants_a_name(span: Span) -> Diagnostic {
    Diagnostic::error(Code(430), "`into:` names the axis of the sorted entries").label(span, "no name")
}

pub fn into_is_taken(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error(Code(431), format!("`{}` is a name already", name.name))
        .label(name.span, "the places of sorted entries are an axis of their own")
        .help("take a name that means nothing yet: sort(x, over: N, into: R)")
}

pub fn sorts_a_scalar(span: Span) -> Diagnostic {
    Diagnostic::error(Code(432), "a scalar has no axis to sort along").label(span, "sorted here")
}

pub fn keys_of_other_axes(span: Span, shown: &str) -> Diagnostic {
    Diagnostic::error(Code(433), "the keys that order rows have the one axis that is sorted")
        .label(span, format!("this is {shown}"))
        .help("sort(y, by: x, over: N) orders the rows y[n] by the numbers x[n]")
}

pub fn more_than_there_are(span: Span, count: &Dim, shown: &str) -> Diagnostic {
    Diagnostic::error(Code(434), format!("{count} entries are wanted of {shown}"))
        .label(span, "more than there are")
}

pub fn wants_a_truth_value(span: Span, label: &str, what: &str) -> Diagnostic {
    Diagnostic::error(Code(435), format!("`{label}:` is true or false, known when compiling"))
        .label(span, format!("this is {what}"))
}

/// A shift of positions leaves places for which there is no zero.
pub fn shift_without_fill(span: Span) -> Diagnostic {
    Diagnostic::error(Code(247), "`shift` of positions must say what stands where nothing is read")
        .label(span, "positions have no zero")
        .help(
            Help::from("write what to put there: shift(y, over: T, by: 1, fill: 0)")
                .argument(span, "fill: 0"),
        )
}

/// A number that stands for a position does not lie on the axis.
pub fn literal_position(span: Span, value: &Dim, size: &Dim) -> Diagnostic {
    Diagnostic::error(Code(248), format!("{value} is not provably a position on an axis of {size} entries"))
        .label(span, format!("must lie in 0..{size}"))
}

pub fn no_known_positions(span: Span, ty: Span) -> Diagnostic {
    Diagnostic::error(Code(436), "no positions on this axis")
        .label(ty, "every position lies in its range, by construction")
        .label(span, "not known to lie in it")
        .help("what is written out, `[0, 2, 1] as Idx[3]`, must be whole numbers from 0 on; computed numbers, `floor(u) as Idx[N]`, are moved to the nearer end")
}
