//! npy, the array file of NumPy (NumPy Enhancement Proposal 1), versions 1 to 3.
//!
//! Read: all dtypes that npy has, small integers widened (i8, i16, u16 to i32; u32 to i64), both
//! byte orders, C and Fortran order. Written: little-endian, C order, version 1; npy has no bf16,
//! so it is written as f32, which holds its values exactly.
//! The header is parsed here and not by a library, because a hostile one may be nested deeply
//! enough to overflow the stack of a general parser of Python literals.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use super::{ArrayInfo, FormatError, Problem, write_atomic};
use crate::tensor::{DType, Element, Tensor, TensorError};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own limit is lower, 10,000.
const MAX_HEADER: usize = 1 << 16;
const MAX_RANK: usize = 64;

/// Dtype and shape, read from the header alone, of a file that is as long as they say.
pub fn header(path: &Path) -> Result<ArrayInfo, FormatError> {
    let read = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let header = Header::read(&mut BufReader::new(file))?;
        header.fits("the array", length)?;
        Ok::<_, Problem>(header.info(""))
    };
    read().map_err(|problem| problem.in_file(path))
}

/// How many bytes an array has in a file where an element has `size`; `dtype` is that of its tensor.
///
/// # Errors
/// More than can be addressed.
pub(super) fn stored_bytes(size: usize, shape: &[usize], dtype: DType) -> Result<u64, Problem> {
    let too_large = || TensorError::TooLarge { dtype, shape: shape.to_vec() };
    let bytes = dtype.bytes(shape).ok_or_else(too_large)?;
    Ok((bytes / dtype.size()).checked_mul(size).ok_or_else(too_large)? as u64)
}

