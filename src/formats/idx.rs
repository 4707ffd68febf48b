//! idx, the array files of MNIST (LeCun, Cortes and Burges): big-endian throughout.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::npy::{exactly, rest, stored_bytes};
use super::{ArrayInfo, FormatError, Problem};
use crate::tensor::{DType, Element, Tensor, TensorError};

/// Dtype and shape, read from the header alone, of a file that is as long as they say.
pub fn header(path: &Path) -> Result<ArrayInfo, FormatError> {
    let read = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::new(file);
        let (stored, shape) = read_header(&mut reader)?;
        let behind = length.saturating_sub(reader.stream_position()?);
        exactly("the array", stored_bytes(stored.size(), &shape, stored.dtype())?, behind)?;
        Ok::<_, Problem>(ArrayInfo { name: String::new(), dtype: stored.dtype(), shape })
    };
    read().map_err(|problem| problem.in_file(path))
}

pub fn load(path: &Path) -> Result<Tensor, FormatError> {
    let read = || read_array(&mut BufReader::new(File::open(path)?));
    read().map_err(|problem| problem.in_file(path))
}

/// The element types of the format; those that no tensor has are widened to i32.
#[derive(Clone, Copy)]
enum Stored {
    U8,
    I8,
    I16,
    I32,
    F32,
    F64,
}

impl Stored {
    fn size(self) -> usize {
        match self {
            Stored::U8 | Stored::I8 => 1,
            Stored::I16 => 2,
            Stored::I32 | Stored::F32 => 4,
            Stored::F64 => 8,
        }
    }

    fn dtype(self) -> DType {
        match self {
            Stored::U8 => DType::U8,
            Stored::I8 | Stored::I16 | Stored::I32 => DType::I32,
            Stored::F32 => DType::F32,
            Stored::F64 => DType::F64,
        }
    }

    fn decode(self, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        fn each<T: Element, const N: usize>(
            shape: &[usize],
            bytes: &[u8],
            element: fn([u8; N]) -> T,
        ) -> Result<Tensor, TensorError> {
            let (chunks, _) = bytes.as_chunks::<N>();
            Tensor::from_vec(shape, chunks.iter().map(|&chunk| element(chunk)).collect())
        }
        match self {
            Stored::U8 => each(shape, bytes, u8::from_be_bytes),
            Stored::I8 => each(shape, bytes, |b| i32::from(i8::from_be_bytes(b))),
            Stored::I16 => each(shape, bytes, |b| i32::from(i16::from_be_bytes(b))),
            Stored::I32 => each(shape, bytes, i32::from_be_bytes),
            Stored::F32 => each(shape, bytes, f32::from_be_bytes),
            Stored::F64 => each(shape, bytes, f64::from_be_bytes),
        }
    }
}

fn read_header(reader: &mut dyn Read) -> Result<(Stored, Vec<usize>), Problem> {
    let mut magic = Vec::new();
    (&mut *reader).take(4).read_to_end(&mut magic)?;
    let [0, 0, code, rank] = magic[..] else {
        let compressed = magic.starts_with(&[0x1f, 0x8b]);
        let packed = "an idx file but a gzip archive; unpack it first (gunzip)";
        return Err(Problem::Kind { expected: if compressed { packed } else { "an idx file" } });
    };
    let stored = match code {
        0x08 => Stored::U8,
        0x09 => Stored::I8,
        0x0b => Stored::I16,
        0x0c => Stored::I32,
        0x0d => Stored::F32,
        0x0e => Stored::F64,
        _ => return Err(Problem::Kind { expected: "an idx file" }),
    };
    let needed = 4 * usize::from(rank);
    let mut sizes = Vec::new();
    let found = reader.take(needed as u64).read_to_end(&mut sizes)?;
    if found < needed {
        let (needed, found) = (needed as u64, found as u64);
        return Err(Problem::Truncated { what: "the idx header".into(), needed, found });
    }
    let (sizes, _) = sizes.as_chunks::<4>();
    Ok((stored, sizes.iter().map(|&size| u32::from_be_bytes(size) as usize).collect()))
}

fn read_array(reader: &mut dyn Read) -> Result<Tensor, Problem> {
    let (stored, shape) = read_header(reader)?;
    let needed = stored_bytes(stored.size(), &shape, stored.dtype())?;
    Ok(stored.decode(&shape, &rest(reader, "the array", needed)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read() {
        let labels = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];
        let expected = Tensor::from_vec(&[3], vec![7u8, 8, 9]).unwrap();
        assert_eq!(read_array(&mut &labels[..]).unwrap(), expected);
        let words = [0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 2, 255, 254, 1, 0];
        let expected = Tensor::from_vec(&[1, 2], vec![-2i32, 256]).unwrap();
        assert_eq!(read_array(&mut &words[..]).unwrap(), expected);
        for end in 0..words.len() {
            assert!(read_array(&mut &words[..end]).is_err());
        }
    }

    #[test]
    fn hostile_files_are_errors() {
        let huge = [&[0, 0, 14, 4][..], &[255; 16]].concat();
        assert!(matches!(read_array(&mut &huge[..]), Err(Problem::Tensor(_))));
        let large = [&[0, 0, 8, 1][..], &[255; 4]].concat();
        assert!(matches!(read_array(&mut &large[..]), Err(Problem::Truncated { found: 0, .. })));
        let packed = read_array(&mut &[0x1f, 0x8b, 8, 0][..]).unwrap_err().to_string();
        assert!(packed.contains("gunzip"), "{packed}");
        assert!(matches!(read_array(&mut &[0, 0, 7, 1][..]), Err(Problem::Kind { .. })));
    }
}
