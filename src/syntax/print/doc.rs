//! A document that may be broken into lines in several ways, and the choice among them: a group stands
//! on one line where it fits, otherwise all its own lines break (Wadler, A prettier printer, 2003).
//! Must never know the language.

/// A document.
#[derive(Debug, Clone)]
pub enum Doc {
    Text(String),
    /// A space, or a new line where its group is broken.
    Line,
    /// Nothing, or a new line where its group is broken.
    SoftLine,
    /// A new line always: breaks every group around it.
    HardLine,
    /// A text that disappears where its group is broken.
    IfFlat(&'static str),
    /// A comment at the end of the line, whatever else the line gets: breaks every group around it.
    Comment(String),
    Concat(Vec<Doc>),
    /// New lines in it are indented by two more columns.
    Indent(Box<Doc>),
    Group(Box<Doc>),
}

impl Doc {
    pub fn empty() -> Doc {
        Doc::Concat(Vec::new())
    }

    pub fn concat(parts: impl IntoIterator<Item = Doc>) -> Doc {
        Doc::Concat(parts.into_iter().collect())
    }

    pub fn indent(self) -> Doc {
        Doc::Indent(Box::new(self))
    }

    pub fn group(self) -> Doc {
        Doc::Group(Box::new(self))
    }
}

impl From<&str> for Doc {
    fn from(text: &str) -> Doc {
        Doc::Text(text.to_string())
    }
}

impl From<String> for Doc {
    fn from(text: String) -> Doc {
        Doc::Text(text)
    }
}

/// Columns of code before which the comments of neighbouring lines are brought into one column.
const ALIGNED: usize = 80;

/// A finished line.
#[derive(Default)]
struct Row {
    code: String,
    comment: Option<String>,
}

/// The document as text of at most `width` columns where that is possible, ending in a line end.
pub fn render(doc: &Doc, width: usize) -> String {
    let mut rows = vec![Row::default()];
    let mut column = 0;
    let mut todo = vec![Todo { indent: 0, flat: false, doc }];
    while let Some(Todo { indent, flat, doc }) = todo.pop() {
        match doc {
            Doc::Text(text) if text.is_empty() => {}
            Doc::Text(text) => put(&mut rows, &mut column, indent, text),
            Doc::IfFlat(text) if flat => put(&mut rows, &mut column, indent, text),
            Doc::Line if flat => put(&mut rows, &mut column, indent, " "),
            Doc::IfFlat(_) => {}
            Doc::SoftLine if flat => {}
            Doc::Line | Doc::SoftLine | Doc::HardLine => {
                rows.push(Row::default());
                column = 0;
            }
            Doc::Comment(text) => {
                let row = rows.last_mut().expect("there is always a row");
                match &mut row.comment {
                    Some(comment) => comment.extend([" ", text]),
                    None => row.comment = Some(text.clone()),
                }
            }
            Doc::Concat(parts) => todo.extend(parts.iter().rev().map(|doc| Todo { indent, flat, doc })),
            Doc::Indent(doc) => todo.push(Todo { indent: indent + 2, flat, doc }),
            Doc::Group(doc) => {
                let used = if column == 0 { indent } else { column };
                let flat = flat || fits(doc, &todo, width.saturating_sub(used));
                todo.push(Todo { indent, flat, doc });
            }
        }
    }
    finish(rows)
}

/// A document on one line, whatever its width.
pub fn flat(doc: &Doc) -> String {
    render(&doc.clone().group(), usize::MAX).trim_end().to_string()
}

#[derive(Clone, Copy)]
struct Todo<'d> {
    indent: usize,
    flat: bool,
    doc: &'d Doc,
}

/// Indentation is written with the first text of a line, so that empty lines stay empty.
fn put(rows: &mut [Row], column: &mut usize, indent: usize, text: &str) {
    let row = rows.last_mut().expect("there is always a row");
    if *column == 0 {
        row.code.extend(std::iter::repeat_n(' ', indent));
        *column = indent;
    }
    row.code.push_str(text);
    *column += text.chars().count();
}

/// Whether a group stands in the room left on the line, together with what follows it up to the next
/// place where the line may break. Looks at most `room` characters ahead.
fn fits(group: &Doc, after: &[Todo<'_>], room: usize) -> bool {
    let mut room = room;
    let mut after = after.iter().rev();
    let mut todo = vec![Todo { indent: 0, flat: true, doc: group }];
    loop {
        let Some(Todo { flat, doc, .. }) = todo.pop().or_else(|| after.next().copied()) else { return true };
        match doc {
            Doc::Text(text) => match room.checked_sub(text.chars().count()) {
                Some(left) => room = left,
                None => return false,
            },
            Doc::IfFlat(text) if flat => match room.checked_sub(text.len()) {
                Some(left) => room = left,
                None => return false,
            },
            Doc::Line if flat => match room.checked_sub(1) {
                Some(left) => room = left,
                None => return false,
            },
            Doc::IfFlat(_) => {}
            Doc::SoftLine if flat => {}
            Doc::HardLine | Doc::Comment(_) if flat => return false,
            Doc::Line | Doc::SoftLine | Doc::HardLine | Doc::Comment(_) => return true,
            Doc::Concat(parts) => todo.extend(parts.iter().rev().map(|doc| Todo { indent: 0, flat, doc })),
            // What follows may still break.
            Doc::Indent(doc) | Doc::Group(doc) => todo.push(Todo { indent: 0, flat, doc }),
        }
    }
}

/// Joins the rows; comments at the ends of neighbouring rows stand in one column.
fn finish(rows: Vec<Row>) -> String {
    let mut text = String::new();
    let mut rows = rows.as_slice();
    while !rows.is_empty() {
        let run = rows.iter().take_while(|row| row.comment.is_some()).count().max(1);
        let (now, later) = rows.split_at(run);
        let widest = now.iter().map(|row| row.code.chars().count()).max().unwrap_or(0);
        for row in now {
            let code = row.code.trim_end();
            text.push_str(code);
            if let Some(comment) = &row.comment {
                let padding = if widest <= ALIGNED { widest - code.chars().count() } else { 0 };
                let padding = if code.is_empty() { 0 } else { padding + 2 };
                text.extend(std::iter::repeat_n(' ', padding));
                text.push_str(comment);
            }
            text.push('\n');
        }
        rows = later;
    }
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Doc {
        let inside = Doc::concat([Doc::SoftLine, "first,".into(), Doc::Line, "second".into()]);
        Doc::concat(["f(".into(), inside.indent(), Doc::SoftLine, ")".into()]).group()
    }

    #[test]
    fn a_group_breaks_only_where_it_does_not_fit() {
        assert_eq!(render(&call(), 20), "f(first, second)\n");
        assert_eq!(render(&call(), 15), "f(\n  first,\n  second\n)\n");
    }

    #[test]
    fn what_follows_a_group_counts_up_to_the_next_line() {
        let doc = Doc::concat([call(), " + 1".into(), Doc::HardLine, "a long line that does not".into()]);
        assert!(render(&doc, 20).starts_with("f(first, second) + 1\n"));
        assert!(render(&doc, 19).starts_with("f(\n"));
    }

    #[test]
    fn neighbouring_comments_are_aligned() {
        let row = |code: &str, comment: &str| {
            Doc::concat([code.into(), Doc::Comment(comment.into()), Doc::HardLine])
        };
        let doc = Doc::concat([row("ab", "// 1"), row("abcd", "// 2"), row("x", "// 3")]);
        assert_eq!(render(&doc, 80), "ab    // 1\nabcd  // 2\nx     // 3\n");
    }
}
