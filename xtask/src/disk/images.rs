//! Disk images by way of `qemu-img`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use guest_protocol::{SECTOR_BYTES, SectorRange};
use serde::Deserialize;

use super::source::Source;
use crate::cli::Format;
use crate::tools::{QEMU_IMG, find_program};

/// A value inside a QEMU option, where a comma ends the value unless doubled.
pub(crate) fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

#[derive(Deserialize)]
struct Info {
    format: String,
    #[serde(rename = "virtual-size")]
    bytes: u64,
}

/// One run of an image with the same answer to "where is it stored". `depth` 0 is the image itself, more than 0 an image below.
#[derive(Deserialize)]
struct Extent {
    start: u64,
    length: u64,
    depth: u32,
    #[serde(default = "yes")]
    present: bool,
    /// Whether reading it reads something that was stored.
    #[serde(default = "yes")]
    data: bool,
}

const fn yes() -> bool {
    true
}

/// Format and size in sectors of a disk that a URL names.
pub(super) fn inspect(url: &str) -> Result<(Format, u64)> {
    let info: Info = serde_json::from_slice(&qemu_img(&["info", "--output=json", url])?)
        .context("cannot read the answer of qemu-img")?;
    let format = match info.format.as_str() {
        "raw" => Format::Raw,
        "qcow2" => Format::Qcow2,
        other => bail!("{url}: {other} images are not supported"),
    };
    Ok((format, info.bytes.div_ceil(SECTOR_BYTES as u64)))
}

/// A disk image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

impl Image {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Makes another image with the same content.
    pub(super) fn convert(&self, to: &Path, format: Format) -> Result<()> {
        let (from, to) = (self.name(), to.display().to_string());
        qemu_img(&["convert", "-f", self.format.name(), "-O", format.name(), &from, &to]).map(drop)
    }

    /// Its content in a range. A copy may be made in `directory`.
    pub(super) fn open(&self, range: SectorRange, directory: &Path) -> Result<Source> {
        if self.format == Format::Raw {
            return Source::raw(&self.path, 0);
        }
        let unit = SECTOR_BYTES as u64;
        let (offset, size, name) = (range.first * unit, range.count * unit, self.name());
        // The outermost layer is a raw window of the asked-for size, below it the format, below that the file.
        let file = escaped(&name);
        let options = format!(
            "driver=raw,offset={offset},size={size},file.driver=qcow2,file.file.driver=file,file.file.filename={file}"
        );
        let copy = tempfile::NamedTempFile::new_in(directory).context("cannot make a temporary file")?;
        let to = copy.path().display().to_string();
        qemu_img(&["convert", "--image-opts", "-O", "raw", &options, &to]).map_err(|error| {
            // The user knows the image, and not these options.
            let text = error.to_string();
            anyhow!("{name}: {}", text.replace(&format!("Could not open '{options}': "), ""))
        })?;
        Source::raw(copy.path(), range.first)
    }

    /// The ranges in this image. The others are zeros, or come from the image below it.
    pub(super) fn stored(&self, sectors: u64) -> Result<Vec<SectorRange>> {
        let answer = qemu_img(&["map", "--output=json", "-f", self.format.name(), &self.name()])?;
        let mut extents: Vec<Extent> = serde_json::from_slice(&answer).context("cannot read the answer of qemu-img")?;
        if self.format == Format::Raw {
            // There, everything is present, holes too.
            extents.retain(|extent| extent.data);
        }
        Ok(own_ranges(&extents, sectors))
    }
}

/// Makes an overlay that reads from `base` and keeps what is written to itself.
pub(super) fn create_overlay(overlay: &Path, base: &str, base_format: Format) -> Result<()> {
    let (overlay, format) = (overlay.display().to_string(), base_format.name());
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", format, "-b", base, &overlay]).map(drop)
}

fn own_ranges(extents: &[Extent], sectors: u64) -> Vec<SectorRange> {
    let unit = SECTOR_BYTES as u64;
    let own = extents.iter().filter(|extent| extent.depth == 0 && extent.present);
    own.map(|extent| {
        let first = extent.start / unit;
        let end = (extent.start + extent.length).div_ceil(unit).min(sectors);
        SectorRange {
            first,
            count: end.saturating_sub(first),
        }
    })
    .filter(|range| range.count > 0)
    .collect()
}

fn qemu_img(arguments: &[&str]) -> Result<Vec<u8>> {
    let program = find_program(QEMU_IMG).context("qemu-img is missing")?;
    let output = Command::new(program)
        .args(arguments)
        .output()
        .context("cannot start qemu-img")?;
    if !output.status.success() {
        // The last line is the reason, the ones before it are warnings.
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = text
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("no reason given");
        let reason = reason.trim();
        bail!("{}", reason.strip_prefix("qemu-img: ").unwrap_or(reason));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_overlay_stores_counts() {
        let extents: Vec<Extent> = serde_json::from_str(
            r#"[{"start": 0, "length": 65536, "depth": 1, "present": true, "zero": false, "data": true},
                {"start": 65536, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true, "offset": 327680},
                {"start": 131072, "length": 1024, "depth": 0, "present": false, "zero": true, "data": false},
                {"start": 132096, "length": 65536, "depth": 0, "present": true, "zero": true, "data": false}]"#,
        )
        .unwrap();
        let found = own_ranges(&extents, 300)
            .into_iter()
            .map(|range| (range.first, range.count));
        assert_eq!(found.collect::<Vec<_>>(), [(128, 128), (258, 42)]);
    }
}
