//! `nnc fmt`: files in the canonical style.

use std::path::Path;

use crate::base::Sources;
use crate::diag::Diagnostic;
use crate::formats::write_atomic;
use crate::session::errors;
use crate::syntax;

use super::arguments::{FmtArguments, Global};
use super::console::{Console, Stop};

pub fn fmt(_: &Global, arguments: &FmtArguments, console: &mut Console) -> Result<u8, Stop> {
    let mut code = 0;
    for path in &arguments.files {
        let mut sources = Sources::new();
        match format(path, &mut sources) {
            Ok((before, after)) if before == after => {}
            Ok(_) if arguments.check => {
                console.say(format!("{} is not formatted", path.display()));
                code = code.max(1);
            }
            Ok((_, after)) => {
                let written = write_atomic(path, |file| file.write_all(after.as_bytes()));
                if let Err(error) = written {
                    console.show(&sources, &[crate::train::errors::bad_file(&error)]);
                    code = code.max(3);
                }
            }
            Err(diagnostics) => {
                console.show(&sources, &diagnostics);
                code = code.max(crate::diag::exit_code(&diagnostics));
            }
        }
    }
    Ok(code)
}

/// A file's text, and what it is in the canonical style.
fn format(path: &Path, sources: &mut Sources) -> Result<(String, String), Vec<Diagnostic>> {
    let bytes = std::fs::read(path).map_err(|error| vec![errors::unreadable_source(path, &error, None)])?;
    let file = sources
        .add_bytes(path.display().to_string(), bytes)
        .map_err(|refused| vec![errors::not_accepted(refused)])?;
    let after = syntax::format(sources, file)?;
    Ok((sources.text(file).to_owned(), after))
}
