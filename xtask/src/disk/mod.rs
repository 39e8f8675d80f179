//! The disk of a run: where it comes from, what the guest is told of it, and what to compare it with afterwards.

mod images;
mod input;
pub(crate) mod layout;
mod prepared;
mod samples;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use guest_protocol::{SECTOR_BYTES, SectorRange};

use crate::cli::{Format, QemuArgs};

pub(crate) use fake_minix::mfs::KnownFile;
pub(crate) use input::Input;
use layout::{Layout, Recipe};
pub(crate) use source::{Content, Fingerprint, Source};

/// How QEMU is to attach the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// A path or a URL.
    pub(crate) file: String,
    pub(crate) format: Format,
    pub(crate) read_only: bool,
    /// Whether what the guest discards may free space in the file.
    pub(crate) discard: bool,
    /// Where the back-end listens that serves the file in QEMU's place.
    pub(crate) socket: Option<PathBuf>,
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
    Prepared {
        layout: Layout,
        content: Arc<Content>,
        /// The files in its file system, if it has one.
        files: Vec<KnownFile>,
    },
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
    pub(crate) scratch: Vec<SectorRange>,
    /// The seed of the content, where the host makes it.
    pub(crate) pattern: Option<u64>,
    /// What it is to read and digest.
    pub(crate) samples: Vec<SectorRange>,
}

/// The disk a run is about: the user's, or one to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish<'i> {
    Given(&'i Input),
    Made(Recipe),
}

/// What the guest will be told about the disk. Nothing, if its size is not known.
pub(crate) fn outline(args: &QemuArgs, wish: Wish<'_>) -> Outline {
    match wish {
        Wish::Made(recipe) => prepared::outline(&recipe.layout(), args.read_only),
        Wish::Given(input) => input
            .sectors()
            .map_or_else(Outline::default, |sectors| foreign_outline(args, sectors)),
    }
}

/// What the guest is told about a disk of the user's. Only the bare image writes to one.
fn foreign_outline(args: &QemuArgs, sectors: u64) -> Outline {
    let block = u64::from(args.block_size) / SECTOR_BYTES as u64;
    let may_write = args.bare && !args.read_only && !args.write;
    Outline {
        scratch: samples::scratch(sectors).into_iter().filter(|_| may_write).collect(),
        pattern: None,
        samples: samples::choose(sectors, block),
    }
}

/// Where a disk will be and how it will be attached, from the options alone. Makes nothing. `number` tells the disks of a
/// run apart.
pub(crate) fn plan(args: &QemuArgs, wish: Wish<'_>, number: usize, directory: &Path) -> Attachment {
    let in_directory = |name: &str| directory.join(name).display().to_string();
    match wish {
        Wish::Made(_) => {
            let format = args.format.unwrap_or(Format::Raw);
            let number = if number == 0 { String::new() } else { number.to_string() };
            Attachment {
                file: in_directory(&format!("disk{number}.{}", format.name())),
                format,
                read_only: args.read_only,
                discard: true,
                socket: args.foreign.map(|_| directory.join(format!("disk{number}.sock"))),
            }
        }
        Wish::Given(input) if args.read_only || args.write => Attachment {
            file: input.name(),
            format: input.format(),
            read_only: args.read_only,
            discard: args.write,
            socket: None,
        },
        Wish::Given(_) => Attachment {
            file: in_directory("overlay.qcow2"),
            format: Format::Qcow2,
            read_only: false,
            discard: true,
            socket: None,
        },
    }
}

/// Makes the disk for a run in `directory`.
pub(crate) fn make(args: &QemuArgs, wish: Wish<'_>, number: usize, directory: &Path) -> Result<Disk> {
    let attachment = plan(args, wish, number, directory);
    match wish {
        Wish::Made(recipe) => prepared::make(args, recipe, attachment, directory),
        Wish::Given(input) => open(args, input, attachment, directory),
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
    let outline = foreign_outline(args, sectors);
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
        let Attachment { file, format, .. } = &self.attachment;
        match &self.origin {
            Origin::Prepared { content, .. } if content.islands().is_none() => Ok(vec![self.whole()]),
            Origin::Prepared { .. } => images::stored(Path::new(file), *format, self.sectors),
            _ if self.overlaid => images::stored(Path::new(file), *format, self.sectors),
            _ => Ok(Vec::new()),
        }
    }

    /// The files on it, as far as the host knows them.
    pub(crate) fn files(&self) -> &[KnownFile] {
        match &self.origin {
            Origin::Prepared { files, .. } => files,
            _ => &[],
        }
    }

    /// Whether a MINIX file system begins at this sector.
    pub(crate) fn has_files_at(&self, first: u64, directory: &Path) -> Result<bool> {
        let head = SectorRange { first, count: 4 };
        if head.end() > self.sectors {
            return Ok(false);
        }
        let mut bytes = vec![0; 4 * SECTOR_BYTES];
        self.before(head, directory)?.read(first, &mut bytes)?;
        Ok(fake_minix::mfs::is_one(&bytes))
    }

    /// The content of a range before the run.
    pub(crate) fn before(&self, range: SectorRange, directory: &Path) -> Result<Source> {
        match &self.origin {
            Origin::Prepared { content, .. } => Ok(Source::Computed(content.clone())),
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
        Origin::Prepared { .. } => bail!("a prepared disk has no original"),
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
