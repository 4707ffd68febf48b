//! Compiles the contraction blobs (`src/tiles/blob`) to machine code and hands their bytes to `src/tiles`.
//!
//! Each blob becomes one object file with one function, whatever the processor that builds. Its section must have no relocations, for then
//! its bytes mean the same anywhere: in memory that is made executable at run time and in an object file written for another program.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};

/// File, variant of `Isa`, features.
const BLOBS: [(&str, &str, &str); 2] =
    [("avx512", "Avx512", "+avx512f,+avx2,+fma"), ("avx2", "Avx2", "+avx2,+fma")];

fn main() {
    for input in ["build.rs", "src/tiles/blob", "src/tiles/abi.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut table = String::from("/// Every blob for this architecture.\npub static BLOBS: &[Blob] = &[\n");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        for (file, isa, features) in BLOBS {
            let symbol = format!("nnc_contract_{file}");
            let code = compile(&out, file, features).and_then(|object| function(&object, &symbol));
            let (align, bytes) = code.unwrap_or_else(|problem| panic!("src/tiles/blob/{file}.rs: {problem}"));
            let path = out.join(format!("{file}.code"));
            fs::write(&path, bytes).expect("OUT_DIR is writable");
            let _ = writeln!(
                table,
                "    Blob {{ isa: Isa::{isa}, symbol: {symbol:?}, align: {align}, bytes: include_bytes!({:?}) }},",
                path.display().to_string()
            );
        }
    }
    table.push_str("];\n");
    fs::write(out.join("blobs.rs"), table).expect("OUT_DIR is writable");
}

/// The object file of a blob.
fn compile(out: &Path, file: &str, features: &str) -> Result<Vec<u8>, String> {
    let object = out.join(format!("{file}.o"));
    let result = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"))
        .arg(format!("src/tiles/blob/{file}.rs"))
        .args(["--crate-type=lib", "--edition=2024", "--emit=obj", "--cap-lints=allow"])
        .args([
            "-Copt-level=3",
            "-Ccodegen-units=1",
            "-Cpanic=abort",
            "-Crelocation-model=pic",
            "-Cdebuginfo=0",
        ])
        // A table of addresses or values would need a relocation; overflow checks would call.
        .args(["-Cjump-tables=no", "-Coverflow-checks=no", "-Cdebug-assertions=no"])
        .arg(format!("-Ctarget-feature={features}"))
        .args(["--target".into(), env::var("TARGET").expect("cargo sets TARGET")])
        .arg("-o")
        .arg(&object)
        .output()
        .map_err(|e| format!("cannot run rustc: {e}"))?;
    if !result.status.success() {
        return Err(format!("rustc failed:\n{}", String::from_utf8_lossy(&result.stderr)));
    }
    fs::read(&object).map_err(|e| format!("{}: {e}", object.display()))
}

/// The alignment and the bytes of the section that holds the function `symbol` and nothing else.
fn function(object: &[u8], symbol: &str) -> Result<(u64, Vec<u8>), String> {
    let file = object::File::parse(object).map_err(|e| format!("rustc wrote no object file: {e}"))?;
    // Mach-O puts an underscore before a name.
    let named = |s: &object::Symbol| {
        s.name().is_ok_and(|name| name == symbol || name.strip_prefix('_') == Some(symbol))
    };
    let function = file
        .symbols()
        .find(|s| s.is_definition() && named(s))
        .ok_or_else(|| format!("no function `{symbol}`"))?;
    let index = function.section_index().ok_or_else(|| format!("`{symbol}` lies in no section"))?;
    let section = file.section_by_index(index).map_err(|e| e.to_string())?;
    if function.address() != section.address() {
        return Err(format!("`{symbol}` does not begin its section: something else was not inlined"));
    }
    if let Some((offset, relocation)) = section.relocations().next() {
        return Err(format!(
            "`{symbol}` has a relocation at {offset:#x}: {relocation:?}; it may use no constant in memory, call nothing, and panic nowhere"
        ));
    }
    let bytes = section.data().map_err(|e| e.to_string())?;
    Ok((section.align().max(64), bytes.to_vec()))
}
