//! The law of the rooms: a room imports only rooms that `src/lib.rs` lists before it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `graph` and `ops` are one floor: an operator's payload and its declaration know each other.
const ONE_FLOOR: [(&str, &str); 1] = [("graph", "ops")];

#[test]
fn no_room_imports_a_higher_one() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let rooms = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let floor: HashMap<&str, usize> = rooms.enumerate().map(|(floor, room)| (room, floor)).collect();
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut broken = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        // Each file there is a crate of its own, which build.rs compiles.
        if inside.starts_with("tiles/blob") {
            continue;
        }
        let room = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let Some(&own) = floor.get(room.trim_end_matches(".rs")) else { continue };
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // A string with a path in it is no import.
            let paths = code.match_indices("crate::").filter(|(at, _)| !code[..*at].contains('"'));
            for (at, found) in paths {
                let name: String = code[at + found.len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let Some(&other) = floor.get(name.as_str()) else { continue };
                if other > own && !ONE_FLOOR.contains(&(room.as_str(), name.as_str())) {
                    broken.push(format!(
                        "src/{}:{}: `{room}` imports `{name}`",
                        inside.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "imports that run up a floor:\n{}", broken.join("\n"));
}

/// All source files below a folder.
pub fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
