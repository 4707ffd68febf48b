//! The page of every error code: what it means in the user's terms, a wrong program and a right one.
//!
//! The pages lie in `docs/errors/`, one file for each group of codes, and inside the binary. A page begins with a heading
//! `## E0214 Title`; its text follows, then blocks. A test runs all of them: the wrong program must raise the code, the right
//! one nothing.

use std::fmt::Write;

use super::Code;

/// The pages as they are written, with the heading of each group. A file that is not listed here is no part of the binary.
pub const GROUPS: [&str; 9] = [
    include_str!("../../docs/errors/syntax.md"),
    include_str!("../../docs/errors/names.md"),
    include_str!("../../docs/errors/axes.md"),
    include_str!("../../docs/errors/indices.md"),
    include_str!("../../docs/errors/types.md"),
    include_str!("../../docs/errors/calls.md"),
    include_str!("../../docs/errors/train.md"),
    include_str!("../../docs/errors/files.md"),
    include_str!("../../docs/errors/limits.md"),
];

/// What a block of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// A program that raises the code.
    Wrong,
    Right,
    /// The program `page.nn` of the commands that follow.
    File,
    /// Commands, one in a line, of which the last one raises the code.
    WrongCommands,
    RightCommands,
}

impl Block {
    fn of_fence(fence: &str) -> Option<Block> {
        Some(match fence {
            "nn wrong" => Block::Wrong,
            "nn right" => Block::Right,
            "nn file" => Block::File,
            "sh wrong" => Block::WrongCommands,
            "sh right" => Block::RightCommands,
            _ => return None,
        })
    }

    fn heading(self) -> &'static str {
        match self {
            Block::Wrong => "wrong",
            Block::Right => "right",
            Block::File => "page.nn",
            Block::WrongCommands => "wrong",
            Block::RightCommands => "right",
        }
    }
}

/// The page of one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub code: Code,
    pub title: &'static str,
    pub text: String,
    pub blocks: Vec<(Block, String)>,
}

/// All groups with their titles and pages, in order.
pub fn groups() -> Vec<(&'static str, Vec<Page>)> {
    GROUPS.iter().map(|text| group(text)).collect()
}

/// The page of a code.
pub fn page(code: Code) -> Option<Page> {
    groups().into_iter().flat_map(|(_, pages)| pages).find(|page| page.code == code)
}

fn group(text: &'static str) -> (&'static str, Vec<Page>) {
    let mut title = "";
    let mut pages: Vec<Page> = Vec::new();
    let mut open: Option<(Block, String)> = None;
    for line in text.lines() {
        if let Some((block, mut lines)) = open.take() {
            if line == "```" {
                pages
                    .iter_mut()
                    .next_back()
                    .into_iter()
                    .for_each(|page| page.blocks.push((block, lines.clone())));
            } else {
                lines.push_str(line);
                lines.push('\n');
                open = Some((block, lines));
            }
        } else if let Some(heading) = line.strip_prefix("# ") {
            title = heading;
        } else if let Some(heading) = line.strip_prefix("## ") {
            let (code, title) = heading.split_once(' ').unwrap_or((heading, ""));
            let code = parse(code).unwrap_or(Code(0));
            pages.push(Page { code, title, text: String::new(), blocks: Vec::new() });
        } else if let Some(block) = line.strip_prefix("```").and_then(Block::of_fence) {
            open = Some((block, String::new()));
        } else if let Some(page) = pages.last_mut() {
            page.text.push_str(line);
            page.text.push('\n');
        }
    }
    for page in &mut pages {
        page.text = page.text.trim().to_owned();
    }
    (title, pages)
}

/// `E0214`, `e214`, `214`
pub fn parse(text: &str) -> Option<Code> {
    let digits = text.strip_prefix(['E', 'e']).unwrap_or(text);
    let plain = digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(Code)
}

/// The code with a page whose number is nearest.
pub fn nearest(code: Code) -> Option<Code> {
    let pages = groups().into_iter().flat_map(|(_, pages)| pages);
    pages.map(|page| page.code).min_by_key(|other| other.0.abs_diff(code.0))
}

impl Page {
    /// The page for a terminal: text in lines of at most 100 characters, blocks indented under their headings.
    pub fn show(&self) -> String {
        let mut shown = format!("{}: {}\n", self.code, self.title);
        for paragraph in self.text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            shown.push('\n');
            let mut width = 0;
            for word in paragraph.split_whitespace() {
                let length = word.chars().count();
                if width > 0 && width + 1 + length > 100 {
                    shown.push('\n');
                    width = 0;
                } else if width > 0 {
                    shown.push(' ');
                    width += 1;
                }
                shown.push_str(word);
                width += length;
            }
            shown.push('\n');
        }
        for (block, text) in &self.blocks {
            let _ = write!(shown, "\n{}:\n", block.heading());
            for line in text.lines() {
                shown.push_str(format!("    {line}").trim_end());
                shown.push('\n');
            }
        }
        shown
    }
}
