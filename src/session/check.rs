//! Checks all items of a program, each by itself.

use std::collections::HashSet;
use std::sync::Arc;

use nn_grammar::ast::{Def, Head};

use crate::axes::DimVar;
use crate::base::{Name, Span};
use crate::check::certificate::{Certificate, certify};
use crate::check::core::Core;
use crate::check::train::{DataInput, DataSource, TrainPlan, check_train};
use crate::check::{
    Alone, Checker, Entry, Mode, Num, Scope, Value, can_be_checked_alone, choices, errors as check_errors,
    stand_ins,
};
use crate::diag::{Diagnostic, Fault};

use super::compile::Settings;
use super::side_by_side::InOrder;
use super::{Session, errors, name_of};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Fn,
    Layer,
    Model,
    Optimizer,
    Train,
    Test,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            What::Fn => "fn",
            What::Layer => "layer",
            What::Model => "model",
            What::Optimizer => "optimizer",
            What::Train => "train block",
            What::Test => "test",
        }
    }
}

/// An item after checking.
#[derive(Debug)]
pub struct Checked {
    pub name: Name,
    pub what: What,
    pub span: Span,
    pub scope: Scope,
    /// The inference core; of a test block its only one. `None`: rejected, or checked only where it is used.
    pub core: Option<Core>,
    /// The training core of a layer or model, where training makes it another one: it asks for the mode, or owns states.
    pub training: Option<Core>,
    /// What is proved of its axes.
    pub certificate: Option<Certificate>,
    pub plan: Option<Box<TrainPlan>>,
    /// What a test block reads, in the order of its core's inputs.
    pub files: (Vec<DataSource>, Vec<DataInput>),
    /// It has a static parameter without a value.
    pub when_used: bool,
    /// A static dim stayed a variable: nothing can be compiled.
    pub open: bool,
}

impl Checked {
    /// The inference core of what can be compiled by itself.
    pub fn alone(&self) -> Result<&Core, Vec<Diagnostic>> {
        let core = self.core.as_ref().filter(|_| !self.open && !self.when_used);
        core.ok_or_else(|| vec![errors::not_compiled_alone(self.span, &self.name)])
    }
}

/// All items, and everything that was found, sorted by place.
#[derive(Debug, Default)]
pub struct Check {
    pub items: Vec<Checked>,
    pub diagnostics: Vec<Diagnostic>,
}

impl Check {
    pub fn ok(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }

    pub fn exit_code(&self) -> u8 {
        crate::diag::exit_code(&self.diagnostics)
    }
}

impl Session {
    /// Checks the items that `wanted` accepts.
    pub fn check(&mut self, settings: &Settings, wanted: &dyn Fn(&Entry) -> bool) -> Check {
        let mut timings = self.timings;
        let check = timings.check(|| self.check_items(settings, wanted));
        self.timings = timings;
        check
    }

    fn check_items(&self, settings: &Settings, wanted: &dyn Fn(&Entry) -> bool) -> Check {
        let mut found = Found::default();
        found.all(self.diagnostics.clone());
        let items = self.items();
        for (_, entry) in &items {
            if self.user.is_some()
                && let Entry::Def(def) = entry
                && self.program.resolve(Scope(0), &def.name.name).is_some()
            {
                found.all(vec![check_errors::shadows_library(&def.name.name, def.name.span)]);
            }
        }
        let entries: Vec<(Scope, Entry)> = items.into_iter().filter(|(_, entry)| wanted(entry)).collect();
        let (items, mut found) = InOrder::all(entries.len(), found, |index, own| {
            let (scope, entry) = &entries[index];
            self.item(*scope, entry, settings, own)
        });
        if found.is_enough()
            && let Some((_, next)) = entries.get(items.len())
        {
            found.all(vec![errors::checking_stopped(name_of(next).1)]);
        }
        let mut diagnostics = found.diagnostics;
        diagnostics.sort_by_key(Diagnostic::primary);
        Check { items, diagnostics }
    }

