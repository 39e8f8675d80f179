//! The record of an installation: what was put where, and what was there before. With it `--uninstall` knows its own files from those
//! that others have changed since.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use guest_protocol::pattern::Digest;
use serde::{Deserialize, Serialize};

use super::place::Base;

const VERSION: u32 = 1;

/// What an installation has done in one directory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Record {
    version: u32,
    /// Directories that were made.
    pub(super) directories: Vec<PathBuf>,
    pub(super) files: Vec<Recorded>,
}

/// What it has done to one file.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Recorded {
    /// Path in the directory.
    pub(super) path: PathBuf,
    /// What was there before, of which a copy is beside the file; nothing if there was no file.
    pub(super) was: Option<Sum>,
    pub(super) done: Done,
    /// How `make` is to see the file once it is what it was before.
    pub(super) make: Make,
}

/// What `make` has to do with a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum Make {
    /// Nothing.
    Nothing,
    /// It makes others from the file, which are out of date whenever the file changes.
    Uses,
    /// The same, and it makes the file from the sources in this directory.
    Makes(PathBuf),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Done {
    /// The file was put in place whole.
    Put(Sum),
    /// In the file, a text was put in the place of another, which may be empty.
    Edited { was: String, is: String },
}

/// Enough to know a content again.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Sum {
    bytes: usize,
    crc64: u64,
}

impl Sum {
    pub(super) fn of(content: &[u8]) -> Sum {
        let mut digest = Digest::new();
        digest.update(content);
        Sum {
            bytes: content.len(),
            crc64: digest.finish(),
        }
    }
}

impl Record {
    pub(super) fn new() -> Record {
        Record {
            version: VERSION,
            ..Record::default()
        }
    }

    /// The record of a directory, if it has one.
    pub(super) fn read(base: &Base) -> Result<Option<Record>> {
        let path = base.directory.join(&base.record);
        let name = || path.display().to_string();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(name),
        };
        let record: Record = serde_json::from_slice(&text).with_context(name)?;
        if record.version != VERSION {
            bail!("{}: is a record of version {}, not {VERSION}", name(), record.version);
        }
        // The record says which files are replaced and removed.
        let paths = record.files.iter().map(|file| &file.path).chain(&record.directories);
        for path in paths {
            let is_inside = path
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_inside {
                bail!(
                    "{}: {} is no path in {}",
                    name(),
                    path.display(),
                    base.directory.display()
                );
            }
        }
        Ok(Some(record))
    }

    pub(super) fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The last thing that was done to a file.
    pub(super) fn of(&self, path: &Path) -> Option<&Recorded> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether the file was not there before.
    pub(super) fn has_made(&self, path: &Path) -> bool {
        self.of(path).is_some_and(|file| file.was.is_none())
    }
}
