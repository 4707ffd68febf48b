//! Object files put into archives and shared objects.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use thiserror::Error;

use crate::codegen::object::Target;

/// Why there is no library.
#[derive(Debug, Error)]
pub enum PackError {
    #[error("the archive cannot be written: {0}")]
    Archive(std::io::Error),
    #[error("a shared object needs a linker, and none of {tried} can be started")]
    NoLinker { tried: String },
    #[error("`{linker}` failed: {message}")]
    Linker { linker: String, message: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// An archive of one object file with a table of its symbols. The same to the byte for the same contents: without times and owners.
pub fn archive(object: &[u8], name: &str) -> Result<Vec<u8>, PackError> {
    let member = NewArchiveMember::new(object, &DEFAULT_OBJECT_READER, name.to_owned());
    let kind = if cfg!(target_vendor = "apple") { ArchiveKind::Darwin } else { ArchiveKind::Gnu };
    let mut bytes = Cursor::new(Vec::new());
    write_archive_to_stream(&mut bytes, &[member], kind, false, None).map_err(PackError::Archive)?;
    Ok(bytes.into_inner())
}

/// A shared object, by a linker for the target: `$CC`, or the first of its usual compilers and linkers that starts.
pub fn shared_object(object: &[u8], name: &str, target: Target) -> Result<Vec<u8>, PackError> {
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("model.o"), folder.path().join("model.so"));
    std::fs::write(&input, object)?;
    let chosen = std::env::var("CC").ok().filter(|cc| !cc.is_empty());
    let usual: &[&str] = match (target.is_native(), target) {
        (true, _) => &["cc", "gcc", "clang", "ld"],
        (false, Target::Aarch64) => &["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-ld", "ld.lld"],
        (false, _) => &["x86_64-linux-gnu-gcc", "x86_64-linux-gnu-ld", "ld.lld"],
    };
    let linkers: Vec<String> =
        chosen.into_iter().chain(usual.iter().map(|&linker| linker.to_owned())).collect();
    for linker in &linkers {
        match Command::new(linker).args(arguments(linker, name)).arg("-o").arg(&output).arg(&input).output() {
            Ok(done) if done.status.success() => return Ok(std::fs::read(&output)?),
            Ok(done) => {
                let message = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                return Err(PackError::Linker { linker: linker.clone(), message });
            }
            Err(_) => {}
        }
    }
    Err(PackError::NoLinker { tried: linkers.join(", ") })
}

fn arguments(linker: &str, name: &str) -> Vec<String> {
    let plain = Path::new(linker).file_name().is_some_and(|file| {
        let file = file.to_string_lossy();
        file == "ld" || file.ends_with("-ld") || file == "ld.lld"
    });
    let mut arguments = vec!["-shared".to_owned()];
    if plain {
        arguments.extend(["-soname".to_owned(), name.to_owned()]);
    } else {
        arguments.extend(["-nostdlib".to_owned(), format!("-Wl,-soname,{name}")]);
    }
    arguments
}
