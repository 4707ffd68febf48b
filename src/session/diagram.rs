//! A definition as a picture of boxes: its inputs, the layers and functions that its body calls, and what stands between them.
//!
//! A box is one call of the body, however much lies within it; what the body writes without a call is one box for each expression.
//! What only renames, reads or lays out entries is no box of its own: arrows pass through it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::axes::{Dim, DimVar};
use crate::base::{Name, Sources, Span};
use crate::check::core::{BlockId, CallPath, Core, Form, Val};
use crate::check::rules::arguments;
use crate::check::show_val;

/// What a box is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BoxKind {
    Input,
    /// A call that owns parameters.
    Layer,
    /// A call that owns none, or an expression.
    Function,
    Output,
}

#[derive(Clone, Debug)]
pub struct DiagramBox {
    pub kind: BoxKind,
    /// The text of the call without what flows into it: `conv2d(16, 3)`.
    pub label: String,
    /// The type of what it gives: `f32[H, W, 16]`.
    pub gives: String,
    /// How many numbers it owns.
    pub parameters: Option<Dim>,
}

/// Boxes in order of evaluation, and arrows between them.
#[derive(Clone, Debug, Default)]
pub struct Diagram {
    pub boxes: Vec<DiagramBox>,
    pub arrows: BTreeSet<(usize, usize)>,
}

/// Text in a box, before it is cut.
const WIDTH: usize = 44;

/// The picture of a definition; `dims` are the sizes that were given.
pub fn diagram(core: &Core, sources: &Sources, dims: &BTreeMap<DimVar, i64>) -> Diagram {
    let mut drawing = Drawing {
        core,
        sources,
        dims,
        diagram: Diagram::default(),
        home: HashMap::new(),
        calls: HashMap::new(),
        places: HashMap::new(),
        expressions: HashMap::new(),
        joined: HashMap::new(),
    };
    for input in &core.inputs {
        drawing.put(BoxKind::Input, input.name.to_string(), String::new(), None);
    }
    if let Some(body) = core.body {
        drawing.block(body);
    }
    for output in &core.outputs {
        let label = if core.outputs.len() == 1 { "result".to_owned() } else { output.name.to_string() };
        let at = drawing.put(BoxKind::Output, label, show_val(core, output.val), None);
        drawing.arrows_to(at, output.val);
    }
    drawing.finish()
}

struct Drawing<'a> {
    core: &'a Core,
    sources: &'a Sources,
    dims: &'a BTreeMap<DimVar, i64>,
    diagram: Diagram,
    /// The boxes that a value comes from: one, or those that arrows pass through to.
    home: HashMap<Val, BTreeSet<usize>>,
    /// The box of a call of the body.
    calls: HashMap<*const CallPath, usize>,
    /// The box of the call that was made last at a place.
    places: HashMap<Span, usize>,
    /// The boxes of what the body computes without a call, and where it stands.
    expressions: HashMap<usize, Span>,
    /// Boxes that became part of another.
    joined: HashMap<usize, usize>,
}

