//! What the checker may know of data files: the names, types and shapes in their headers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::base::{FileId, Name, Span};
use crate::check::train::{DataSource, Header, Headers};
use crate::diag::Diagnostic;
use crate::formats::source::{Contents, Format, Tables};
use crate::formats::text;

use super::errors;

/// Data files on disk, named relative to the source file that names them.
pub struct OnDisk<'a> {
    pub folders: &'a HashMap<FileId, PathBuf>,
}

impl OnDisk<'_> {
    /// Where a path written at a place of a source file lies.
    pub fn path(&self, written: &str, span: Span) -> PathBuf {
        match self.folders.get(&span.file) {
            Some(folder) => folder.join(written),
            None => Path::new(written).to_path_buf(),
        }
    }
}

impl Headers for OnDisk<'_> {
    fn header(&self, source: &DataSource) -> Result<Header, Box<Diagnostic>> {
        let (path, span) = (self.path(&source.path, source.span), source.span);
        let unreadable = |error| Box::new(errors::unreadable_data(span, &error));
        match (&*source.format, source.window) {
            ("text", Some(window)) => {
                let text = text::load_windows(&path, window).map_err(unreadable)?;
                let arrays = [("x", &text.characters), ("y", &text.following)];
                let arrays = arrays
                    .map(|(name, array)| (Name::new(name), array.dtype(), array.shape().to_vec()))
                    .to_vec();
                Ok(Header { arrays, symbols: Some(text.vocabulary.len()), classes: None })
            }
            ("text", None) => {
                let (vocabulary, ids) = text::load_characters(&path).map_err(unreadable)?;
                let array = (Name::new("x"), ids.dtype(), ids.shape().to_vec());
                Ok(Header { arrays: vec![array], symbols: Some(vocabulary.len()), classes: None })
            }
            (format, _) => {
                let Some(format) = Format::parse(format) else {
                    return Err(Box::new(errors::unknown_data_format(span, format)));
                };
                let Contents { arrays, classes } =
                    format.contents(&path, &mut Tables::new()).map_err(unreadable)?;
                let arrays = arrays.into_iter();
                let arrays = arrays.map(|array| (Name::new(array.name), array.dtype, array.shape)).collect();
                Ok(Header { arrays, symbols: None, classes })
            }
        }
    }
}
