//! Where the size of an axis comes from: what an error about shapes points at besides the operation that fails.

use std::sync::Arc;

use crate::axes::Dim;
use crate::base::{Name, Span};
use crate::diag::{Diagnostic, Help, Label};

use super::core::*;
use super::errors;
use super::state::{Checker, Checking};

/// How an axis got its size, for people: nothing is decided by it.
#[derive(Clone, Debug)]
pub struct Origin {
    pub why: Why,
    /// The name under which it stands there.
    pub name: Name,
    pub span: Span,
    /// The calls in which it was made.
    pub path: Option<Arc<CallPath>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A type names it.
    Declared,
    /// A binder with a written range.
    Range,
    /// A column of a data file.
    Column,
    /// An operation's result.
    Made,
}

/// At most so many letters of a size are shown inside a message; a longer one gets a name, and a note says what it is.
const LONG: usize = 40;

impl Checker<'_> {
    /// Notes how an axis that was made just now got its size.
    pub fn set_origin(&mut self, axis: AxisVar, why: Why, name: &Name) {
        let origin = (*self.core.axes[axis].origin).clone();
        self.core.axes[axis].origin = Arc::new(Origin { why, name: name.clone(), ..origin });
    }

    /// The error with the places that fixed the sizes of these axes, as far as they are others than it shows already; and the
    /// conditions that are known of two of them together.
    pub fn traced(&self, mut error: Diagnostic, axes: &[AxisVar]) -> Diagnostic {
        for &axis in axes {
            let Some((place, text)) = self.origin_of(axis) else { continue };
            // A type that is pointed at as a whole says its sizes itself.
            let said = |label: &Label| {
                let size = format!("`{}`", self.show_axis(axis));
                let inside = label.span.file == place.file
                    && label.span.start <= place.start
                    && place.end <= label.span.end;
                label.span == place || inside && label.message.contains(&size) && !text.contains("` is `")
            };
            if !error.labels.iter().any(said) {
                error = error.label(place, text);
            }
        }
        if let [left, right] = axes
            && let (Some(left), Some(right)) = (self.size_of(*left), self.size_of(*right))
        {
            let about = |constraint: &Constraint, dim: &Dim| {
                dim.vars().iter().any(|var| constraint.left.mentions(var) || constraint.right.mentions(var))
            };
            let known = |constraint: &&Constraint| about(constraint, &left) && about(constraint, &right);
            if let Some(constraint) = self.core.constraints.iter().find(known)
                && !error.labels.iter().any(|label| label.span == constraint.span)
            {
                error = error.label(constraint.span, format!("what is known of them: {}", constraint.text));
            }
        }
        error
    }

    /// The error with the place that names the axis of which a value's entries are positions.
    pub fn traced_range(&self, error: Diagnostic, elem: &Elem) -> Diagnostic {
        let Elem::Idx(size, root) = elem else { return error };
        let same = |root: &Root| self.core.roots[*root].size == *size;
        let Some(root) = root.or_else(|| self.core.roots.keys().find(same)) else { return error };
        let info = &self.core.roots[root];
        if error.labels.iter().any(|label| label.span == info.span) {
            return error;
        }
        error.label(info.span, format!("`{}` is declared here", info.name))
    }

    /// The place that fixed the size of an axis, and what to say there: in the frame that is open, or the call that gave it.
    fn origin_of(&self, axis: AxisVar) -> Option<(Span, String)> {
        self.size_of(axis)?;
        let size = self.show_axis(axis);
        let origin = &*self.core.axes[axis].origin;
        let as_shown = self.size_of(axis)?.to_string() == *origin.name;
        let (made_in, open) = (calls(origin.path.as_ref()), calls(self.path.as_ref()));
        let shared = made_in.iter().zip(&open).take_while(|(made, open)| Arc::ptr_eq(made, open)).count();
        if let Some(call) = made_in.get(shared) {
            // A type of the user's own that says the size is clearer than the call.
            if origin.why == Why::Declared && as_shown && origin.span.file == call.span.file {
                return Some((origin.span, format!("`{size}` is declared here")));
            }
            let callee = if call.callee == "fn" { "the function" } else { &format!("`{}`", call.callee) };
            return Some((call.span, format!("{callee} gives `{size}`")));
        }
        let text = match origin.why {
            Why::Declared if as_shown => format!("`{size}` is declared here"),
            Why::Declared => format!("`{}` is `{size}` here", origin.name),
            Why::Range => format!("`{}` runs over `{size}`", origin.name),
            Why::Column => format!("`{}` has `{size}` in the file", origin.name),
            Why::Made => format!("`{size}` comes from here"),
        };
        Some((origin.span, text))
    }

    /// The first two axes in which two types differ, where both have as many.
    pub fn first_difference(&self, have: &[AxisVar], want: &[AxisVar]) -> Vec<AxisVar> {
        let mut pairs = have.iter().zip(want).filter(|_| have.len() == want.len());
        let differ = pairs.find(|&(&have, &want)| match (self.size_of(have), self.size_of(want)) {
            (Some(have), Some(want)) => !self.same_dim(&have, &want),
            _ => false,
        });
        differ.map_or(Vec::new(), |(&have, &want)| vec![have, want])
    }

    /// An axis is given, at its place, where another one is declared.
    pub fn other_axis<T>(&mut self, given: (AxisVar, Span), wanted: (AxisVar, Span)) -> Checking<T> {
        let (have, want) = (self.at_axis(given.0, given.1), self.at_axis(wanted.0, wanted.1));
        let error = errors::axis_mismatch(have, want).maybe(self.sorted_instead(given.0, wanted));
        self.fail(self.traced(error, &[given.0, wanted.0]))
    }

    /// Operands of an operator whose axes differ: one of the shorter value's and the one of the longest that it meets.
    pub fn unlike_operands<T>(
        &mut self,
        operands: &[(Val, Span)],
        (short, have): (Val, AxisVar),
        (long, want): (Val, AxisVar),
        span: Span,
    ) -> Checking<T> {
        let first = operands.iter().position(|(val, _)| *val == short);
        let swapped = first < operands.iter().position(|(val, _)| *val == long);
        let mut sides = [(long, want), (short, have)];
        if swapped {
            sides.reverse();
        }
        let sides_shown = sides.map(|(val, axis)| (self.show_val(val), self.show_axis(axis)));
        let advice = self.pairing(long, short, have, want);
        let error = errors::shapes_differ(span, &sides_shown, advice);
        self.fail(self.traced(error, &sides.map(|(_, axis)| axis)))
    }

    /// The places of sorted entries stand where the axis that was sorted is declared.
    fn sorted_instead(&self, given: AxisVar, (wanted, place): (AxisVar, Span)) -> Option<Help> {
        let size = self.size_of(given)?;
        let places = size.as_var()?;
        let (_, of) = self.core.fresh.iter().find(|(name, _)| name == places)?;
        if self.size_of(wanted)? != *of {
            return None;
        }
        let free = |name: &&str| {
            self.lookup(name).is_none() && self.core.roots.values().all(|root| *root.name != **name)
        };
        let name = ["R", "P", "Q", "K"].into_iter().find(free)?;
        let origin = &self.core.axes[given].origin;
        // Without a name of their own, and sorted in this very definition.
        let unnamed = origin.name.ends_with('\'');
        let here = unnamed && origin.path.is_none() && self.path.is_none() && place.file == origin.span.file;
        Some(errors::places_of_a_sort(origin.span, &of.to_string(), here.then_some(place), name))
    }

    /// What would pair the entries of two operands.
    fn pairing(&self, long: Val, short: Val, have: AxisVar, want: AxisVar) -> Pairing {
        let one = |axis: AxisVar| self.size_of(axis).and_then(|size| size.as_const()) == Some(1);
        if one(have) || one(want) {
            return Pairing::Stretched;
        }
        let (longer, shorter) = (self.visible(long), self.visible(short));
        let names = index_names(&longer.iter().map(|&axis| self.show_axis(axis)).collect::<Vec<_>>());
        let mut places = Vec::new();
        for &axis in shorter {
            let same = |&other: &usize| self.size_of(longer[other]) == self.size_of(axis);
            match (0..longer.len()).find(|other| same(other) && !places.contains(other)) {
                Some(place) => places.push(place),
                None => break,
            }
        }
        if places.len() == shorter.len() {
            let at: Vec<&str> = places.iter().map(|&place| names[place].as_str()).collect();
            return Pairing::Indices { all: names.join(", "), short: at.join(", ") };
        }
        let named = |axis: AxisVar| self.size_of(axis).is_some_and(|size| size.as_var().is_some());
        match named(have) && named(want) {
            true => Pairing::TwoNames,
            false => Pairing::None,
        }
    }

    // ---- long sizes ----------------------------------------------------------------------------

    /// A size as a message shows it: where it is long by a name that is explained in a note, the user's own where there is one.
    pub fn shown_size(&self, size: &Dim, named: Option<&Name>) -> String {
        let text = size.to_string();
        if text.chars().count() <= LONG {
            return text;
        }
        let mut legend = self.legend.borrow_mut();
        if let Some((name, _)) = legend.iter().find(|(_, known)| *known == text) {
            return name.clone();
        }
        let own = named.filter(|own| {
            own.chars().count() <= LONG && **own != *text && legend.iter().all(|(name, _)| *name != ***own)
        });
        let name = own.map_or_else(|| format!("size{}", legend.len() + 1), Name::to_string);
        legend.push((name.clone(), text));
        name
    }

    /// The notes that explain the names which `shown_size` has given in this message; they are forgotten then.
    pub fn with_legend(&self, mut error: Diagnostic) -> Diagnostic {
        for (name, size) in self.legend.take() {
            let used = mentions(&error.message, &name)
                || error.helps.iter().any(|help| mentions(&help.text, &name))
                || error.labels.iter().any(|label| mentions(&label.message, &name));
            if used {
                error = error.with_note(format!("where {name} = {size}"));
            }
        }
        error
    }
}

