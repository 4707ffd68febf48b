//! Data of any format as named arrays: a file of arrays, a table, a folder of such files, a folder with a folder for each class.
//!
//! - `npz`: the arrays that it names.
//! - `npy`, `idx`: one array, `x`.
//! - `csv`: `x`, all numbers as `[rows, columns]`, and each named column as an array, of integers where all its numbers are.
//! - `folder`: files of one of these formats, joined along their first axes in the order of their names; or a folder for each class, with
//!   one npy file for each sample: `x`, the samples, and `y`, the numbers of their classes in the order of names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use super::{ArrayInfo, FormatError, Problem, csv, idx, npy, npz};
use crate::tensor::{DType, Tensor};

/// The formats that this room tells apart, by the names that programs call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Npz,
    Npy,
    Csv,
    Idx,
    Folder,
}

/// What a source holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub arrays: Vec<ArrayInfo>,
    /// How many classes a folder of folders has.
    pub classes: Option<usize>,
}

/// Tables that were read, so that each is parsed once for all its columns.
pub type Tables = HashMap<PathBuf, csv::Table>;

impl Format {
    pub const NAMES: [&str; 5] = ["npz", "npy", "csv", "idx", "folder"];

    pub fn parse(name: &str) -> Option<Format> {
        match name {
            "npz" => Some(Format::Npz),
            "npy" => Some(Format::Npy),
            "csv" => Some(Format::Csv),
            "idx" => Some(Format::Idx),
            "folder" => Some(Format::Folder),
            _ => None,
        }
    }

    /// The format of a file in a folder. The files of MNIST are called `train-images-idx3-ubyte`.
    fn of(file: &Path) -> Option<Format> {
        let name = file.file_name()?.to_str()?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("npz") => Some(Format::Npz),
            Some("npy") => Some(Format::Npy),
            Some("csv") => Some(Format::Csv),
            Some("idx") => Some(Format::Idx),
            _ if name.ends_with("-ubyte") => Some(Format::Idx),
            _ => None,
        }
    }

    /// What a source of this format holds. Of files of arrays the headers alone are read; tables are kept.
    pub fn contents(self, path: &Path, tables: &mut Tables) -> Result<Contents, FormatError> {
        let one = |info: ArrayInfo| vec![ArrayInfo { name: "x".into(), ..info }];
        let arrays = match self {
            Format::Npz => npz::header(path)?,
            Format::Npy => one(npy::header(path)?),
            Format::Idx => one(idx::header(path)?),
            Format::Csv => {
                let table = parsed(path, tables)?;
                let info = |(name, tensor): (String, Tensor)| ArrayInfo {
                    name,
                    dtype: tensor.dtype(),
                    shape: tensor.shape().to_vec(),
                };
                columns(table).map_err(|problem| problem.in_file(path))?.into_iter().map(info).collect()
            }
            Format::Folder => return Folder::read(path)?.contents(tables),
        };
        Ok(Contents { arrays, classes: None })
    }

    /// One of the arrays that [`Format::contents`] lists.
    pub fn load(self, path: &Path, array: &str, tables: &mut Tables) -> Result<Tensor, FormatError> {
        match self {
            Format::Npz => npz::load(path, array),
            Format::Npy => npy::load(path),
            Format::Idx => idx::load(path),
            Format::Csv => {
                let table = parsed(path, tables)?;
                let names = table.names.as_deref().unwrap_or_default();
                let found = match names.iter().position(|name| name == array) {
                    Some(at) => column(table, at),
                    None if array == "x" => Ok(table.values.clone()),
                    None => Err(Problem::NoEntry { name: array.to_owned(), available: names.to_vec() }),
                };
                found.map_err(|problem| problem.in_file(path))
            }
            Format::Folder => Folder::read(path)?.load(array, tables),
        }
    }

    /// The file, of a table with the line, that holds a sample, for messages: `parts/3.csv, line 17`.
    pub fn holder(self, path: &Path, sample: usize, tables: &mut Tables) -> String {
        let found = match self {
            Format::Csv => tables.get(path).and_then(|table| table.lines.get(sample)),
            Format::Folder => {
                let within = Folder::read(path).and_then(|folder| folder.holder(sample, tables));
                return match within {
                    Ok(Some((format, file, sample))) => format.holder(&file, sample, tables),
                    _ => path.display().to_string(),
                };
            }
            Format::Npz | Format::Npy | Format::Idx => None,
        };
        match found {
            Some(line) => format!("{}, line {line}", path.display()),
            None => path.display().to_string(),
        }
    }
}

/// A table, which is read unless it was before.
fn parsed<'t>(path: &Path, tables: &'t mut Tables) -> Result<&'t csv::Table, FormatError> {
    Ok(match tables.entry(path.to_path_buf()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(csv::load(path)?),
    })
}