    /// Checks one item, which knows of no other but by the program's names: so items are checked side by side.
    fn item(&self, scope: Scope, entry: &Entry, settings: &Settings, found: &mut Found) -> Checked {
        let (name, span) = name_of(entry);
        let mut item = Checked {
            name,
            what: What::Test,
            span,
            scope,
            core: None,
            training: None,
            certificate: None,
            plan: None,
            files: Default::default(),
            when_used: false,
            open: false,
        };
        match entry {
            Entry::Def(def) => {
                item.what = match def.head {
                    Head::Fn => What::Fn,
                    Head::Layer => What::Layer,
                    Head::Model => What::Model,
                    Head::Optimizer => What::Optimizer,
                };
                self.def(def, settings, &mut item, found);
            }
            Entry::Train(train, span) => {
                item.what = What::Train;
                let headers = self.on_disk();
                let (plan, diagnostics) = check_train(
                    &self.program,
                    train,
                    *span,
                    scope,
                    &headers,
                    &settings.overrides,
                    settings.wide,
                );
                found.all(diagnostics);
                if let Some(plan) = plan {
                    found.all(same_slots(&plan.steps[0].core, &plan.evaluate, true));
                    item.plan = Some(Box::new(plan));
                }
            }
            Entry::Test(test) => {
                let headers = self.on_disk();
                let mut checker = Checker::new(&self.program, self.mode(settings, false));
                checker.files.headers = Some(&headers);
                let done = checker.test(test, scope);
                found.all(std::mem::take(&mut checker.diagnostics));
                item.files = (checker.files.sources, checker.files.inputs);
                item.core = done.is_ok().then_some(checker.core);
            }
        }
        item
    }

    fn def(&self, def: &Arc<Def>, settings: &Settings, item: &mut Checked, found: &mut Found) {
        let given = given_dims(def, settings);
        if can_be_checked_alone(def, &given) == Alone::WhenUsed {
            item.when_used = true;
            found.all(self.broken_promises(def, item.scope, &given, settings));
            return;
        }
        let mut walk = |training, found: &mut Found| {
            let mut checker = Checker::new(&self.program, self.mode(settings, training));
            let mut done = checker.item(def, item.scope, &given);
            if done.is_err() && def.head == Head::Fn {
                // A schedule reads the step: such a function is one of training alone.
                let mut other = Checker::new(&self.program, self.mode(settings, true));
                let in_training = other.item(def, item.scope, &given);
                if in_training.is_ok() {
                    (checker, done) = (other, in_training);
                }
            }
            item.open |= checker.open;
            if checker.recursive {
                item.when_used = true;
                return None;
            }
            found.all(std::mem::take(&mut checker.diagnostics));
            done.is_ok().then_some(checker.core)
        };
        item.core = walk(def.head == Head::Optimizer, found);
        let by_mode = item.core.as_ref().is_some_and(Core::is_by_mode);
        if matches!(def.head, Head::Layer | Head::Model) && (by_mode || item.core.is_none()) {
            item.training = walk(true, found);
        }
        // A function may be another one in training, as `dropout` is.
        let in_training = by_mode && def.head == Head::Fn;
        let other = if in_training { walk(true, found) } else { None };
        let Some(core) = &item.core else { return };
        if let Some(training) = &item.training {
            found.all(same_slots(training, core, false));
        }
        if def.head != Head::Optimizer {
            let training = item.training.as_ref().or(other.as_ref()).unwrap_or(core);
            let (mut certificate, broken) = certify(&item.name, training, core);
            found.all(broken);
            for given in choices(def, &given).iter().skip(1) {
                let (other, broken) = self.certified(def, item.scope, given, settings);
                found.all(broken);
                if let Some(other) = other {
                    certificate.restrict(&other);
                }
            }
            item.certificate = Some(certificate);
        }
    }

