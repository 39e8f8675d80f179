//! The disk a user names: looked at before anything else happens, so that a mistake costs nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use guest_protocol::SECTOR_BYTES;

use crate::cli::Format;

/// A disk given with `--disk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A file, at its absolute path.
    File {
        path: PathBuf,
        format: Format,
        sectors: u64,
    },
    /// Anything QEMU reaches by a URL. The format is None unless the user said it.
    Url { url: String, format: Option<Format> },
}

/// What a file is, from its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Looks {
    Raw,
    /// With the size of the disk in bytes.
    Qcow2(u64),
    /// A format that is known and not supported.
    Other(&'static str),
}

impl Input {
    /// Checks what the user gave. `format` is what the user says it is.
    pub(crate) fn check(given: &str, format: Option<Format>) -> Result<Input> {
        if given.contains("://") {
            return Ok(Input::Url {
                url: given.to_owned(),
                format,
            });
        }
        let path = Path::new(given);
        let data = match std::fs::metadata(path) {
            Ok(data) => data,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("{given}: no such file"),
            Err(error) => return Err(error).with_context(|| given.to_owned()),
        };
        if data.is_dir() {
            bail!("{given}: is a directory, not a disk image");
        }
        if !data.is_file() {
            bail!("{given}: is not a regular file");
        }
        let size = data.len();
        let mut head = Vec::new();
        File::open(path)
            .and_then(|file| file.take(SECTOR_BYTES as u64).read_to_end(&mut head))
            .with_context(|| format!("{given}: cannot be read"))?;
        let (format, bytes) = match (format, look(&head)) {
            (Some(Format::Raw), _) | (None, Looks::Raw) => (Format::Raw, size),
            (_, Looks::Qcow2(bytes)) => (Format::Qcow2, bytes),
            (Some(Format::Qcow2), _) => bail!("{given}: is not a qcow2 image: leave out --format"),
            (None, Looks::Other(name)) => {
                bail!("{given}: {name} images are not supported, convert it with `qemu-img convert -O qcow2`")
            }
        };
        let path = path.canonicalize().with_context(|| given.to_owned())?;
        if path.to_str().is_none() {
            bail!("{given}: QEMU cannot be given a path that is not UTF-8");
        }
        Ok(Input::File {
            path,
            format,
            // QEMU fills up a last sector that is not whole.
            sectors: bytes.div_ceil(SECTOR_BYTES as u64),
        })
    }

    /// The absolute path, or the URL.
    pub(crate) fn name(&self) -> String {
        match self {
            Input::File { path, .. } => path.display().to_string(),
            Input::Url { url, .. } => url.clone(),
        }
    }

    /// The size, as far as it is known without a look at the URL.
    pub(crate) fn sectors(&self) -> Option<u64> {
        match self {
            Input::File { sectors, .. } => Some(*sectors),
            Input::Url { .. } => None,
        }
    }

    /// The format; a URL of which nothing is known is taken for raw.
    pub(crate) fn format(&self) -> Format {
        match self {
            Input::File { format, .. } => *format,
            Input::Url { format, .. } => format.unwrap_or(Format::Raw),
        }
    }
}

fn look(head: &[u8]) -> Looks {
    const OTHERS: [(usize, &[u8], &str); 5] = [
        (0, b"KDMV", "VMDK"),
        (0, b"# Disk DescriptorFile", "VMDK"),
        (0, b"vhdxfile", "VHDX"),
        (0, b"conectix", "VHD"),
        (0x40, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
    ];
    if head.starts_with(b"QFI\xfb")
        && let Some(Ok(size)) = head.get(24..32).map(<[u8; 8]>::try_from)
    {
        return Looks::Qcow2(u64::from_be_bytes(size));
    }
    let other = OTHERS
        .iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    other.map_or(Looks::Raw, |(_, _, name)| Looks::Other(name))
}
