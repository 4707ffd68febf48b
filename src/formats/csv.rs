//! csv: a table of numbers, with or without a line of names.
//!
//! Fields are separated by commas and may be quoted; spaces around them are ignored. The first line
//! is a line of names when any of its fields is no number. `nan` and `inf` are numbers.

use std::path::Path;

use super::{FormatError, Problem};
use crate::tensor::Tensor;

/// A table: f64 of shape `[rows, columns]`, and the names of the columns where the file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub names: Option<Vec<String>>,
    pub values: Tensor,
    /// In which line of the file each row stands, from 1.
    pub lines: Vec<usize>,
}

pub fn load(path: &Path) -> Result<Table, FormatError> {
    let read = || parse(&super::text::read(path)?);
    read().map_err(|problem| problem.in_file(path))
}

fn parse(text: &str) -> Result<Table, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut names = None;
    let mut values = Vec::new();
    let mut columns = None;
    let mut rows = Vec::new();
    for (number, line) in lines {
        let line_number = number + 1;
        let fields: Vec<&str> = split(line);
        let expected = *columns.get_or_insert(fields.len());
        if fields.len() != expected {
            let field = fields.len().min(expected) + 1;
            let message = format!("the line has {} fields, the first one has {expected}", fields.len());
            return Err(Problem::Field { line: line_number, field, message });
        }
        if names.is_none() && rows.is_empty() && fields.iter().any(|field| number_in(field).is_none()) {
            names = Some(fields.iter().map(|field| field.to_string()).collect());
            continue;
        }
        for (index, field) in fields.iter().enumerate() {
            values.push(number_in(field).ok_or_else(|| {
                let message = match field.is_empty() {
                    true => "the field is empty; write nan for a missing number".into(),
                    false => format!("`{field}` is not a number"),
                };
                Problem::Field { line: line_number, field: index + 1, message }
            })?);
        }
        rows.push(line_number);
    }
    match columns {
        Some(columns) if !rows.is_empty() => {
            Ok(Table { names, values: Tensor::from_vec(&[rows.len(), columns], values)?, lines: rows })
        }
        _ => Err(Problem::malformed("there are no rows of numbers in it")),
    }
}

/// The number that a field is, if it is one.
pub(super) fn number_in(field: &str) -> Option<f64> {
    field.parse().ok()
}

/// The fields of a line; a comma within quotes separates nothing.
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let separators = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    let clean = |field: &str| -> Option<std::ops::Range<usize>> {
        let field = field.trim();
        field.strip_prefix('"')?.strip_suffix('"').map(|inner| 1..1 + inner.len())
    };
    let fields = line.split(separators).map(|field| match clean(field) {
        Some(inner) => field.trim()[inner].trim(),
        None => field.trim(),
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let table = parse("\u{feff}a, \"b, c\" ,d\r\n1,2.5,-3e2\r\n\r\n4,\"5\",inf\n").unwrap();
        assert_eq!(table.names.unwrap(), ["a", "b, c", "d"]);
        let values = Tensor::from_vec(&[2, 3], vec![1.0, 2.5, -300.0, 4.0, 5.0, f64::INFINITY]).unwrap();
        assert_eq!((table.values, table.lines), (values, vec![2, 4]));
        let bare = parse("1\n2").unwrap();
        assert_eq!((bare.names, bare.values.shape()), (None, &[2, 1][..]));
    }

    #[test]
    fn errors_have_a_place() {
        let place = |text: &str| match parse(text).unwrap_err() {
            Problem::Field { line, field, .. } => (line, field),
            other => panic!("{other}"),
        };
        assert_eq!(place("a,b\n1,2\n3,x\n"), (3, 2));
        assert_eq!(place("1,2\n\n3\n"), (3, 2));
        assert_eq!(place("1,2\n3,4,5\n"), (2, 3));
        assert_eq!(place("1,2\n,4\n"), (2, 1));
        assert_eq!(place("a,b\nc,d\n"), (2, 1));
        assert!(matches!(parse(""), Err(Problem::Malformed(_))));
        assert!(matches!(parse("a,b\n"), Err(Problem::Malformed(_))));
    }
}
