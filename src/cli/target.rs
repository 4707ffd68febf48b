//! `FILE:NAME`: which program, and which of its items.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::base::Name;
use crate::check::Entry;
use crate::diag::Diagnostic;
use crate::session::{Session, What, errors, name_of};

/// A program's file, and an item where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub file: PathBuf,
    pub item: Option<String>,
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Target, Infallible> {
        // A file may have a colon in its name.
        if !Path::new(text).exists()
            && let Some((file, item)) = text.rsplit_once(':')
            && !file.is_empty()
            && !item.is_empty()
            && !item.contains(['/', '\\'])
        {
            return Ok(Target { file: file.into(), item: Some(item.to_owned()) });
        }
        Ok(Target { file: text.into(), item: None })
    }
}

/// What an item is, from its text alone.
pub fn what(entry: &Entry) -> What {
    use crate::syntax::ast::Head;
    match entry {
        Entry::Def(def) => match def.head {
            Head::Fn => What::Fn,
            Head::Layer => What::Layer,
            Head::Model => What::Model,
            Head::Optimizer => What::Optimizer,
        },
        Entry::Train(..) => What::Train,
        Entry::Test(_) => What::Test,
    }
}

impl Target {
    /// The item that is named, which must be one of `allowed`; without a name the only one of the first sort of `allowed` of
    /// which the file has any.
    pub fn pick(&self, session: &Session, called: &str, allowed: &[What]) -> Result<Entry, Box<Diagnostic>> {
        let items: Vec<Entry> = session.items().into_iter().map(|(_, entry)| entry).collect();
        let names = |wanted: &[What]| -> Vec<Name> {
            items.iter().filter(|entry| wanted.contains(&what(entry))).map(|entry| name_of(entry).0).collect()
        };
        if let Some(name) = &self.item {
            let found =
                items.iter().find(|entry| allowed.contains(&what(entry)) && name_of(entry).0 == *name);
            return found
                .cloned()
                .ok_or_else(|| Box::new(errors::no_such_block(called, name, &names(allowed))));
        }
        for &sort in allowed {
            let mut of_sort = items.iter().filter(|entry| what(entry) == sort);
            match (of_sort.next(), of_sort.next()) {
                (Some(only), None) => return Ok(only.clone()),
                (Some(_), Some(_)) => {
                    let file = self.file.display().to_string();
                    return Err(Box::new(errors::which_block(&file, sort.as_str(), &names(&[sort]))));
                }
                _ => {}
            }
        }
        Err(Box::new(errors::which_block(&self.file.display().to_string(), called, &[])))
    }
}
