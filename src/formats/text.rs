//! Plain text as numbers: bytes, or characters by their place in a sorted vocabulary.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{FormatError, Problem};
use crate::tensor::Tensor;

/// The distinct characters of a text in ascending order; an id is a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    characters: Vec<char>,
}

impl Vocabulary {
    pub fn of(text: &str) -> Vocabulary {
        Vocabulary { characters: text.chars().collect::<BTreeSet<char>>().into_iter().collect() }
    }

    pub fn characters(&self) -> &[char] {
        &self.characters
    }

    pub fn len(&self) -> usize {
        self.characters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// The ids of a text; the first character without one is the error.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, char> {
        // There are fewer characters than i32 has values.
        let id = |c: char| self.characters.binary_search(&c).map(|id| id as i32).map_err(|_| c);
        text.chars().map(id).collect()
    }

    /// The text of ids; the first id that is none is the error.
    pub fn decode(&self, ids: &[i32]) -> Result<String, i32> {
        let character = |&id: &i32| {
            let character = usize::try_from(id).ok().and_then(|id| self.characters.get(id));
            character.copied().ok_or(id)
        };
        ids.iter().map(character).collect()
    }
}

/// The characters of a UTF-8 file as i32 ids, and their vocabulary.
pub fn load_characters(path: &Path) -> Result<(Vocabulary, Tensor), FormatError> {
    let load = || {
        let text = read(path)?;
        let vocabulary = Vocabulary::of(&text);
        let ids = vocabulary.encode(&text).map_err(|c| Problem::malformed(format!("{c:?} has no id")))?;
        let ids = Tensor::from_vec(&[ids.len()], ids)?;
        Ok::<_, Problem>((vocabulary, ids))
    };
    load().map_err(|problem| problem.in_file(path))
}

/// A text cut into windows of as many characters each.
#[derive(Clone, Debug)]
pub struct Windows {
    pub vocabulary: Vocabulary,
    /// i32[windows, length]: ids, window after window; characters that fill no window are left out.
    pub characters: Tensor,
    /// i32[windows, length]: the id that follows each of them.
    pub following: Tensor,
}

/// The windows of a UTF-8 file; none where it has no more characters than a window.
pub fn load_windows(path: &Path, length: usize) -> Result<Windows, FormatError> {
    let load = || {
        let text = read(path)?;
        let vocabulary = Vocabulary::of(&text);
        let ids = vocabulary.encode(&text).map_err(|c| Problem::malformed(format!("{c:?} has no id")))?;
        let count = ids.len().saturating_sub(1) / length.max(1);
        let part = |from: usize| {
            let part = ids.get(from..from + count * length).unwrap_or_default();
            Tensor::from_vec(&[count, length], part.to_vec())
        };
        Ok::<_, Problem>(Windows { characters: part(0)?, following: part(1)?, vocabulary })
    };
    load().map_err(|problem| problem.in_file(path))
}

/// The bytes of a file as u8.
pub fn load_bytes(path: &Path) -> Result<Tensor, FormatError> {
    let load = || {
        let bytes = fs::read(path)?;
        Ok::<_, Problem>(Tensor::from_vec(&[bytes.len()], bytes)?)
    };
    load().map_err(|problem| problem.in_file(path))
}

/// A file that must be UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    String::from_utf8(fs::read(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::malformed(format!("it is not UTF-8 text: byte {at} begins no character"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_sorted_characters() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.txt");
        fs::write(&path, "banänä\n").unwrap();
        let (vocabulary, ids) = load_characters(&path).unwrap();
        assert_eq!(vocabulary.characters(), ['\n', 'a', 'b', 'n', 'ä']);
        let slice = ids.as_slice::<i32>().unwrap();
        assert_eq!(slice, [2, 1, 3, 4, 3, 4, 0]);
        assert_eq!(vocabulary.decode(slice).unwrap(), "banänä\n");
        assert_eq!(vocabulary.encode("abc"), Err('c'));
        assert_eq!(vocabulary.decode(&[0, 5]), Err(5));
        assert_eq!(vocabulary.decode(&[-1]), Err(-1));
        assert_eq!(load_bytes(&path).unwrap().len(), 9);
        let windows = load_windows(&path, 3).unwrap();
        assert_eq!(windows.characters.shape(), [2, 3]);
        assert_eq!(windows.characters.as_slice::<i32>().unwrap(), [2, 1, 3, 4, 3, 4]);
        assert_eq!(windows.following.as_slice::<i32>().unwrap(), [1, 3, 4, 3, 4, 0]);
        assert_eq!(load_windows(&path, 7).unwrap().characters.shape(), [0, 7]);
        fs::write(&path, [b'a', 0xff]).unwrap();
        let error = load_characters(&path).unwrap_err().to_string();
        assert!(error.ends_with("it is not UTF-8 text: byte 1 begins no character"), "{error}");
    }
}
