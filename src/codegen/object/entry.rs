//! A program as something that other programs call: what it is given, in which order, and what its codes mean.

use cranelift_entity::SecondaryMap;

use crate::axes::{Dim, DimVar};
use crate::kernel::{Buffer, BufferKind, Program};

/// One program of an object file. Its functions are `<name>_bind_built`, `<name>_workspace`, `<name>_run` and `<name>_message`.
pub struct Entry<'a> {
    pub program: &'a Program,
    pub name: String,
    /// The arguments of `bind_built` behind the plan and the build, in order: all dims that the program mentions.
    pub dims: Vec<DimVar>,
    /// Conditions on the dims, refused by a code of their own.
    pub demands: Vec<Demand>,
    /// Where each of the program's inputs comes from.
    pub inputs: Vec<Given<'a>>,
    /// Where each of the program's outputs goes that has an array of its own.
    pub outputs: Vec<Taken>,
    /// Inputs (by number) of i32 or i64 whose entries must lie in `0..bound`.
    pub positions: Vec<(usize, Dim)>,
    pub slots: Slots,
    /// What is written into weights behind everything else: their place, the first byte, the bytes.
    pub presets: Vec<(usize, usize, &'a [u8])>,
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given<'a> {
    /// A pointer argument of `run`.
    Argument,
    /// An i64 argument of `run`: the input is this one number.
    Number,
    /// A pointer in the table of weights.
    Weight(usize),
    /// The object file itself.
    Embedded(&'a [u8]),
}

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// To a pointer argument of `run`.
    Argument,
    /// To a pointer in the table of weights.
    Weight(usize),
}

/// Buffers that are never alive together share a slot of the workspace; a slot is as large as its largest buffer.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    pub of: SecondaryMap<Buffer, Option<usize>>,
    pub count: usize,
}

/// `left op right`.
#[derive(Clone, Debug)]
pub struct Demand {
    pub left: Dim,
    pub op: Comparison,
    pub right: Dim,
    /// As people read it.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    AtMost,
    Less,
}

/// An argument of `run`; all have 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    Plan,
    /// The input of this number, a pointer.
    Input(usize),
    /// The output of this number, a pointer.
    Output(usize),
    /// The table of pointers to the weights.
    Weights,
    /// The input of this number, an i64.
    Number(usize),
    Workspace,
    WorkspaceBytes,
    Threads,
}

impl Entry<'_> {
    /// The arguments of `run` in order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let of = |wanted: Given<'static>, make: fn(usize) -> Parameter| -> Vec<Parameter> {
            let found = self.inputs.iter().enumerate().filter(|(_, given)| **given == wanted);
            found.map(|(index, _)| make(index)).collect()
        };
        let mut all = vec![Parameter::Plan];
        all.extend(of(Given::Argument, Parameter::Input));
        let outputs = self.own_outputs().filter(|&index| self.outputs[index] == Taken::Argument);
        all.extend(outputs.map(Parameter::Output));
        let written = !self.presets.is_empty()
            || self.own_outputs().any(|index| self.outputs[index] != Taken::Argument);
        if written || self.inputs.iter().any(|given| matches!(given, Given::Weight(_))) {
            all.push(Parameter::Weights);
        }
        all.extend(of(Given::Number, Parameter::Number));
        all.extend([Parameter::Workspace, Parameter::WorkspaceBytes, Parameter::Threads]);
        all
    }

    /// The outputs that have an array of their own: not those that are written over an input.
    fn own_outputs(&self) -> impl Iterator<Item = usize> {
        let kind = |buffer: &Buffer| self.program.buffers[*buffer].kind;
        let own = self.program.outputs.iter().enumerate();
        own.filter(move |(_, buffer)| matches!(kind(buffer), BufferKind::Output(_))).map(|(index, _)| index)
    }

    /// Bytes of weights that the object file holds.
    pub fn held(&self) -> usize {
        let embedded =
            self.inputs.iter().map(|given| if let Given::Embedded(bytes) = given { bytes.len() } else { 0 });
        embedded.sum::<usize>() + self.presets.iter().map(|(_, _, bytes)| bytes.len()).sum::<usize>()
    }

    /// What each code means, from 0.
    pub fn messages(&self) -> Vec<String> {
        let fixed = Refusal::ALL.iter().map(|refusal| refusal.text().to_owned());
        fixed.chain(self.demands.iter().map(|demand| format!("the dims break `{}`", demand.text))).collect()
    }
}

/// The codes that every program has; demands follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    None,
    Processor,
    Build,
    Null,
    Negative,
    TooLarge,
    Unbound,
    Workspace,
    Position,
}

impl Refusal {
    pub const ALL: [Refusal; 9] = [
        Refusal::None,
        Refusal::Processor,
        Refusal::Build,
        Refusal::Null,
        Refusal::Negative,
        Refusal::TooLarge,
        Refusal::Unbound,
        Refusal::Workspace,
        Refusal::Position,
    ];

    pub fn code(self) -> i64 {
        self as i64
    }

    /// A word for it, as constants are called.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::None => "OK",
            Refusal::Processor => "E_PROCESSOR",
            Refusal::Build => "E_BUILD",
            Refusal::Null => "E_NULL",
            Refusal::Negative => "E_NEGATIVE",
            Refusal::TooLarge => "E_TOO_LARGE",
            Refusal::Unbound => "E_UNBOUND",
            Refusal::Workspace => "E_WORKSPACE",
            Refusal::Position => "E_POSITION",
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Refusal::None => "fine",
            Refusal::Processor => "this processor lacks instructions that the model was compiled with",
            Refusal::Build => "the header belongs to another build of the library",
            Refusal::Null => "a pointer is null",
            Refusal::Negative => "a dim is negative",
            Refusal::TooLarge => "these dims need more memory than can be addressed",
            Refusal::Unbound => "the plan was not made by this model's bind, or bind refused",
            Refusal::Workspace => "the workspace is too small",
            Refusal::Position => "an entry of an integer input lies outside of its range",
        }
    }
}
