//! npz: a zip archive of npy arrays, stored or deflated.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use zip::read::ZipFile;
use zip::result::ZipError;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

use super::{ArrayInfo, FormatError, Problem, npy, write_atomic};
use crate::tensor::Tensor;

/// No byte of an archive unpacks to more than this many (the longest match of deflate has 258 bytes and two bits).
const MOST_UNPACKED: u64 = 1032;

/// The arrays of an archive in its order, from their headers alone, each as long as its header says.
pub fn header(path: &Path) -> Result<Vec<ArrayInfo>, FormatError> {
    let read = || {
        let length = File::open(path)?.metadata()?.len();
        let mut archive = open(path)?;
        // The crate keeps the last of several entries of one name; such a file is ambiguous.
        match entries(path)? {
            Some(count) if count != archive.len() as u64 => {
                Err(Problem::malformed("several arrays have one name"))
            }
            _ => header_of(&mut archive, length),
        }
    };
    read().map_err(|problem| problem.in_file(path))
}

fn header_of(archive: &mut Archive, length: u64) -> Result<Vec<ArrayInfo>, Problem> {
    let mut infos = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| unreadable("an entry", error))?;
        let name = entry.name().strip_suffix(".npy").map(String::from);
        // What is no array is passed over.
        if let Some(name) = name {
            let unpacked = entry.size().min(length.saturating_mul(MOST_UNPACKED));
            let header = npy::Header::read(&mut entry)?;
            header.fits(&format!("the array `{name}`"), unpacked)?;
            infos.push(header.info(&name));
        }
    }
    Ok(infos)
}

/// The array `name`, as `header` lists it.
pub fn load(path: &Path, name: &str) -> Result<Tensor, FormatError> {
    let read = || {
        let mut archive = open(path)?;
        let mut entry = entry(&mut archive, name)?;
        npy::read_array(&mut entry, &format!("the array `{name}`"))
    };
    read().map_err(|problem| problem.in_file(path))
}

/// All arrays by their names.
pub fn load_all(path: &Path) -> Result<BTreeMap<String, Tensor>, FormatError> {
    header(path)?.into_iter().map(|info| Ok((info.name.clone(), load(path, &info.name)?))).collect()
}

/// How many entries an archive says that it has; `None` where it does not say so in the plain form.
fn entries(path: &Path) -> Result<Option<u64>, Problem> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // The record at the end is followed by a comment of at most 64 KiB.
    file.seek(SeekFrom::Start(length.saturating_sub(22 + 0xffff)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let Some(at) = end.windows(4).rposition(|four| four == b"PK\x05\x06") else { return Ok(None) };
    let count = end.get(at + 10..at + 12).map(|two| u16::from_le_bytes([two[0], two[1]]));
    Ok(count.filter(|&count| count != u16::MAX).map(u64::from))
}

/// Writes the arrays in the given order, uncompressed; equal contents give equal bytes.
pub fn save(path: &Path, arrays: &[(&str, &Tensor)]) -> Result<(), FormatError> {
    write_atomic(path, |file| {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, tensor) in arrays {
            // The size of an entry is not known beforehand, so all may be larger than 4 GiB.
            let options = SimpleFileOptions::default();
            let options = options.compression_method(CompressionMethod::Stored).large_file(true);
            archive.start_file(format!("{name}.npy"), options)?;
            npy::write_array(&mut archive, tensor)?;
        }
        file.write_all(&archive.finish()?.into_inner())
    })
}

type Archive = ZipArchive<BufReader<File>>;

fn open(path: &Path) -> Result<Archive, Problem> {
    match ZipArchive::new(BufReader::new(File::open(path)?)) {
        Ok(archive) => Ok(archive),
        Err(ZipError::Io(error)) => Err(error.into()),
        Err(_) => Err(Problem::Kind { expected: "an npz archive, or it is damaged" }),
    }
}

fn entry<'a>(archive: &'a mut Archive, name: &str) -> Result<ZipFile<'a, BufReader<File>>, Problem> {
    let file = format!("{name}.npy");
    if archive.index_for_name(&file).is_none() {
        let available = archive.file_names().filter_map(|name| name.strip_suffix(".npy"));
        let available = available.map(String::from).collect();
        return Err(Problem::NoEntry { name: name.into(), available });
    }
    let entry = archive.by_name(&file);
    entry.map_err(|error| unreadable(&format!("the array `{name}`"), error))
}

fn unreadable(what: &str, error: ZipError) -> Problem {
    match error {
        ZipError::Io(error) => error.into(),
        error => Problem::malformed(format!("{what} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    fn digits() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.npz")
    }

    fn info(name: &str, dtype: DType, shape: &[usize]) -> ArrayInfo {
        ArrayInfo { name: name.into(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn the_digits_are_read() {
        let infos = header(&digits()).unwrap();
        assert_eq!(infos, [info("x", DType::F32, &[1797, 8, 8, 1]), info("y", DType::I64, &[1797])]);
        let x = load(&digits(), "x").unwrap();
        let largest = x.as_slice::<f32>().unwrap().iter().fold(0f32, |a, &b| a.max(b));
        assert_eq!((x.shape(), largest), (&[1797, 8, 8, 1][..], 16.0));
        let y = load(&digits(), "y").unwrap();
        assert_eq!(y.as_slice::<i64>().unwrap()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let missing = load(&digits(), "z").unwrap_err().to_string();
        assert!(missing.ends_with("there is no array `z` in it; it holds `x`, `y`"), "{missing}");
    }

    #[test]
    fn archives_round_trip_to_the_byte() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("a.npz"), directory.path().join("b.npz"));
        let x = Tensor::from_vec(&[2, 2], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
        let mask = Tensor::from_vec(&[3], vec![true, false, true]).unwrap();
        for path in [&first, &second] {
            save(path, &[("x", &x), ("mask", &mask)]).unwrap();
        }
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        assert_eq!(load(&first, "x").unwrap(), x);
        assert_eq!(load(&first, "mask").unwrap(), mask);
        let infos = [info("x", DType::F32, &[2, 2]), info("mask", DType::Bool, &[3])];
        assert_eq!(header(&first).unwrap(), infos);
    }

    #[test]
    fn damaged_archives_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bad.npz");
        assert!(matches!(header(&path).unwrap_err().problem, Problem::Missing));
        let good = std::fs::read(digits()).unwrap();
        for end in [0, 10, 1000, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..end]).unwrap();
            assert!(header(&path).is_err() && load(&path, "x").is_err(), "{end}");
        }
        // One flipped bit in the data is found by the checksum or by the decompression.
        let mut flipped = good.clone();
        flipped[20_000] ^= 4;
        std::fs::write(&path, flipped).unwrap();
        assert!(load(&path, "x").is_err());
    }
}