/// The arrays of a table: all of it, then each named column. A column that is called `x` is that one.
fn columns(table: &csv::Table) -> Result<Vec<(String, Tensor)>, Problem> {
    let names = table.names.as_deref().unwrap_or_default();
    let mut arrays: Vec<(String, Tensor)> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if arrays.iter().any(|(other, _)| other == name) {
            // A line of numbers with a slip in it looks like one of names.
            let not_a_number = names.iter().find(|name| csv::number_in(name).is_none());
            let why = match (csv::number_in(name), not_a_number) {
                (Some(_), Some(word)) => {
                    format!("; the first line is one of names, since `{word}` is not a number")
                }
                _ => String::new(),
            };
            return Err(Problem::malformed(format!("two columns are called `{name}`{why}")));
        }
        arrays.push((name.clone(), column(table, at)?));
    }
    if arrays.iter().all(|(name, _)| name != "x") {
        arrays.insert(0, ("x".into(), table.values.clone()));
    }
    Ok(arrays)
}

/// One column of a table, of integers where all its numbers are.
fn column(table: &csv::Table, at: usize) -> Result<Tensor, Problem> {
    let (rows, width) = (table.values.shape()[0], table.values.shape()[1]);
    let values = table.values.as_slice::<f64>().unwrap_or_default();
    let column: Vec<f64> = values.iter().skip(at).step_by(width.max(1)).copied().collect();
    // Whole numbers that a double holds exactly.
    let whole = |value: &f64| value.fract() == 0.0 && value.abs() < 9e15;
    Ok(match column.iter().all(whole) {
        true => Tensor::from_vec(&[rows], column.iter().map(|&value| value as i64).collect())?,
        false => Tensor::from_vec(&[rows], column)?,
    })
}

/// What lies in a folder, in the order of names.
enum Folder {
    /// Files of one format, each with some of the samples.
    Parts { folder: PathBuf, format: Format, files: Vec<PathBuf> },
    /// For each class its samples.
    Classes { folder: PathBuf, classes: Vec<Vec<PathBuf>> },
}

/// The entries of a folder by name. Those that begin with a dot are not shown to programs.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let read = || {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                entries.push(entry.path());
            }
        }
        entries.sort();
        Ok::<_, Problem>(entries)
    };
    read().map_err(|problem| problem.in_file(folder))
}

fn malformed(path: &Path, message: impl Into<String>) -> FormatError {
    Problem::malformed(message).in_file(path)
}

impl Folder {
    fn read(folder: &Path) -> Result<Folder, FormatError> {
        let entries = entries(folder)?;
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.into_iter().partition(|entry| entry.is_dir());
        let folder = folder.to_path_buf();
        match (folders.is_empty(), files.first()) {
            (true, None) => Err(malformed(&folder, "there are no files in it")),
            (true, Some(first)) => {
                let known = "the files of a folder are npz, npy, csv or idx, all of one format";
                let format = Format::of(first).ok_or_else(|| malformed(first, known))?;
                match files.iter().find(|file| Format::of(file) != Some(format)) {
                    Some(other) => Err(malformed(other, known)),
                    None => Ok(Folder::Parts { folder, format, files }),
                }
            }
            (false, Some(file)) => {
                Err(malformed(file, "it stands beside folders; these are classes, and hold all samples"))
            }
            (false, None) => {
                let mut classes = Vec::new();
                for class in folders {
                    let samples = self::entries(&class)?;
                    if let Some(other) = samples.iter().find(|file| Format::of(file) != Some(Format::Npy)) {
                        return Err(malformed(
                            other,
                            "the folder of a class holds npy files, one for each sample",
                        ));
                    }
                    classes.push(samples);
                }
                Ok(Folder::Classes { folder, classes })
            }
        }
    }

    fn contents(&self, tables: &mut Tables) -> Result<Contents, FormatError> {
        match self {
            Folder::Parts { folder, format, files } => {
                let mut all: Option<Vec<ArrayInfo>> = None;
                for file in files {
                    let part = format.contents(file, tables)?.arrays;
                    match &mut all {
                        None => all = Some(part),
                        Some(all) => joined(all, &part).map_err(|problem| problem.in_file(file))?,
                    }
                }
                let arrays = all.unwrap_or_default();
                match arrays.iter().find(|array| array.shape.is_empty()) {
                    Some(array) => Err(malformed(
                        folder,
                        format!("`{}` has no axis along which files are joined", array.name),
                    )),
                    None => Ok(Contents { arrays, classes: None }),
                }
            }
            Folder::Classes { folder, classes } => {
                let mut sample: Option<ArrayInfo> = None;
                for file in classes.iter().flatten() {
                    let info = npy::header(file)?;
                    match &sample {
                        Some(first) if (first.dtype, &first.shape) != (info.dtype, &info.shape) => {
                            let message = format!(
                                "this sample is {}{:?}, the ones before are {}{:?}",
                                info.dtype, info.shape, first.dtype, first.shape
                            );
                            return Err(malformed(file, message));
                        }
                        Some(_) => {}
                        None => sample = Some(info),
                    }
                }
                let count = classes.iter().map(Vec::len).sum();
                let sample = sample.ok_or_else(|| malformed(folder, "there are no samples in it"))?;
                let shape = std::iter::once(count).chain(sample.shape).collect();
                let x = ArrayInfo { name: "x".into(), dtype: sample.dtype, shape };
                let y = ArrayInfo { name: "y".into(), dtype: DType::I64, shape: vec![count] };
                Ok(Contents { arrays: vec![x, y], classes: Some(classes.len()) })
            }
        }
    }

