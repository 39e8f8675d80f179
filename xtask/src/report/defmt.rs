//! The guest's defmt frames: followed while the run goes on, decoded with the strings in the image.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use defmt_decoder::{DecodeError, StreamDecoder, Table};
use serde::Serialize;

/// The strings that frames refer to.
pub(crate) struct Strings(Option<Table>);

impl Strings {
    /// Reads them from the image. An image without any gives no frames.
    pub(crate) fn load(image: &Path) -> Result<Strings> {
        let mut elf = std::fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        // The decoder expects the strings at addresses the image cannot reach.
        board_qemu_virt::lower_defmt_symbols(&mut elf)
            .with_context(|| format!("cannot read the symbols of {}", image.display()))?;
        Ok(Strings(
            Table::parse(&elf).context("cannot read the defmt strings of the image")?,
        ))
    }

    /// Of an image that has none.
    pub(crate) fn none() -> Strings {
        Strings(None)
    }
}

/// Follows the file that QEMU writes the frames to.
pub(crate) struct Frames<'s> {
    path: PathBuf,
    file: Option<File>,
    decoder: Option<Box<dyn StreamDecoder + Send + Sync + 's>>,
    /// The frames so far.
    pub(crate) count: Count,
}

/// How many frames came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    pub(crate) decoded: u64,
    /// Frames the image has no string for, or whose arguments do not fit it.
    pub(crate) damaged: u64,
}

impl<'s> Frames<'s> {
    /// The file need not be there yet.
    pub(crate) fn follow(path: &Path, strings: &'s Strings) -> Frames<'s> {
        let decoder = strings.0.as_ref().map(Table::new_stream_decoder);
        Frames {
            path: path.to_owned(),
            file: None,
            decoder,
            count: Count::default(),
        }
    }

    /// The messages that came since the last call.
    pub(crate) fn new_messages(&mut self) -> Vec<String> {
        let Some(decoder) = &mut self.decoder else {
            return Vec::new();
        };
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file
            && file.read_to_end(&mut bytes).is_ok()
        {
            decoder.received(&bytes);
        }
        let mut messages = Vec::new();
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    self.count.decoded += 1;
                    messages.push(frame.display(false).to_string());
                }
                Err(DecodeError::UnexpectedEof) => return messages,
                // The decoder has thrown it away; the next one may be good.
                Err(DecodeError::Malformed) => {
                    self.count.damaged += 1;
                    messages.push("a malformed frame".to_owned());
                }
            }
        }
    }
}
