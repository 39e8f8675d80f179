//! The disk of a run: its source, the description for the guest, and the content to compare it with afterwards.

mod contents;
mod images;
mod input;
pub(crate) mod layout;
pub(crate) mod map;
mod samples;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use guest_protocol::{SECTOR_BYTES, SectorRange};

use crate::cli::{Format, QemuArgs};

pub(crate) use fake_minix::mfs::KnownFile;
use images::Image;
pub(crate) use images::escaped;
pub(crate) use input::Input;
use layout::{Layout, Recipe};
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
    /// Where the back-end listens that serves the file in QEMU's place.
    pub(crate) socket: Option<PathBuf>,
}

/// A disk, ready for a run.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) attachment: Attachment,
    /// The content before the run, in an image that the run leaves alone.
    original: Image,
    /// The URL that `original` stands for.
    url: Option<String>,
    /// The file of the user's, as it was before the run.
    pub(crate) given: Option<Fingerprint>,
    /// Type and place of each partition, where xtask has made them.
    pub(crate) partitions: Option<Vec<(u8, SectorRange)>>,
    files: Vec<KnownFile>,
    /// Whether the run may change `attachment`, which then is compared with the original. A disk of the user's that is attached
    /// directly is not.
    pub(crate) is_compared: bool,
    /// Size in 512-byte sectors.
    pub(crate) sectors: u64,
    pub(crate) outline: Outline,
    /// The samples, with the digests the guest should find.
    pub(crate) digests: Vec<(SectorRange, u64)>,
}

/// The description of a disk for the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Ranges the guest may overwrite.
    pub(crate) scratch: Vec<SectorRange>,
    /// The seed of the content, where the host makes it.
    pub(crate) pattern: Option<u64>,
    /// Ranges for the guest to read and digest.
    pub(crate) samples: Vec<SectorRange>,
}

/// The disk a run is about: the user's, or one to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice<'i> {
    Given(&'i Input),
    Made(Recipe),
}

/// The description of a disk before it is made. Empty if its size is not known.
pub(crate) fn outline(args: &QemuArgs, choice: Choice<'_>) -> Outline {
    match choice {
        Choice::Made(recipe) => outline_of_made(&recipe.layout(), args.read_only),
        Choice::Given(input) => input
            .sectors()
            .map_or_else(Outline::default, |sectors| outline_of_given(args, sectors)),
    }
}

fn outline_of_made(layout: &Layout, read_only: bool) -> Outline {
    Outline {
        scratch: if read_only { Vec::new() } else { layout.scratch.clone() },
        pattern: layout.seed,
        samples: layout.samples.clone(),
    }
}

/// Only the bare image writes to a disk of the user's.
fn outline_of_given(args: &QemuArgs, sectors: u64) -> Outline {
    let block = u64::from(args.block_size) / SECTOR_BYTES as u64;
    let may_write = args.bare && !args.read_only && !args.write;
    Outline {
        scratch: samples::scratch(sectors).into_iter().filter(|_| may_write).collect(),
        pattern: None,
        // The driver reads whole blocks, and the disk need not end at the end of one.
        samples: samples::choose(sectors / block * block, block),
    }
}