    /// The file that holds a sample, its format, and which of its samples that is.
    fn holder(
        self,
        sample: usize,
        tables: &mut Tables,
    ) -> Result<Option<(Format, PathBuf, usize)>, FormatError> {
        match self {
            Folder::Parts { format, files, .. } => {
                let mut before = 0;
                for file in files {
                    let arrays = format.contents(&file, tables)?.arrays;
                    let rows = arrays.first().and_then(|array| array.shape.first()).copied().unwrap_or(0);
                    if sample < before + rows {
                        return Ok(Some((format, file, sample - before)));
                    }
                    before += rows;
                }
                Ok(None)
            }
            Folder::Classes { classes, .. } => {
                Ok(classes.into_iter().flatten().nth(sample).map(|file| (Format::Npy, file, 0)))
            }
        }
    }

    fn load(&self, array: &str, tables: &mut Tables) -> Result<Tensor, FormatError> {
        let contents = self.contents(tables)?;
        let folder = match self {
            Folder::Parts { folder, .. } | Folder::Classes { folder, .. } => folder,
        };
        let Some(info) = contents.arrays.iter().find(|info| info.name == array) else {
            let available = contents.arrays.into_iter().map(|info| info.name).collect();
            return Err(Problem::NoEntry { name: array.to_owned(), available }.in_file(folder));
        };
        let mut bytes = Vec::new();
        let mut append = |file: &Path, tensor: Tensor, shape: &[usize]| {
            // A table's column may be one of integers in this file alone. Else it is what its header said a moment ago.
            let widened = tensor.dtype() == DType::I64 && info.dtype == DType::F64;
            if tensor.shape() != shape || !(tensor.dtype() == info.dtype || widened) {
                return Err(malformed(file, "the file changed while it was read"));
            }
            bytes.extend(tensor.cast(info.dtype).contiguous().to_le_bytes());
            Ok(())
        };
        match self {
            Folder::Classes { classes, .. } if array == "y" => {
                let numbers = classes
                    .iter()
                    .enumerate()
                    .flat_map(|(class, samples)| samples.iter().map(move |_| class));
                let numbers: Vec<i64> = numbers.map(|class| class as i64).collect();
                let made = Tensor::from_vec(&info.shape, numbers);
                return made.map_err(|error| Problem::from(error).in_file(folder));
            }
            Folder::Classes { classes, .. } => {
                for file in classes.iter().flatten() {
                    append(file, npy::load(file)?, &info.shape[1..])?;
                }
            }
            Folder::Parts { format, files, .. } => {
                for file in files {
                    let tensor = format.load(file, array, tables)?;
                    let rows = tensor.shape().first().copied().unwrap_or(0);
                    let shape: Vec<usize> =
                        std::iter::once(rows).chain(info.shape[1..].iter().copied()).collect();
                    append(file, tensor, &shape)?;
                }
            }
        }
        let made = Tensor::from_le_bytes(info.dtype, &info.shape, &bytes);
        made.map_err(|error| Problem::from(error).in_file(folder))
    }
}

