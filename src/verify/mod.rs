//! Numeric evidence for theorems, and witnesses against rejected programs.
//!
//! A theorem about an axis says what the outputs do when the inputs are relabelled or changed along it. Here that is tried: a
//! definition is compiled, its parameters and inputs are drawn, and both sides are compared. It is no proof, and knows nothing
//! of how the checker proves; so each finds the other's mistakes. It must never know a terminal.

mod draw;
mod reads;
mod run;
mod theorem;
mod transform;
mod translate;
mod values;
mod witness;

use crate::base::Name;
use crate::check::Entry;
use crate::check::certificate::{AxisTheorem, Property};
use crate::check::core::Core;
use crate::diag::Diagnostic;
use crate::session::{Checked, Session, Settings, name_of};

pub use draw::Draws;
pub use theorem::evidence;
pub use transform::Change;
pub use witness::{Search, search};

/// What trying a theorem showed.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub item: Name,
    pub axis: Name,
    pub property: Property,
    /// It was tried in a training compilation.
    pub training: bool,
    pub verdict: Verdict,
}

#[derive(Clone, Debug)]
pub enum Verdict {
    /// No trial contradicts it. The largest deviation, and what rounding explains in that trial.
    Holds { deviation: f64, tolerance: f64, trials: usize },
    /// A trial does.
    Refuted(Box<Witness>),
    /// Why it was not tried.
    Untried(String),
}

/// Two values that should be equal and are not.
#[derive(Clone, Debug)]
pub struct Witness {
    /// `N = 3, D = 2`
    pub sizes: String,
    /// `swapping entries 0 and 1 of N`
    pub change: String,
    /// `f[1, 0]`
    pub entry: String,
    pub expected: f64,
    pub found: f64,
    pub deviation: f64,
    pub tolerance: f64,
}

/// A definition checked in f64, where deviations are small, and as it is, which tells how much rounding there is.
pub struct Subject {
    pub name: Name,
    pub axes: Vec<AxisTheorem>,
    /// Inference, in f64 and as written.
    pub inference: (Core, Core),
    /// Training, of layers and models.
    pub training: Option<(Core, Core)>,
}

impl Subject {
    /// Checks an item for trials. Static dims without a value are drawn.
    ///
    /// # Errors
    /// Why it cannot be compiled by itself.
    pub fn of(
        session: &mut Session,
        entry: &Entry,
        settings: &Settings,
        draws: &mut Draws,
    ) -> Result<Subject, String> {
        let mut settings = settings.clone();
        if let Entry::Def(def) = entry {
            for dim in draw::open_statics(def) {
                settings.dims.entry(dim).or_insert_with(|| draws.between(2, 5));
            }
        }
        let mut check = |wide: bool| -> Result<Checked, String> {
            let settings = Settings { wide, ..settings.clone() };
            let mut check = session.check(&settings, &|other| name_of(other) == name_of(entry));
            let item = check.items.pop().ok_or("it is not there")?;
            match () {
                () if item.when_used => Err("it is checked where it is used".to_owned()),
                () if item.open || item.core.is_none() => Err("it cannot be compiled by itself".to_owned()),
                () => Ok(item),
            }
        };
        let (wide, narrow) = (check(true)?, check(false)?);
        let pair = |wide: Option<Core>, narrow: Option<Core>| wide.zip(narrow);
        let certificate = narrow.certificate.ok_or("nothing is claimed of it")?;
        Ok(Subject {
            name: narrow.name,
            axes: certificate.axes,
            inference: pair(wide.core, narrow.core).ok_or("it cannot be compiled by itself")?,
            training: pair(wide.training, narrow.training),
        })
    }
}

/// What keeps a program from being tried, as a sentence.
fn failure(diagnostic: &Diagnostic) -> String {
    format!("{} {}", diagnostic.code, diagnostic.message)
}
