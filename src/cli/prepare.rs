//! What most commands begin with: a program without errors, and the item that is meant.

use crate::base::Sources;
use crate::diag::Diagnostic;
use crate::session::{Checked, Failure, Session, Settings, What, errors, name_of};

use super::console::{Console, Stop};
use super::target::{Target, what};

/// A program, and one of its items, checked.
pub struct Prepared {
    pub session: Session,
    pub item: Checked,
}

/// Opens a program, picks an item and checks it. Warnings are shown; errors stop the command.
pub fn prepare(
    target: &Target,
    called: &str,
    allowed: &[What],
    settings: &Settings,
    console: &Console,
) -> Result<Prepared, Stop> {
    let mut session = Session::open(&target.file);
    if session.has_errors() {
        return Err(stop(&session, session.diagnostics.clone()));
    }
    let entry =
        target.pick(&session, called, allowed).map_err(|diagnostic| stop(&session, vec![*diagnostic]))?;
    let (name, span) = name_of(&entry);
    let known = dims_of(&entry);
    if let Some(unknown) = settings.dims.keys().find(|dim| !known.iter().any(|name| name == dim.as_str())) {
        return Err(stop(&session, vec![errors::unknown_dim(unknown.as_str(), &name, &known)]));
    }
    let sort = what(&entry);
    let mut check =
        session.check(settings, &|other| what(other) == sort && name_of(other) == (name.clone(), span));
    if !check.ok() {
        return Err(stop(&session, check.diagnostics));
    }
    if !console.json {
        console.show(&session.sources, &check.diagnostics);
    }
    // A picked item is among the checked ones.
    match check.items.pop() {
        Some(item) => Ok(Prepared { session, item }),
        None => {
            Err(stop(&session, vec![errors::which_block(&target.file.display().to_string(), called, &[])]))
        }
    }
}

/// The dims that `--dim` can fix in a definition: its static ones, and those that its signature names.
pub fn dims_of(entry: &crate::check::Entry) -> Vec<String> {
    use crate::syntax::ast::{Axis, AxisKind, Param, Type, TypeKind};
    let crate::check::Entry::Def(def) = entry else { return Vec::new() };
    fn in_type(ty: &Type, found: &mut Vec<String>) {
        let axes: Vec<&Axis> = match &ty.kind {
            TypeKind::Named { axes, .. } => axes.iter().collect(),
            TypeKind::Index { range, axes } => std::iter::once(&**range).chain(axes).collect(),
            TypeKind::Tuple(fields) => return fields.iter().for_each(|field| in_type(&field.ty, found)),
            _ => Vec::new(),
        };
        for axis in axes {
            let name = match &axis.kind {
                AxisKind::Kinded { name, .. } => Some(name),
                AxisKind::Size(size) => size.as_name(),
                AxisKind::Pack(_) => None,
            };
            found.extend(name.map(|name| name.to_string()));
        }
    }
    let is_dim = |param: &&Param| matches!(&param.ty.kind, TypeKind::Named { name, axes } if axes.is_empty() && name.name == "dim");
    let mut found: Vec<String> =
        def.statics.iter().filter(is_dim).map(|param| param.name.to_string()).collect();
    def.tensors.iter().for_each(|param| in_type(&param.ty, &mut found));
    found.sort();
    found.dedup();
    found
}

/// Ends a command with diagnostics about a program.
pub fn stop(session: &Session, diagnostics: Vec<Diagnostic>) -> Stop {
    Stop::Diagnostics(Box::new(session.sources.clone()), diagnostics)
}

/// The same for a failure behind checking.
pub fn failed(session: &Session) -> impl Fn(Failure) -> Stop {
    let sources: Sources = session.sources.clone();
    move |failure| Stop::Diagnostics(Box::new(sources.clone()), vec![*failure])
}