/// How the entries of two operands could be paired.
pub enum Pairing {
    /// An axis of size 1 was meant to be stretched.
    Stretched,
    /// All axes of the shorter value are axes of the longer one, but not its last ones: by which indices each is read.
    Indices {
        all: String,
        short: String,
    },
    /// Two names meet, of which each may have any size.
    TwoNames,
    None,
}

/// Names of indices for axes: `n` for N, a letter that is free for any other.
fn index_names(axes: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for axis in axes {
        let own = axis.to_lowercase();
        let plain = own != *axis && own.chars().all(|c| c.is_alphanumeric() || c == '_');
        let mut free = ["i", "j", "k", "l", "p", "q", "r", "s"].map(String::from).into_iter();
        let name = match plain && !names.contains(&own) {
            true => Some(own),
            false => free
                .find(|name| !names.contains(name) && !axes.iter().any(|axis| axis.to_lowercase() == *name)),
        };
        names.push(name.unwrap_or_else(|| format!("i{}", names.len())));
    }
    names
}

/// Whether a word stands in a text by itself.
fn mentions(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|own| own == word)
}

/// The calls of a path, outermost first.
fn calls(path: Option<&Arc<CallPath>>) -> Vec<Arc<CallPath>> {
    let mut found: Vec<_> = std::iter::successors(path.cloned(), |call| call.outer.clone()).collect();
    found.reverse();
    found
}
