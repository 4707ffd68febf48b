//! `nnc new`: a folder with a program that trains, to be changed into another.

use std::path::Path;

use crate::formats::{FormatError, write_atomic};

use super::arguments::{Global, NewArguments};
use super::console::{Console, Stop};

const PROGRAM: &str = include_str!("new.nn");
const DIGITS: &[u8] = include_bytes!("../../examples/data/digits.npz");

pub fn new(_: &Global, arguments: &NewArguments, console: &mut Console) -> Result<u8, Stop> {
    let folder = &arguments.folder;
    let name =
        folder.file_name().and_then(|name| name.to_str()).filter(|name| plain(name)).ok_or_else(|| {
            Stop::Usage(format!("{}: a name is made of letters, digits, `_` and `-`", folder.display()))
        })?;
    let program = folder.join(format!("{name}.nn"));
    written(folder, &program, &PROGRAM.replace("NAME", name))?;
    if console.json {
        console.json(&serde_json::json!({"program": program}));
    } else {
        let program = program.display();
        console.say(format!(
            "{program} reads handwritten digits. Try:\n  nnc check {program}\n  nnc train {program}"
        ));
    }
    Ok(0)
}

/// Nothing that exists is touched.
fn written(folder: &Path, program: &Path, text: &str) -> Result<(), FormatError> {
    let data = folder.join("data");
    for folder in [folder, &data] {
        std::fs::create_dir(folder)
            .map_err(|error| FormatError { file: folder.into(), problem: error.into() })?;
    }
    write_atomic(program, |file| file.write_all(text.as_bytes()))?;
    write_atomic(&data.join("digits.npz"), |file| file.write_all(DIGITS))
}

fn plain(name: &str) -> bool {
    !name.starts_with('-') && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}