impl Drawing<'_> {
    fn put(&mut self, kind: BoxKind, label: String, gives: String, parameters: Option<Dim>) -> usize {
        self.diagram.boxes.push(DiagramBox { kind, label, gives, parameters });
        self.diagram.boxes.len() - 1
    }

    fn arrows_to(&mut self, to: usize, val: Val) {
        let from: Vec<usize> = self.home.get(&val).into_iter().flatten().copied().collect();
        self.diagram.arrows.extend(from.into_iter().filter(|&from| from != to).map(|from| (from, to)));
    }

    fn block(&mut self, block: BlockId) {
        for &val in &self.core.blocks[block].vals {
            self.val(val);
        }
    }

    fn val(&mut self, val: Val) {
        let data = &self.core.vals[val];
        let from = arguments(self.core, val);
        // Static scalars are inputs, too, and have no boxes.
        if let Form::Input(index) = data.form {
            if index < self.core.inputs.len() {
                self.diagram.boxes[index].gives = show_val(self.core, val);
                self.home.insert(val, [index].into());
            }
            return;
        }
        if data.path.is_none() && passes_through(&data.form) {
            if let (Form::Component { .. }, Some(&at)) =
                (&data.form, from.first().and_then(|of| self.home.get(of)?.first()))
            {
                self.diagram.boxes[at].gives = show_val(self.core, val);
            }
            let through = from.iter().filter_map(|of| self.home.get(of)).flatten().copied().collect();
            self.home.insert(val, through);
            return;
        }
        let at = self.box_of(val);
        // What happens inside of a loop belongs to its box.
        if let Some(body) = body_of(&data.form) {
            for inner in self.all_within(body) {
                self.home.insert(inner, [at].into());
            }
            for inner in self.all_within(body) {
                arguments(self.core, inner).into_iter().for_each(|of| self.arrows_to(at, of));
            }
        }
        from.into_iter().for_each(|of| self.arrows_to(at, of));
        self.home.insert(val, [at].into());
        // The last value that a call makes is what it gives.
        self.diagram.boxes[at].gives = show_val(self.core, val);
    }

    /// The box that a value is computed in.
    fn box_of(&mut self, val: Val) -> usize {
        let data = &self.core.vals[val];
        let Some(call) = data.path.as_ref().map(outermost) else { return self.expression(val) };
        if let Some(&at) = self.calls.get(&Arc::as_ptr(call)) {
            return at;
        }
        let owner = call.instance.as_ref().filter(|name| !name.is_empty());
        let parameters =
            owner.map(|owner| self.parameters_of(owner)).filter(|count| *count != Dim::constant(0));
        let kind = if parameters.is_some() { BoxKind::Layer } else { BoxKind::Function };
        let at = self.put(kind, self.text(call.span), String::new(), parameters);
        self.calls.insert(Arc::as_ptr(call), at);
        self.places.insert(call.span, at);
        at
    }

    /// The box of something that the body computes by itself: parts of one expression share theirs.
    fn expression(&mut self, val: Val) -> usize {
        let span = self.core.vals[val].span;
        // The loop of a `stack` stands in the body, what its members own within the call.
        if let Some(&at) = self.places.get(&span) {
            return at;
        }
        // Calls, inputs and other expressions are what flows into it.
        let arguments = arguments(self.core, val);
        let flows = arguments.iter().filter_map(|of| self.home.get(of)).flatten().copied();
        let parts: BTreeSet<usize> =
            flows.filter(|at| self.expressions.get(at).is_some_and(|part| covers(span, *part))).collect();
        let mut parts = parts.into_iter();
        let at =
            parts.next().unwrap_or_else(|| self.put(BoxKind::Function, String::new(), String::new(), None));
        for part in parts {
            self.joined.insert(part, at);
            self.expressions.remove(&part);
        }
        self.diagram.boxes[at].label = self.text(span);
        self.expressions.insert(at, span);
        at
    }

    /// The picture with the parts of an expression in the one box that they share.
    fn finish(self) -> Diagram {
        let Diagram { boxes, arrows } = self.diagram;
        let home = |mut at: usize| {
            while let Some(&into) = self.joined.get(&at) {
                at = into;
            }
            at
        };
        let kept: Vec<usize> = (0..boxes.len()).filter(|at| !self.joined.contains_key(at)).collect();
        let number = |at: usize| kept.partition_point(|&kept| kept < home(at));
        let arrows = arrows.into_iter().map(|(from, to)| (number(from), number(to)));
        Diagram {
            arrows: arrows.filter(|(from, to)| from != to).collect(),
            boxes: boxes
                .into_iter()
                .enumerate()
                .filter(|(at, _)| home(*at) == *at)
                .map(|(_, shown)| shown)
                .collect(),
        }
    }

    fn all_within(&self, block: BlockId) -> Vec<Val> {
        let mut all = Vec::new();
        for &val in &self.core.blocks[block].vals {
            if let Some(body) = body_of(&self.core.vals[val].form) {
                all.extend(self.all_within(body));
            }
            all.push(val);
        }
        all
    }

    /// The number of entries of all parameters of an instance and of what it owns.
    fn parameters_of(&self, owner: &Name) -> Dim {
        let owned =
            self.core.params.iter().filter(|slot| {
                slot.path.strip_prefix(owner.as_str()).is_some_and(|rest| rest.starts_with('.'))
            });
        let known: BTreeMap<DimVar, Dim> =
            self.dims.iter().map(|(var, value)| (var.clone(), Dim::constant(*value))).collect();
        owned.fold(Dim::constant(0), |sum, slot| {
            let entries = slot.axes.iter().try_fold(Dim::constant(1), |count, &axis| {
                self.core.size(axis).substitute(&known).and_then(|size| count.mul(&size))
            });
            entries.and_then(|entries| sum.add(&entries)).unwrap_or(sum)
        })
    }

    /// What the program says there, in a line: of a pipe only what the value flows into.
    fn text(&self, span: Span) -> String {
        let text = self.sources.slice(span);
        let last = last_stage(text);
        let line = last.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

fn outermost(path: &Arc<CallPath>) -> &Arc<CallPath> {
    let mut call = path;
    while let Some(outer) = &call.outer {
        call = outer;
    }
    call
}

fn body_of(form: &Form) -> Option<BlockId> {
    match form {
        Form::Scan { body, .. } | Form::Checkpoint { body } => Some(*body),
        _ => None,
    }
}

fn covers(outer: Span, inner: Span) -> bool {
    outer.file == inner.file && outer.start <= inner.start && inner.end <= outer.end
}

/// Values that say where entries come from, and compute nothing.
fn passes_through(form: &Form) -> bool {
    matches!(
        form,
        Form::Param(_)
            | Form::State(_)
            | Form::Carry(..)
            | Form::Seed
            | Form::Step
            | Form::Steps
            | Form::Const(_)
            | Form::Size(_)
            | Form::Position(_)
            | Form::Number(_)
            | Form::Inside(..)
            | Form::Read { .. }
            | Form::Rename { .. }
            | Form::AsIndex(_)
            | Form::Tabulate { .. }
            | Form::Alias { .. }
            | Form::StopGradient(_)
            | Form::Component { .. }
            | Form::Assume { .. }
    )
}

/// `x |> f |> g(a, b |> c)`: `g(a, b |> c)`
fn last_stage(text: &str) -> &str {
    let (mut depth, mut from) = (0i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '|' if depth == 0 && text[at..].starts_with("|>") => from = at + 2,
            _ => {}
        }
    }
    text[from..].trim()
}
