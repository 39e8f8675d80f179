//! The disk of a run: where it comes from, what the guest is told of it, and what to compare it with afterwards.

mod images;
mod input;
mod prepared;
mod samples;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;

use crate::cli::{Format, QemuArgs};

pub(crate) use input::Input;
pub(crate) use prepared::PARTITIONS;
pub(crate) use source::{Fingerprint, Source};

/// How QEMU is to attach the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// A path or a URL.
    pub(crate) file: String,
    pub(crate) format: Format,
    pub(crate) read_only: bool,
    /// Whether what the guest discards may free space in the file.
    pub(crate) discard: bool,
}

/// A disk, ready for a run.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) origin: Origin,
    pub(crate) attachment: Attachment,
    /// Whether `attachment` is a throw-away overlay on top of the origin.
    pub(crate) overlaid: bool,
    /// Size in 512-byte sectors.
    pub(crate) sectors: u64,
    pub(crate) outline: Outline,
    /// The samples, with the digests the guest should find.
    pub(crate) digests: Vec<(SectorRange, u64)>,
}

/// Where the content of a disk comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// Made for this run.
    Prepared,
    /// A file of the user's.
    File {
        path: PathBuf,
        format: Format,
        /// What the file was like before the run.
        before: Fingerprint,
    },
    /// Something QEMU reaches by itself, seen through an overlay of its own that stays empty.
    Url { url: String, view: PathBuf, format: Format },
}

/// What the guest is told about a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// What it may overwrite.
    pub(crate) scratch: Option<SectorRange>,
    /// The seed of the content, where the host makes it.
    pub(crate) pattern: Option<u64>,
    /// What it is to read and digest.
    pub(crate) samples: Vec<SectorRange>,
}

/// What the guest will be told about the disk; `sectors` is its size if it is the user's and its size is known.
pub(crate) fn outline(args: &QemuArgs, input: Option<&Input>, sectors: Option<u64>) -> Outline {
    match (input, sectors) {
        (None, _) => prepared::outline(args.read_only),
        (Some(_), None) => Outline::default(),
        (Some(_), Some(sectors)) => {
            let block = u64::from(args.block_size) / SECTOR_BYTES as u64;
            let overlaid = !args.read_only && !args.write;
            let scratch = if overlaid { samples::scratch(sectors) } else { None };
            Outline {
                scratch,
                pattern: None,
                samples: samples::choose(sectors, block),
            }
        }
    }
}

/// Where a disk will be and how it will be attached, from the options alone. Makes nothing.
pub(crate) fn plan(args: &QemuArgs, input: Option<&Input>, directory: &Path) -> Attachment {
    let in_directory = |name: &str| directory.join(name).display().to_string();
    match input {
        None => {
            let format = args.format.unwrap_or(Format::Raw);
            let file = in_directory(&format!("disk.{}", format.name()));
            Attachment {
                file,
                format,
                read_only: args.read_only,
                discard: true,
            }
        }
        Some(input) if args.read_only || args.write => Attachment {
            file: input.name(),
            format: input.format(),
            read_only: args.read_only,
            discard: args.write,
        },
        Some(_) => Attachment {
            file: in_directory("overlay.qcow2"),
            format: Format::Qcow2,
            read_only: false,
            discard: true,
        },
    }
}

/// Makes the disk for a run in `directory`.
pub(crate) fn make(args: &QemuArgs, input: Option<&Input>, directory: &Path) -> Result<Disk> {
    let attachment = plan(args, input, directory);
    match input {
        None => prepared::make(attachment, directory),
        Some(input) => open(args, input, attachment, directory),
    }
}

fn open(args: &QemuArgs, input: &Input, attachment: Attachment, directory: &Path) -> Result<Disk> {
    let (origin, sectors) = match input {
        Input::File { path, format, sectors } => {
            let origin = Origin::File {
                path: path.clone(),
                format: *format,
                before: Fingerprint::take(path)?,
            };
            (origin, *sectors)
        }
        Input::Url { url, format } => {
            let (found, sectors) = images::inspect(url)?;
            let format = format.unwrap_or(found);
            let view = directory.join("original.qcow2");
            images::create_overlay(&view, url, format)?;
            let origin = Origin::Url {
                url: url.clone(),
                view,
                format,
            };
            (origin, sectors)
        }
    };
    let block = u64::from(args.block_size) / SECTOR_BYTES as u64;
    if !sectors.is_multiple_of(block) {
        bail!(
            "{}: its size is not a multiple of the block size {}",
            input.name(),
            args.block_size
        );
    }
    let outline = outline(args, Some(input), Some(sectors));
    let mut digests = Vec::new();
    for range in &outline.samples {
        digests.push((*range, origin_source(&origin, *range, directory)?.digest(*range)?));
    }
    let overlaid = !args.read_only && !args.write;
    if overlaid {
        let (Origin::File { format, .. } | Origin::Url { format, .. }) = &origin else {
            unreachable!("an input is given")
        };
        images::create_overlay(Path::new(&attachment.file), &input.name(), *format)?;
    }
    Ok(Disk {
        origin,
        attachment,
        overlaid,
        sectors,
        outline,
        digests,
    })
}

impl Disk {
    /// Everything on the disk.
    pub(crate) fn whole(&self) -> SectorRange {
        SectorRange {
            first: 0,
            count: self.sectors,
        }
    }

    /// The ranges where the disk may differ from what it was. Outside them it cannot, because nothing is stored there. A
    /// disk attached directly has none: it is compared as a file.
    pub(crate) fn touched(&self) -> Result<Vec<SectorRange>> {
        match self.origin {
            Origin::Prepared => Ok(vec![self.whole()]),
            _ if self.overlaid => images::stored_in_overlay(Path::new(&self.attachment.file), self.sectors),
            _ => Ok(Vec::new()),
        }
    }

    /// The content of a range before the run.
    pub(crate) fn before(&self, range: SectorRange, directory: &Path) -> Result<Source> {
        match &self.origin {
            Origin::Prepared => prepared::original(self.sectors),
            origin => origin_source(origin, range, directory),
        }
    }

    /// The content of a range now.
    pub(crate) fn after(&self, range: SectorRange, directory: &Path) -> Result<Source> {
        let Attachment { file, format, .. } = &self.attachment;
        match format {
            Format::Raw => Source::raw_file(Path::new(file)),
            Format::Qcow2 => images::extract(Path::new(file), *format, range, &directory.join("after.raw")),
        }
    }
}

/// A range of the disk the user gave, as it is underneath any overlay.
fn origin_source(origin: &Origin, range: SectorRange, directory: &Path) -> Result<Source> {
    let extracted = directory.join("original.raw");
    match origin {
        Origin::Prepared => bail!("a prepared disk has no original"),
        Origin::File {
            path,
            format: Format::Raw,
            ..
        } => Source::raw_file(path),
        Origin::File {
            path,
            format: Format::Qcow2,
            ..
        } => images::extract(path, Format::Qcow2, range, &extracted),
        // The person who gave the URL has never seen the view.
        Origin::Url { url, view, .. } => images::extract(view, Format::Qcow2, range, &extracted)
            .map_err(|error| anyhow!("{}", error.to_string().replace(&view.display().to_string(), url))),
    }
}