    /// The theorems of a definition that is given these static arguments, and the kinds that it does not keep.
    fn certified(
        &self,
        def: &Arc<Def>,
        scope: Scope,
        given: &[(Name, Value)],
        settings: &Settings,
    ) -> (Option<Certificate>, Vec<Diagnostic>) {
        let walk = |training| {
            let mut checker = Checker::new(&self.program, self.mode(settings, training));
            match checker.item(def, scope, given) {
                Ok(()) => Ok(checker.core),
                Err(_) if checker.recursive => Err(Vec::new()),
                Err(_) => Err(checker.diagnostics),
            }
        };
        let cores = walk(false).and_then(|core| match core.is_by_mode() {
            true => Ok((Some(walk(true)?), core)),
            false => Ok((None, core)),
        });
        match cores {
            Ok((training, core)) => {
                let (certificate, broken) =
                    certify(&def.name.name, training.as_ref().unwrap_or(&core), &core);
                (Some(certificate), broken)
            }
            Err(diagnostics) => (None, diagnostics),
        }
    }

    /// A definition that is checked where it is used promises its kinds for every use: what it does not keep for the simplest functions
    /// is refused at once.
    fn broken_promises(
        &self,
        def: &Arc<Def>,
        scope: Scope,
        given: &[(Name, Value)],
        settings: &Settings,
    ) -> Vec<Diagnostic> {
        let Some(given) = stand_ins(def, scope, given) else { return Vec::new() };
        let mut broken = Vec::new();
        for given in choices(def, &given) {
            if let (Some(_), found) = self.certified(def, scope, &given, settings) {
                broken.extend(found);
            }
        }
        broken
    }

    pub(super) fn mode(&self, settings: &Settings, training: bool) -> Mode {
        Mode { training, dims: settings.dims.clone(), wide: settings.wide }
    }
}

/// The static dims of a definition that `--dim` gives.
pub fn given_dims(def: &Def, settings: &Settings) -> Vec<(Name, Value)> {
    let given = |param: &nn_grammar::ast::Param| {
        let value = settings.dims.get(&DimVar::new(param.name.as_str()))?;
        Some((param.name.name.clone(), Value::Num(Num::constant(*value))))
    };
    def.statics.iter().filter_map(given).collect()
}

/// Both compilations of one source must own the same parameters and states; an optimizer's states are the step's alone.
fn same_slots(training: &Core, inference: &Core, train: bool) -> Vec<Diagnostic> {
    let paths = |core: &Core| -> HashSet<Name> {
        core.params.iter().chain(&core.states).map(|slot| slot.path.clone()).collect()
    };
    let (here, there) = (paths(training), paths(inference));
    let mut found = Vec::new();
    for slot in training.params.iter().chain(&training.states) {
        let optimizer = train && slot.is_of_optimizer();
        if !there.contains(&slot.path) && !optimizer {
            found.push(errors::modes_differ(slot.span, &slot.path, true));
        }
    }
    for slot in inference.params.iter().chain(&inference.states) {
        if !here.contains(&slot.path) {
            found.push(errors::modes_differ(slot.span, &slot.path, false));
        }
    }
    found
}

/// Diagnostics, each code at each place once.
#[derive(Default)]
pub(super) struct Found {
    seen: HashSet<(u16, Option<Span>, Option<String>)>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Most errors that anybody reads.
const ERRORS: usize = 100;

impl Found {
    /// Nothing more is looked for: there are many errors, or a limit was met, which others would meet again and again.
    pub fn is_enough(&self) -> bool {
        let errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        self.diagnostics.iter().any(|diagnostic| diagnostic.fault == Fault::Limit) || errors.count() >= ERRORS
    }

    pub fn all(&mut self, diagnostics: Vec<Diagnostic>) {
        for diagnostic in diagnostics {
            let place = diagnostic.primary();
            // Without a place the text tells two apart.
            let text = place.is_none().then(|| diagnostic.message.clone());
            if self.seen.insert((diagnostic.code.0, place, text)) {
                self.diagnostics.push(diagnostic);
            }
        }
    }
}
