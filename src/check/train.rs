//! `train` blocks: data, models, loss, metrics and optimizer become two cores, the training step and the evaluation.

use std::sync::Arc;

use nn_grammar::ast::{self, ClauseKind, ExprKind};

use crate::axes::DimVar;
use crate::base::{Name, Span};
use crate::diag::Diagnostic;

use super::accumulate::Phase;
use super::core::*;
pub use super::data::{DataInput, DataSource, Header, Headers};
use super::errors;
pub use super::expect::{Expectation, Figure};
use super::keep::clause;
pub use super::keep::{Keep, average_path};
pub use super::optimize::below;
use super::optimize::labelled;
use super::program::{Named, Program, Scope};
use super::state::{Checker, Checking, Frame, Mode, Owner, Reported};
use super::value::{Num, Value};

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--set lr=3e-4`
    pub statics: Vec<(Name, Value)>,
    pub epochs: Option<usize>,
    pub steps: Option<u64>,
    pub batch: Option<usize>,
}

/// Which samples train and which test.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// All train; they are evaluated too.
    None,
    /// Drawn at random with this seed.
    Fraction { test: f64, seed: u64 },
    /// Chosen one by one.
    Chosen(Vec<Side>),
}

/// What a sample is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Train,
    Test,
    Neither,
}

/// How an output of the evaluation adds up over batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// The output is the sum over the batch's samples.
    Sum,
    /// The output is one number for the batch, weighted by its samples.
    PerBatch,
}

/// A checked train block.
#[derive(Clone, Debug)]
pub struct TrainPlan {
    pub name: Name,
    pub span: Span,
    pub sources: Vec<DataSource>,
    /// In the order of both cores' inputs.
    pub inputs: Vec<DataInput>,
    /// The dim of the samples, and how many there are. Without samples (`None`) the count is of the steps of an epoch.
    pub samples: Option<DimVar>,
    pub count: usize,
    pub split: Split,
    pub batch: usize,
    pub epochs: usize,
    /// How many steps there are in all, where `steps` says so. Without samples the last epoch alone may be short.
    pub length: Option<u64>,
    /// What the training is to reach.
    pub expects: Vec<Expectation>,
    /// Of which epoch the weights are kept; without it, of the last.
    pub keep: Option<Keep>,
    /// After how many evaluations that improve nothing the training ends.
    pub patience: Option<u64>,
    /// After every so many epochs the measures are taken, and after the last.
    pub evaluate_every: usize,
    /// One for each optimizer, run in this order on each batch. Each owns all parameters, and the states of its own optimizer.
    pub steps: Vec<StepPlan>,
    /// Weights that are loaded before the first step.
    pub inits: Vec<InitPlan>,
    /// Inference: the loss, then the metrics.
    pub evaluate: Core,
    /// The names of `evaluate`'s outputs, and how they add up.
    pub measures: Vec<(Name, Weighting)>,
}

/// What one optimizer does.
#[derive(Clone, Debug)]
pub struct StepPlan {
    /// Training: the loss is its output, parameters and states are written.
    pub core: Core,
    pub loss: Name,
    /// It is done in steps whose number is a multiple of this.
    pub every: u64,
    /// The same step for a batch that is divided.
    pub in_parts: Option<InParts>,
}

impl StepPlan {
    /// What a training runs on samples: all of the step, or the gradients of a part.
    pub fn run_core(&self) -> &Core {
        self.in_parts.as_ref().map_or(&self.core, |parts| &parts.gradients)
    }
}

/// A step that takes its batch in parts: it is `core` up to rounding, where the loss is a mean over samples.
#[derive(Clone, Debug)]
pub struct InParts {
    /// How many.
    pub count: usize,
    /// Run for each part: adds up its gradients; the loss is its output.
    pub gradients: Core,
    /// Run after the last part. It has the same inputs, and reads none of them.
    pub update: Core,
}

/// Weights of a file for one instance.
#[derive(Clone, Debug)]
pub struct InitPlan {
    /// The path of the instance, empty for the only model.
    pub instance: Name,
    pub path: Name,
    /// Only what lies below this path in the instance.
    pub only: Option<Name>,
    pub span: Span,
}

/// Passes over the samples, where nothing else is said.
const EPOCHS: usize = 10;

/// Checks a train block; the diagnostics hold warnings too.
pub fn check_train(
    program: &Program,
    train: &Arc<ast::Train>,
    span: Span,
    scope: Scope,
    headers: &dyn Headers,
    overrides: &Overrides,
    wide: bool,
) -> (Option<TrainPlan>, Vec<Diagnostic>) {
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    let mut walk = |training, turn, phase| {
        let aim = Aim { mode: Mode { training, wide, ..Mode::default() }, turn, phase };
        let mut walk = TrainWalk::new(program, train, scope, headers, overrides, aim);
        let done = walk.walk(span);
        let found = std::mem::take(&mut walk.cx.diagnostics);
        // The first walk has told the warnings.
        let first = diagnostics.is_empty() && training && turn == 0 && phase == Phase::Whole;
        diagnostics.extend(found.into_iter().filter(|diagnostic| first || diagnostic.is_error()));
        done.ok().map(|()| walk)
    };
    let walked = (|| {
        let mut first = walk(true, 0, Phase::Whole)?;
        let mut steps = Vec::new();
        // Each optimizer sees what the one before it has done: a walk, and a program, of its own.
        for turn in 0..optimizers(train).count() {
            let mut plan = match turn {
                0 => first.step_plan(),
                _ => walk(true, turn, Phase::Whole)?.step_plan(),
            };
            if first.accumulate > 1 {
                let gradients = walk(true, turn, Phase::Gradients)?.step_plan().core;
                let update = walk(true, turn, Phase::Update)?.step_plan().core;
                plan.in_parts = Some(InParts { count: first.accumulate, gradients, update });
            }
            steps.push(plan);
        }
        Some((first, steps, walk(false, 0, Phase::Whole)?))
    })();
    let Some((step, steps, evaluate)) = walked else { return (None, diagnostics) };
    let samples = evaluate.samples.is_some().then(|| DimVar::new("B"));
    let batch = if samples.is_some() { step.batch.unwrap_or(32) } else { 1 };
    let mut steps = steps;
    if let Some((bytes, span)) = step.memory {
        for step in &mut steps {
            // The whole step is what libraries run; a training runs the parts where there are any.
            let whole = [(&mut step.core, batch)];
            let part = step.in_parts.as_mut();
            let part = part.map(|parts| (&mut parts.gradients, batch.div_ceil(parts.count)));
            for (core, batch) in whole.into_iter().chain(part) {
                let dims = samples.iter().map(|samples| (samples.clone(), batch as i64)).collect();
                core.budget = Some(Budget { bytes, dims, span });
            }
        }
    }
    let length = overrides.steps.or(step.steps);
    // Without samples an epoch is a tenth of the steps.
    let count = match (step.count, length) {
        (Some(count), _) => count,
        (None, length) => length.unwrap_or(EPOCHS as u64).div_ceil(EPOCHS as u64) as usize,
    };
    let plan = TrainPlan {
        name: train.name.as_ref().map_or_else(|| Name::new("train"), |name| name.name.clone()),
        span,
        sources: evaluate.cx.files.sources,
        inputs: evaluate.cx.files.inputs,
        samples,
        count,
        split: step.split,
        batch,
        epochs: step.epochs.unwrap_or(EPOCHS),
        length: if step.epochs.is_some() && overrides.steps.is_none() { None } else { length },
        expects: evaluate.expects,
        keep: evaluate.keep,
        patience: step.patience,
        evaluate_every: step.evaluate_every,
        steps,
        inits: step.inits,
        evaluate: evaluate.cx.core,
        measures: evaluate.measures,
    };
    (Some(plan), diagnostics)
}

/// What a walk is for.
struct Aim {
    mode: Mode,
    /// Which optimizer's step.
    turn: usize,
    phase: Phase,
}

/// One walk over the clauses, for training or for evaluation.
pub(super) struct TrainWalk<'a> {
    pub(super) cx: Checker<'a>,
    train: Arc<ast::Train>,
    overrides: &'a Overrides,
    pub(super) samples: Option<AxisVar>,
    pub(super) count: Option<usize>,
    split: Split,
    batch: Option<usize>,
    epochs: Option<usize>,
    steps: Option<u64>,
    expects: Vec<Expectation>,
    keep: Option<Keep>,
    patience: Option<u64>,
    evaluate_every: usize,
    /// Which optimizer's step is walked.
    pub(super) turn: usize,
    pub(super) losses: Vec<Loss>,
    pub(super) inits: Vec<InitPlan>,
    pub(super) every: u64,
    pub(super) phase: Phase,
    /// In how many parts a batch is taken.
    accumulate: usize,
    /// What the temporaries of a step may take at once: bytes, and the clause that says so.
    pub(super) memory: Option<(u64, Span)>,
    pub(super) measures: Vec<(Name, Weighting)>,
}

/// A loss of the batch.
pub struct Loss {
    pub name: Name,
    pub val: Val,
}

/// The values of the `optim` clauses, in order.
pub fn optimizers(train: &ast::Train) -> impl Iterator<Item = &ast::Expr> {
    train.clauses.iter().filter_map(|clause| match &clause.kind {
        ClauseKind::Word { word, value, .. } if word.name == "optim" => Some(value),
        _ => None,
    })
}

impl<'a> TrainWalk<'a> {
    fn new(
        program: &'a Program,
        train: &Arc<ast::Train>,
        scope: Scope,
        headers: &'a dyn Headers,
        overrides: &'a Overrides,
        aim: Aim,
    ) -> TrainWalk<'a> {
        let mut cx = Checker::new(program, aim.mode);
        cx.files.headers = Some(headers);
        cx.frame = Frame { scope: Some(scope), owner: Some(Owner::default()), ..Frame::default() };
        TrainWalk {
            cx,
            train: train.clone(),
            overrides,
            samples: None,
            count: None,
            split: Split::None,
            batch: overrides.batch,
            epochs: overrides.epochs,
            steps: None,
            expects: Vec::new(),
            keep: None,
            patience: None,
            evaluate_every: 1,
            turn: aim.turn,
            losses: Vec::new(),
            inits: Vec::new(),
            every: 1,
            phase: aim.phase,
            accumulate: 1,
            memory: None,
            measures: Vec::new(),
        }
    }

    fn walk(&mut self, span: Span) -> Checking<()> {
        let train = self.train.clone();
        self.statics(&train)?;
        let one_model = train.clauses.iter().filter(|clause| self.makes_model(clause)).count() == 1;
        let mut failed = false;
        for clause in &train.clauses {
            failed |= self.clause(clause, one_model).is_err();
        }
        if failed {
            return Err(Reported);
        }
        if self.losses.is_empty() {
            return self.cx.fail(errors::train_without(span, "loss", "loss cross_entropy(net(d.x), d.y)"));
        }
        if self.count.is_none() && self.steps.is_none() {
            return self.cx.fail(errors::train_without(span, "data", "data d = npz(\"data/digits.npz\")"));
        }
        if let (None, Some(parts)) = (self.samples, clause(&train, "accumulate")) {
            return self.cx.fail(errors::nothing_to_divide(parts.span));
        }
        if self.cx.mode.training {
            let Some(value) = optimizers(&train).nth(self.turn) else {
                return self.cx.fail(errors::train_without(span, "optim", "optim adam(1e-3)"));
            };
            let average = self.averaging(&train)?;
            self.optimizer(value, average.as_ref())?;
        } else {
            self.keep = self.kept(&train)?;
            self.expects = self.expectations(&train)?;
        }
        Ok(())
    }

    fn statics(&mut self, train: &ast::Train) -> Checking<()> {
        for (name, _) in &self.overrides.statics {
            if !train.statics.iter().any(|param| param.name.name == *name) {
                let known: Vec<Name> = train.statics.iter().map(|param| param.name.name.clone()).collect();
                let block = train.name.as_ref().map_or("train", |name| name.as_str());
                return self.cx.fail(errors::unknown_setting(name, block, &known));
            }
        }
        for param in &train.statics {
            let given = self.overrides.statics.iter().find(|(name, _)| *name == param.name.name);
            let value = match (given, &param.default) {
                (Some((_, value)), _) => value.clone(),
                (None, Some(default)) => self.cx.eval(default)?,
                (None, None) => {
                    let block = train.name.as_ref().map_or("train", |name| name.as_str());
                    return self.cx.fail(errors::missing_static(param.span, block, param));
                }
            };
            let value = self.cx.static_value(param, value, param.span)?;
            self.cx.bind(param.name.name.clone(), value);
        }
        Ok(())
    }

    /// `let net = classifier()`: a clause that makes an instance.
    fn makes_model(&self, clause: &ast::Clause) -> bool {
        let ClauseKind::Let(binding) = &clause.kind else { return false };
        let callee = match &binding.value.kind {
            ExprKind::Call { callee, .. } => callee.as_name(),
            _ => binding.value.as_name(),
        };
        let named = callee.and_then(|name| self.cx.program.resolve(self.cx.scope(), &name.name));
        matches!(named, Some(Named::Def(def, _)) if def.head != ast::Head::Fn)
    }

    fn clause(&mut self, clause: &ast::Clause, one_model: bool) -> Checking<()> {
        match &clause.kind {
            ClauseKind::Let(binding) => {
                let value = match self.cx.eval(&binding.value) {
                    Ok(value) => value,
                    // Using its name is no second error.
                    Err(reported) => return self.cx.bind_result(&binding.pat, Err(reported)),
                };
                if let (Value::Func(func), true) = (&value, one_model && self.makes_model(clause)) {
                    // The only model's parameters have no prefix.
                    if let Some(instance) = &func.instance {
                        instance.path.get_or_init(|| Name::new(""));
                    }
                } else if let ast::PatKind::Name(name) = &binding.pat.kind {
                    self.cx.name_instance(&name.name, &value);
                }
                self.cx.bind_pattern(&binding.pat, value)
            }
            ClauseKind::Word { word, name, value } => self.word(word, name.as_ref(), value),
            ClauseKind::Quantity { word, value, unit } => self.quantity(word, value, unit, clause.span),
            ClauseKind::Error { .. } => Err(Reported),
        }
    }

    fn word(&mut self, word: &ast::Ident, name: Option<&ast::Ident>, value: &ast::Expr) -> Checking<()> {
        match &*word.name {
            "data" => {
                let read = self.data(name, value);
                if let (Err(_), Some(name)) = (&read, name) {
                    self.cx.bind(name.name.clone(), Value::Poison);
                }
                read
            }
            "split" => self.split(value),
            "loss" => self.loss(name, value),
            "metric" => {
                // Looking at a model writes none of its states.
                let before = self.cx.states_written();
                let measured = self.cx.eval(value);
                self.cx.forget_writes(before);
                let measured = measured?;
                let measured = self.cx.to_tensor(measured, value.span)?;
                let label = match name {
                    Some(name) => name.name.clone(),
                    None => match &value.kind {
                        ExprKind::Call { callee, .. } => {
                            callee.as_name().map_or(Name::new("metric"), |name| name.name.clone())
                        }
                        _ => Name::new("metric"),
                    },
                };
                self.measure(label, measured, value.span)
            }
            // What it names may stand behind it; and rates may follow the training step, which an evaluation does not have.
            "optim" => Ok(()),
            "batch" => {
                let size = self.count_of(value)?;
                self.batch.get_or_insert(size);
                Ok(())
            }
            "epochs" => {
                let count = self.count_of(value)?;
                self.epochs.get_or_insert(count);
                Ok(())
            }
            "steps" => {
                let count = self.count_of(value)?;
                self.steps.get_or_insert(count as u64);
                Ok(())
            }
            "accumulate" => {
                self.accumulate = self.count_of(value)?;
                Ok(())
            }
            "patience" => {
                self.patience = Some(self.count_of(value)? as u64);
                Ok(())
            }
            "evaluate" => {
                self.evaluate_every = self.count_of(value)?;
                Ok(())
            }
            "memory" => self.cx.fail(errors::memory_without_unit(value.span)),
            // They name measures, which may stand behind them, or follow the optimizers.
            "expect" | "keep" | "average" => Ok(()),
            "init" => self.init(word, name, value),
            _ => self.cx.fail(errors::unknown_clause(word)),
        }
    }

    /// `loss e`, or `loss dl = e`. States are written by what the optimizer of this walk minimizes alone.
    fn loss(&mut self, name: Option<&ast::Ident>, value: &ast::Expr) -> Checking<()> {
        let label = name.map_or(Name::new("loss"), |name| name.name.clone());
        if self.losses.iter().any(|loss| loss.name == label) {
            return self.cx.fail(errors::two_losses(name.map_or(value.span, |name| name.span), &label));
        }
        let train = self.train.clone();
        let minimized = optimizers(&train).nth(self.turn).and_then(|value| labelled(value, "minimize"));
        let own = minimized.and_then(ast::Expr::as_name).is_none_or(|wanted| wanted.name == label);
        let before = (!own).then(|| self.cx.states_written());
        let loss = self.cx.eval(value)?;
        let loss = self.cx.to_tensor(loss, value.span)?;
        self.measure(label.clone(), loss, value.span)?;
        let val = self.mean(loss, value.span)?;
        if let Some(before) = before {
            self.cx.forget_writes(before);
        }
        self.losses.push(Loss { name: label, val });
        Ok(())
    }

    pub(super) fn count_of(&mut self, value: &ast::Expr) -> Checking<usize> {
        let dim = self.cx.dim_expr(value)?;
        match self.cx.decide(&dim).and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0) {
            Some(count) => Ok(count),
            None => self.cx.fail(errors::not_a_count(value.span)),
        }
    }

    /// `split (train: 0.8, test: 0.2, seed: 0)` or `split (test: fn(i) => i % 5 == 0)`
    fn split(&mut self, value: &ast::Expr) -> Checking<()> {
        let evaluated = self.cx.eval(value)?;
        let fields = match evaluated {
            Value::Tuple(fields) => fields,
            _ => return self.cx.fail(errors::split_form(value.span)),
        };
        let field = |name: &str| {
            fields.iter().find(|field| field.label.as_deref() == Some(name)).map(|field| field.value.clone())
        };
        for given in fields.iter() {
            if !matches!(given.label.as_deref(), Some("train" | "test" | "seed")) {
                return self.cx.fail(errors::split_form(value.span));
            }
        }
        match (field("train"), field("test")) {
            // The rules are applied once, when the training step is checked.
            (Some(Value::Func(_)), _) | (_, Some(Value::Func(_))) if !self.cx.mode.training => return Ok(()),
            (train @ (None | Some(Value::Func(_))), test @ Some(Value::Func(_)))
            | (train @ Some(Value::Func(_)), test @ None) => {
                let sides = self.sides(train, test, value.span)?;
                self.split = Split::Chosen(sides);
                return Ok(());
            }
            _ => {}
        }
        match field("test") {
            Some(Value::Num(test)) => {
                let seed = match field("seed") {
                    None => Some(0),
                    Some(Value::Num(seed)) => {
                        seed.dim.and_then(|dim| dim.as_const()).and_then(|seed| u64::try_from(seed).ok())
                    }
                    Some(_) => None,
                };
                let train = match field("train") {
                    None => Some(1.0 - test.known().unwrap_or(0.0)),
                    Some(Value::Num(train)) => train.known(),
                    Some(_) => None,
                };
                match (test.known(), train, seed) {
                    (Some(test), Some(train), Some(seed))
                        if test >= 0.0 && train > 0.0 && test + train <= 1.0 + 1e-9 =>
                    {
                        self.split = Split::Fraction { test, seed };
                        Ok(())
                    }
                    _ => self.cx.fail(errors::split_form(value.span)),
                }
            }
            _ => self.cx.fail(errors::split_form(value.span)),
        }
    }

    /// What each sample is for, by rules: without one of them it is the rest.
    fn sides(&mut self, train: Option<Value>, test: Option<Value>, span: Span) -> Checking<Vec<Side>> {
        let Some(count) = self.count else {
            return self.cx.fail(errors::split_before_data(span));
        };
        let mut sides = Vec::with_capacity(count);
        for index in 0..count {
            let trains = self.chosen(train.as_ref(), index, span)?;
            let tests = self.chosen(test.as_ref(), index, span)?;
            sides.push(match (trains, tests) {
                (Some(true), Some(true)) => return self.cx.fail(errors::split_overlaps(span, index)),
                (_, Some(true)) | (Some(false), None) => Side::Test,
                (Some(true), _) | (None, _) => Side::Train,
                (Some(false), Some(false)) => Side::Neither,
            });
        }
        Ok(sides)
    }

    /// Whether a rule chooses the sample of this number.
    fn chosen(&mut self, rule: Option<&Value>, index: usize, span: Span) -> Checking<Option<bool>> {
        let Some(Value::Func(rule)) = rule else { return Ok(None) };
        let vals = self.cx.core.vals.len();
        let number = Value::Num(Num::constant(index as i64));
        match self.cx.apply(rule, vec![(number, span)], span)? {
            Value::Bool(chosen) if self.cx.core.vals.len() == vals => Ok(Some(chosen)),
            _ => self.cx.fail(errors::split_form(span)),
        }
    }

    /// The loss of the batch: the mean over its samples, where it is one number a sample.
    fn mean(&mut self, loss: Val, span: Span) -> Checking<Val> {
        let axes = self.cx.visible(loss).to_vec();
        self.check_measure(loss, &axes, span)?;
        if axes.is_empty() { Ok(loss) } else { self.cx.reduce(Reducer::Mean, axes, None, loss, span) }
    }

    /// A value of the evaluation: a sum over samples, or one number a batch.
    fn measure(&mut self, name: Name, val: Val, span: Span) -> Checking<()> {
        let axes = self.cx.visible(val).to_vec();
        self.check_measure(val, &axes, span)?;
        let weighting = if axes.is_empty() { Weighting::PerBatch } else { Weighting::Sum };
        self.measures.push((name.clone(), weighting));
        if self.cx.mode.training {
            return Ok(());
        }
        let val = if axes.is_empty() { val } else { self.cx.reduce(Reducer::Sum, axes, None, val, span)? };
        self.cx.core.outputs.push(OutputInfo { name, val });
        Ok(())
    }

    fn check_measure(&mut self, val: Val, axes: &[AxisVar], span: Span) -> Checking<()> {
        let per_sample = match axes {
            [] => true,
            [axis] => self.samples.is_some_and(|samples| self.cx.size_of(samples) == self.cx.size_of(*axis)),
            _ => false,
        };
        if !per_sample || !self.cx.elem(val).is_float() {
            let shown = self.cx.show_val(val);
            return self.cx.fail(errors::not_a_measure(span, &shown));
        }
        Ok(())
    }
}