/// Where a disk will be and how it will be attached, from the options alone. Makes nothing. `number` tells the disks of a
/// run apart.
pub(crate) fn plan(args: &QemuArgs, choice: Choice<'_>, number: usize, directory: &Path) -> Attachment {
    let in_directory = |name: &str| directory.join(name).display().to_string();
    match choice {
        Choice::Made(_) => {
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
        Choice::Given(input) if args.read_only || args.write => Attachment {
            file: input.name(),
            format: input.format(),
            read_only: args.read_only,
            discard: args.write,
            socket: None,
        },
        Choice::Given(_) => Attachment {
            file: in_directory("overlay.qcow2"),
            format: Format::Qcow2,
            read_only: false,
            discard: true,
            socket: None,
        },
    }
}

/// Makes the disk for a run in `directory`.
pub(crate) fn make(args: &QemuArgs, choice: Choice<'_>, number: usize, directory: &Path) -> Result<Disk> {
    let attachment = plan(args, choice, number, directory);
    let mut disk = match choice {
        Choice::Made(recipe) => write(args, &recipe.layout(), attachment, number, directory)?,
        Choice::Given(input) => open(args, input, attachment, directory)?,
    };
    for range in &disk.outline.samples {
        let digest = disk.before(*range, directory)?.digest(*range)?;
        disk.digests.push((*range, digest));
    }
    Ok(disk)
}

fn write(args: &QemuArgs, layout: &Layout, attachment: Attachment, number: usize, directory: &Path) -> Result<Disk> {
    let (parts, files) = layout.parts(args.block_size)?;
    let original = Image {
        path: directory.join(format!("original{number}.raw")),
        format: Format::Raw,
    };
    layout.write(&original.path, &parts)?;
    let place = Path::new(&attachment.file);
    match attachment.format {
        // Written again, as a copy would fill the holes.
        Format::Raw => layout.write(place, &parts)?,
        Format::Qcow2 => original.convert(place, Format::Qcow2)?,
    }
    Ok(Disk {
        outline: outline_of_made(layout, attachment.read_only),
        attachment,
        original,
        url: None,
        given: None,
        partitions: Some(layout.partitions.clone()),
        files,
        is_compared: true,
        sectors: layout.sectors,
        digests: Vec::new(),
    })
}

fn open(args: &QemuArgs, input: &Input, attachment: Attachment, directory: &Path) -> Result<Disk> {
    let (original, base_format, sectors) = match input {
        Input::File { path, format, sectors } => {
            let original = Image {
                path: path.clone(),
                format: *format,
            };
            (original, *format, *sectors)
        }
        Input::Url { url, format } => {
            let (found, sectors) = images::inspect(url)?;
            // An overlay of its own, which stays empty.
            let original = Image {
                path: directory.join("original.qcow2"),
                format: Format::Qcow2,
            };
            let format = format.unwrap_or(found);
            images::create_overlay(&original.path, url, format)?;
            (original, format, sectors)
        }
    };
    let name = input.name();
    let is_compared = !args.read_only && !args.write;
    let is_file = matches!(input, Input::File { .. });
    if is_compared {
        images::create_overlay(Path::new(&attachment.file), &name, base_format)?;
    }
    Ok(Disk {
        attachment,
        given: is_file.then(|| Fingerprint::take(&original.path)).transpose()?,
        original,
        url: (!is_file).then_some(name),
        partitions: None,
        files: Vec::new(),
        is_compared,
        sectors,
        outline: outline_of_given(args, sectors),
        digests: Vec::new(),
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

    /// The ranges where the disk may differ from before. Outside them it cannot, because nothing is stored there.
    pub(crate) fn touched(&self) -> Result<Vec<SectorRange>> {
        match self.outline.pattern {
            Some(_) => Ok(vec![self.whole()]),
            None => self.attached().stored(self.sectors),
        }
    }

    /// The files on it, as far as xtask has made them.
    pub(crate) fn files(&self) -> &[KnownFile] {
        &self.files
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
        self.original.open(range, directory).map_err(|error| match &self.url {
            // The user knows the URL, and not the image that stands for it.
            Some(url) => anyhow!(
                "{}",
                error
                    .to_string()
                    .replace(&self.original.path.display().to_string(), url)
            ),
            None => error,
        })
    }

    /// The content of a range now.
    pub(crate) fn after(&self, range: SectorRange, directory: &Path) -> Result<Source> {
        self.attached().open(range, directory)
    }

    fn attached(&self) -> Image {
        Image {
            path: PathBuf::from(&self.attachment.file),
            format: self.attachment.format,
        }
    }
}
