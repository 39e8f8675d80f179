//! The files that came with the machine: a tar archive in memory, left there by the boot loader.

use tar_no_std::TarArchiveRef;

/// The archive.
#[derive(Debug)]
pub(crate) struct Archive {
    tar: TarArchiveRef<'static>,
}

impl Archive {
    /// `None` if it is not an archive.
    pub(super) fn new(bytes: &'static [u8]) -> Option<Self> {
        Some(Self {
            tar: TarArchiveRef::new(bytes).ok()?,
        })
    }

    /// The content of the file of that name.
    pub(crate) fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.tar
            .entries()
            .find(|entry| entry.filename().as_str() == Ok(name))
            .map(|entry| entry.data())
    }

    /// The content of a text file.
    pub(crate) fn text(&self, name: &str) -> Option<&'static str> {
        core::str::from_utf8(self.file(name)?).ok()
    }
}
