//! Disk images by way of `qemu-img`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use guest_protocol::{SECTOR_BYTES, SectorRange};
use serde::Deserialize;

use super::source::Source;
use crate::cli::Format;
use crate::machine::escaped;
use crate::tools::{QEMU_IMG, find_program};

#[derive(Deserialize)]
struct Info {
    format: String,
    #[serde(rename = "virtual-size")]
    bytes: u64,
}

/// One run of an image with the same answer to "where is it stored". `depth` 0 is the image itself, not what it is based on.
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

/// Format and size in sectors of a disk behind a URL.
pub(super) fn inspect(url: &str) -> Result<(Format, u64)> {
    let info: Info = serde_json::from_slice(&qemu_img(&["info", "--output=json", url])?)
        .context("cannot read the answer of qemu-img")?;
    let format = match info.format.as_str() {
        "raw" => Format::Raw,
        "qcow2" => Format::Qcow2,
        other => bail!("{url}: {other} images are not supported"),
    };
    if info.bytes == 0 || !info.bytes.is_multiple_of(SECTOR_BYTES as u64) {
        bail!(
            "{url}: its size, {} bytes, is no multiple of {SECTOR_BYTES}",
            info.bytes
        );
    }
    Ok((format, info.bytes / SECTOR_BYTES as u64))
}

/// Makes a new image with the content of another.
pub(super) fn convert(from: &Path, from_format: Format, to: &Path, to_format: Format) -> Result<()> {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    qemu_img(&["convert", "-f", from_format.name(), "-O", to_format.name(), &from, &to])?;
    Ok(())
}

/// Makes an overlay that reads from `base` and keeps what is written to itself.
pub(super) fn create_overlay(overlay: &Path, base: &str, base_format: Format) -> Result<()> {
    let overlay = overlay.display().to_string();
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        base_format.name(),
        "-b",
        base,
        &overlay,
    ])?;
    Ok(())
}

/// Copies a range of an image to a file and opens that.
pub(super) fn extract(image: &Path, format: Format, range: SectorRange, to: &Path) -> Result<Source> {
    let unit = SECTOR_BYTES as u64;
    let (offset, size) = (range.first * unit, range.count * unit);
    let image = image.display().to_string();
    // The outermost layer is a raw window of the asked-for size, below it the format, below that the file.
    let below = match format {
        Format::Raw => format!("file.driver=file,file.filename={}", escaped(&image)),
        Format::Qcow2 => format!(
            "file.driver=qcow2,file.file.driver=file,file.file.filename={}",
            escaped(&image)
        ),
    };
    let options = format!("driver=raw,offset={offset},size={size},{below}");
    if let Err(error) = qemu_img(&[
        "convert",
        "--image-opts",
        "-O",
        "raw",
        &options,
        &to.display().to_string(),
    ]) {
        // The person who gave the image has never seen these options.
        bail!(
            "{image}: {}",
            error.to_string().replace(&format!("Could not open '{options}': "), "")
        );
    }
    Source::raw_part(to, range.first)
}

/// The ranges that an image holds itself. What is not in them is zeros, or what the image is based on.
pub(super) fn stored(image: &Path, format: Format, sectors: u64) -> Result<Vec<SectorRange>> {
    let image = image.display().to_string();
    let answer = qemu_img(&["map", "--output=json", "-f", format.name(), &image])?;
    let mut extents: Vec<Extent> = serde_json::from_slice(&answer).context("cannot read the answer of qemu-img")?;
    if format == Format::Raw {
        // There, everything is present, holes too.
        extents.retain(|extent| extent.data);
    }
    Ok(own_ranges(&extents, sectors))
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
        let expected = [
            SectorRange { first: 128, count: 128 },
            SectorRange { first: 258, count: 42 },
        ];
        assert_eq!(own_ranges(&extents, 300), expected);
    }
}