/// Adds the samples of a further file to those of the ones before.
fn joined(all: &mut [ArrayInfo], part: &[ArrayInfo]) -> Result<(), Problem> {
    let names = |arrays: &[ArrayInfo]| arrays.iter().map(|array| array.name.clone()).collect::<Vec<_>>();
    if names(all) != names(part) {
        let (before, here) = (names(all).join(", "), names(part).join(", "));
        return Err(Problem::malformed(format!("it holds {here}; the files before hold {before}")));
    }
    for (all, part) in all.iter_mut().zip(part) {
        let (first, rest) = (all.shape.first().copied(), all.shape.get(1..));
        // The columns of a table are of integers in one file and not in the next.
        let widened = matches!((all.dtype, part.dtype), (DType::I64, DType::F64) | (DType::F64, DType::I64));
        if rest != part.shape.get(1..) || !(all.dtype == part.dtype || widened) {
            return Err(Problem::malformed(format!(
                "`{}` is {}{:?} here, in the files before {}{:?}",
                all.name, part.dtype, part.shape, all.dtype, all.shape
            )));
        }
        if let (Some(first), Some(more)) = (first, part.shape.first()) {
            all.shape[0] = first
                .checked_add(*more)
                .ok_or_else(|| Problem::malformed(format!("`{}` has too many entries", all.name)))?;
        }
        if widened {
            all.dtype = DType::F64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(folder: &Path, name: &str, shape: &[usize], values: Vec<f32>) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        npy::save(&path, &Tensor::from_vec(shape, values).unwrap()).unwrap();
    }

    #[test]
    fn a_folder_has_the_samples_of_its_files() {
        let place = tempfile::tempdir().unwrap();
        saved(place.path(), "parts/b.npy", &[1, 2], vec![5.0, 6.0]);
        saved(place.path(), "parts/a.npy", &[2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        fs::write(place.path().join("parts/.hidden"), "no array").unwrap();
        let parts = place.path().join("parts");
        let contents = Format::Folder.contents(&parts, &mut Tables::new()).unwrap();
        assert_eq!(contents.arrays, [ArrayInfo { name: "x".into(), dtype: DType::F32, shape: vec![3, 2] }]);
        let x = Format::Folder.load(&parts, "x", &mut Tables::new()).unwrap();
        assert_eq!(x, Tensor::from_vec(&[3, 2], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap());
        saved(place.path(), "parts/c.npy", &[1, 3], vec![0.0; 3]);
        let refused = Format::Folder.contents(&parts, &mut Tables::new()).unwrap_err().to_string();
        assert!(refused.contains("c.npy") && refused.contains("[1, 3]"), "{refused}");
        fs::write(parts.join("c.npy"), [0x93, b'N']).unwrap();
        assert!(
            Format::Folder.contents(&parts, &mut Tables::new()).unwrap_err().to_string().contains("c.npy")
        );
        fs::rename(parts.join("c.npy"), parts.join("c.txt")).unwrap();
        let refused = Format::Folder.contents(&parts, &mut Tables::new()).unwrap_err().to_string();
        assert!(refused.contains("c.txt") && refused.contains("of one format"), "{refused}");
    }

    #[test]
    fn a_folder_of_folders_has_classes() {
        let place = tempfile::tempdir().unwrap();
        saved(place.path(), "pets/dog/1.npy", &[2], vec![3.0, 4.0]);
        saved(place.path(), "pets/cat/2.npy", &[2], vec![1.0, 2.0]);
        saved(place.path(), "pets/cat/1.npy", &[2], vec![0.0, 1.0]);
        let pets = place.path().join("pets");
        let contents = Format::Folder.contents(&pets, &mut Tables::new()).unwrap();
        assert_eq!((contents.classes, contents.arrays.len()), (Some(2), 2));
        let load = |array| Format::Folder.load(&pets, array, &mut Tables::new()).unwrap();
        assert_eq!(load("x"), Tensor::from_vec(&[3, 2], vec![0f32, 1.0, 1.0, 2.0, 3.0, 4.0]).unwrap());
        assert_eq!(load("y"), Tensor::from_vec(&[3], vec![0i64, 0, 1]).unwrap());
        saved(place.path(), "pets/dog/0.npy", &[3], vec![0.0; 3]);
        assert!(
            Format::Folder.contents(&pets, &mut Tables::new()).unwrap_err().to_string().contains("0.npy")
        );
        fs::write(pets.join("notes.txt"), "").unwrap();
        assert!(
            Format::Folder
                .contents(&pets, &mut Tables::new())
                .unwrap_err()
                .to_string()
                .contains("beside folders")
        );
    }

    #[test]
    fn tables_have_columns() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("t.csv");
        fs::write(&path, "width,kind\n1.5,0\n2.5,1\n").unwrap();
        let contents = Format::Csv.contents(&path, &mut Tables::new()).unwrap().arrays;
        let shown: Vec<_> =
            contents.iter().map(|array| (array.name.as_str(), array.dtype, array.shape.clone())).collect();
        assert_eq!(
            shown,
            [("x", DType::F64, vec![2, 2]), ("width", DType::F64, vec![2]), ("kind", DType::I64, vec![2])]
        );
        let kinds = Format::Csv.load(&path, "kind", &mut Tables::new()).unwrap();
        assert_eq!(kinds, Tensor::from_vec(&[2], vec![0i64, 1]).unwrap());
        fs::write(&path, "a,a\n1,2\n").unwrap();
        assert!(
            Format::Csv.contents(&path, &mut Tables::new()).unwrap_err().to_string().contains("two columns")
        );
    }
}