/// Refuses a header that promises more bytes, or less, than the `found` ones behind it.
pub(super) fn exactly(what: &str, needed: u64, found: u64) -> Result<(), Problem> {
    match found.cmp(&needed) {
        Ordering::Less => Err(Problem::Truncated { what: what.into(), needed, found }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(Problem::Longer { what: what.into(), needed }),
    }
}

/// The rest of a stream, which is to have `needed` bytes. The buffer grows with what is really there.
pub(super) fn rest(reader: &mut dyn Read, what: &str, needed: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let found = (&mut *reader).take(needed).read_to_end(&mut bytes)? as u64;
    // At its end an archive compares the checksum.
    let more = match found == needed {
        true => reader.take(1).read_to_end(&mut Vec::new())? as u64,
        false => 0,
    };
    exactly(what, needed, found + more)?;
    Ok(bytes)
}

pub fn load(path: &Path) -> Result<Tensor, FormatError> {
    let read = || read_array(&mut BufReader::new(File::open(path)?), "the array");
    read().map_err(|problem| problem.in_file(path))
}

pub fn save(path: &Path, tensor: &Tensor) -> Result<(), FormatError> {
    write_atomic(path, |file| write_array(file, tensor))
}

/// What stands before the elements.
pub(super) struct Header {
    stored: Stored,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
    /// Its own bytes.
    length: u64,
}

/// The element type in the file.
#[derive(Clone, Copy)]
enum Stored {
    As(DType),
    I8,
    I16,
    U16,
    U32,
}

impl Stored {
    /// From a type descriptor of NumPy without its byte order: `f4`.
    fn parse(descriptor: &str) -> Option<Stored> {
        Some(match descriptor {
            "f4" => Stored::As(DType::F32),
            "f8" => Stored::As(DType::F64),
            "f2" => Stored::As(DType::F16),
            "i4" => Stored::As(DType::I32),
            "i8" => Stored::As(DType::I64),
            "u1" => Stored::As(DType::U8),
            "b1" => Stored::As(DType::Bool),
            "i1" => Stored::I8,
            "i2" => Stored::I16,
            "u2" => Stored::U16,
            "u4" => Stored::U32,
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Stored::As(dtype) => dtype.size(),
            Stored::I8 => 1,
            Stored::I16 | Stored::U16 => 2,
            Stored::U32 => 4,
        }
    }

    fn dtype(self) -> DType {
        match self {
            Stored::As(dtype) => dtype,
            Stored::I8 | Stored::I16 | Stored::U16 => DType::I32,
            Stored::U32 => DType::I64,
        }
    }

    /// The tensor of little-endian elements.
    fn decode(self, shape: &[usize], bytes: &[u8]) -> Result<Tensor, Problem> {
        fn widened<T: Element, const N: usize>(
            shape: &[usize],
            bytes: &[u8],
            widen: fn([u8; N]) -> T,
        ) -> Result<Tensor, Problem> {
            let (chunks, _) = bytes.as_chunks::<N>();
            Ok(Tensor::from_vec(shape, chunks.iter().map(|&chunk| widen(chunk)).collect())?)
        }
        match self {
            Stored::As(dtype) => Ok(Tensor::from_le_bytes(dtype, shape, bytes)?),
            Stored::I8 => widened(shape, bytes, |b| i32::from(i8::from_le_bytes(b))),
            Stored::I16 => widened(shape, bytes, |b| i32::from(i16::from_le_bytes(b))),
            Stored::U16 => widened(shape, bytes, |b| i32::from(u16::from_le_bytes(b))),
            Stored::U32 => widened(shape, bytes, |b| i64::from(u32::from_le_bytes(b))),
        }
    }
}

impl Header {
    pub(super) fn read(reader: &mut dyn Read) -> Result<Header, Problem> {
        let kind = Problem::Kind { expected: "an npy array" };
        let mut start = [0; 8];
        if fill(reader, &mut start)? < start.len() || start[..6] != *MAGIC {
            return Err(kind);
        }
        let length_size = match start[6..] {
            [1, 0] => 2,
            [2 | 3, 0] => 4,
            _ => {
                let [major, minor] = [start[6], start[7]];
                return Err(Problem::malformed(format!("npy version {major}.{minor} is unknown")));
            }
        };
        let mut length = [0; 4];
        let found = fill(reader, &mut length[..length_size])?;
        let needed = u32::from_le_bytes(length) as usize;
        if found == length_size && needed > MAX_HEADER {
            return Err(Problem::malformed(format!("the npy header has {needed} bytes, too many")));
        }
        let mut text = vec![0; needed];
        let found = fill(reader, &mut text)?;
        if found < needed || needed == 0 {
            let (needed, found) = (needed as u64, found as u64);
            return Err(Problem::Truncated { what: "the npy header".into(), needed, found });
        }
        let text = std::str::from_utf8(&text);
        let text = text.map_err(|_| Problem::malformed("the npy header is not text"))?;
        let header = Literal { rest: text.trim_end() }.header()?;
        Ok(Header { length: (start.len() + length_size + needed) as u64, ..header })
    }

    fn needed(&self) -> Result<u64, Problem> {
        stored_bytes(self.stored.size(), &self.shape, self.stored.dtype())
    }

    /// Refuses a header of a stream of `total` bytes, itself among them, that promises more or less.
    pub(super) fn fits(&self, what: &str, total: u64) -> Result<(), Problem> {
        exactly(what, self.needed()?, total.saturating_sub(self.length))
    }

    pub(super) fn info(&self, name: &str) -> ArrayInfo {
        ArrayInfo { name: name.into(), dtype: self.stored.dtype(), shape: self.shape.clone() }
    }
}

/// Reads a whole npy stream: header and elements. `what` names the array in errors.
pub(super) fn read_array(reader: &mut dyn Read, what: &str) -> Result<Tensor, Problem> {
    let header = Header::read(reader)?;
    let mut bytes = rest(reader, what, header.needed()?)?;
    let Header { stored, big_endian, fortran, mut shape, .. } = header;
    if big_endian {
        bytes.chunks_exact_mut(stored.size()).for_each(<[u8]>::reverse);
    }
    if fortran {
        shape.reverse();
        return Ok(stored.decode(&shape, &bytes)?.reversed_axes().contiguous());
    }
    stored.decode(&shape, &bytes)
}

/// Writes a whole npy stream.
pub(super) fn write_array(writer: &mut dyn Write, tensor: &Tensor) -> io::Result<()> {
    let descriptor = match tensor.dtype() {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::BF16 => return write_array(writer, &tensor.cast(DType::F32)),
        DType::F16 => "<f2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::Bool => "|b1",
    };
    let sizes: String = tensor.shape().iter().map(|size| format!("{size},")).collect();
    let mut header = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The elements start at a multiple of 64.
    let prefix = MAGIC.len() + 4;
    let length = (prefix + header.len() + 1).next_multiple_of(64) - prefix;
    header += &" ".repeat(length - 1 - header.len());
    header.push('\n');
    let length = u16::try_from(length).map_err(|_| io::Error::other("too many axes for npy"))?;
    writer.write_all(MAGIC)?;
    writer.write_all(&[1, 0])?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    writer.write_all(&tensor.to_le_bytes())
}

/// Reads until the buffer is full or the stream ends; returns how much was read.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The Python literal of a header: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, Problem> {
        let (mut descriptor, mut fortran, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => descriptor = Some(self.descriptor()?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.shape()?),
                _ => return Err(self.wrong()),
            }
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        let (Some((stored, big_endian)), Some(fortran), Some(shape)) = (descriptor, fortran, shape) else {
            return Err(Problem::malformed("the npy header lacks descr, fortran_order or shape"));
        };
        Ok(Header { stored, big_endian, fortran, shape, length: 0 })
    }

    fn wrong(&self) -> Problem {
        let near: String = self.rest.chars().take(20).collect();
        Problem::malformed(format!("the npy header is malformed at {near:?}"))
    }

    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Problem> {
        if self.accept(token) { Ok(()) } else { Err(self.wrong()) }
    }

    fn string(&mut self) -> Result<&'a str, Problem> {
        let quote = if self.accept("'") { '\'' } else { '"' };
        if quote == '"' {
            self.expect("\"")?;
        }
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.wrong())?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, Problem> {
        match self.accept("True") {
            true => Ok(true),
            false => self.expect("False").map(|()| false),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Problem> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            let digits = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let (number, rest) = self.rest.split_at(self.rest.len() - digits.len());
            let size = number.parse().map_err(|_| self.wrong())?;
            if shape.len() == MAX_RANK {
                return Err(Problem::malformed(format!("the array has more than {MAX_RANK} axes")));
            }
            shape.push(size);
            // Python 2 marked long integers.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }

    /// The element type and whether its bytes stand in big-endian order.
    fn descriptor(&mut self) -> Result<(Stored, bool), Problem> {
        let unknown =
            |found: String, hint| Err(Problem::ElementType { what: "the array".into(), found, hint });
        if self.accept("[") {
            return unknown("a record".into(), "save each field as an array of its own");
        }
        let text = self.string()?;
        let (order, name) = match text.strip_prefix(['<', '>', '|', '=']) {
            Some(name) => (text.as_bytes()[0], name),
            None => (b'=', text),
        };
        if let Some(stored) = Stored::parse(name) {
            // `=` is the order of the machine that wrote it; all that matter are little-endian.
            return Ok((stored, order == b'>'));
        }
        let (name, hint) = match name.as_bytes().first() {
            Some(b'O') => ("Python objects", "save numbers, for example with astype('float32')"),
            Some(b'U' | b'S') => ("text", "save the characters' numbers"),
            Some(b'c') => ("complex numbers", "save the real and the imaginary parts"),
            Some(b'u') if name == "u8" => ("u64", "save them as int64"),
            Some(b'V') => ("raw bytes (NumPy's form of bf16)", "save them as float32"),
            _ => (name, "nnc reads f32, f64, f16, i8 to i64, u8 to u32 and bool"),
        };
        unknown(name.into(), hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Tensor, Problem> {
        read_array(&mut &bytes[..], "the array")
    }

    fn file(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn all_dtypes_round_trip() {
        let tensor = Tensor::from_vec(&[2, 1, 3], vec![0f32, 1.0, 0.0, 1.0, 1.0, 0.0]).unwrap();
        for dtype in DType::ALL {
            let tensor = tensor.cast(dtype);
            let mut bytes = Vec::new();
            write_array(&mut bytes, &tensor).unwrap();
            let back = parse(&bytes).unwrap();
            let expected = if dtype == DType::BF16 { tensor.cast(DType::F32) } else { tensor };
            assert_eq!(back, expected);
        }
        for shape in [&[][..], &[0], &[1], &[3, 0, 2]] {
            let tensor = Tensor::zeros(DType::I64, shape).unwrap();
            let mut bytes = Vec::new();
            write_array(&mut bytes, &tensor).unwrap();
            assert_eq!(bytes.len() % 64, tensor.len() * 8);
            assert_eq!(parse(&bytes).unwrap(), tensor);
        }
    }

    #[test]
    fn orders_are_converted() {
        let dict = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        let tensor = parse(&file(dict, &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 255, 255])).unwrap();
        assert_eq!(tensor, Tensor::from_vec(&[2, 3], vec![1i32, 2, 3, 4, 5, -1]).unwrap());
        let dict = r#"{"shape": (2L,), "fortran_order": False, "descr": "u4"}"#;
        let tensor = parse(&file(dict, &[255, 255, 255, 255, 1, 0, 0, 0])).unwrap();
        assert_eq!(tensor, Tensor::from_vec(&[2], vec![u32::MAX.into(), 1i64]).unwrap());
    }

    #[test]
    fn hostile_files_are_errors() {
        let shape = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        for sizes in ["(9223372036854775807, 4)", "(0, 9223372036854775807, 3)", "(4611686018427387904,)"] {
            assert!(matches!(parse(&file(&shape(sizes), &[])), Err(Problem::Tensor(_))), "{sizes}");
        }
        let long = file(&shape("(1000000000000,)"), &[0; 16]);
        assert!(matches!(parse(&long), Err(Problem::Truncated { found: 16, .. })));
        let many = format!("({})", "1,".repeat(100));
        let nested = "(".repeat(60_000);
        for bad in ["(-1,)", "(1.5,)", "(99999999999999999999999,)", "(1", "1", "(,)", "", &many, &nested] {
            assert!(matches!(parse(&file(&shape(bad), &[0; 64])), Err(Problem::Malformed(_))), "{bad}");
        }
        for descriptor in ["'|O'", "'<U4'", "'<c8'", "'<u8'", "'|V2'", "[('a', '<f4')]", "'<f3'", "''"] {
            let dict = format!("{{'descr': {descriptor}, 'fortran_order': False, 'shape': (1,), }}");
            assert!(matches!(parse(&file(&dict, &[0; 64])), Err(Problem::ElementType { .. })), "{dict}");
        }
        assert!(matches!(parse(b"PK\x03\x04"), Err(Problem::Kind { .. })));
        assert!(matches!(parse(b""), Err(Problem::Kind { .. })));
        assert!(matches!(parse(b"\x93NUMPY\x09\x00"), Err(Problem::Malformed(_))));
        assert!(matches!(parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), Err(Problem::Malformed(_))));
        let good = file(&shape("(2, 2)"), &[0; 16]);
        for end in 0..good.len() {
            assert!(parse(&good[..end]).is_err(), "{end}");
        }
    }
}
