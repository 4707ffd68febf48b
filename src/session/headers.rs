//! What the checker may know of data files: the names, types and shapes in their headers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::base::{FileId, Name, Span};
use crate::check::train::{Header, Headers};
use crate::diag::Diagnostic;
use crate::formats::npz;

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
    fn header(&self, format: &str, path: &str, span: Span) -> Result<Header, Box<Diagnostic>> {
        if format != "npz" {
            return Err(Box::new(errors::unknown_data_format(span, format)));
        }
        let arrays = npz::header(&self.path(path, span))
            .map_err(|error| Box::new(errors::unreadable_data(span, &error)))?;
        Ok(arrays.into_iter().map(|array| (Name::new(array.name), array.dtype, array.shape)).collect())
    }
}
