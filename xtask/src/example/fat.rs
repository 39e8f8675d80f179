//! `fat` copies, extends and makes files in a FAT file system, which is made by `mkfs.fat`, filled and read by `mcopy`, and
//! checked by `fsck.fat`.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::file_system::{Files, checksum, compare_folder, content, run, write_folder};
use super::{Example, Ran};
use crate::tools::{DOSFSTOOLS, MTOOLS};

pub(super) const EXAMPLE: Example = Example {
    harts: 1,
    needs: &[DOSFSTOOLS, MTOOLS],
    disks: &[make],
    judge,
};

/// The sectors of the partition on the disk: as many as FAT32 needs at least, and some.
const FIRST: u32 = 2048;
const SECTORS: u32 = 70_000;

/// The files before the run.
fn before() -> Files {
    Files::from([
        ("HELLO.TXT".to_owned(), b"hello from the host\n".into()),
        ("DATA.BIN".to_owned(), content(1, 100_001)),
        ("NOTES/TODAY.TXT".to_owned(), b"nothing new\n".into()),
    ])
}

/// The files after it. None is deleted or cut: `embedded-sdmmc` 0.10 does not free the clusters of a deleted file, and counts one too few of a
/// file that was cut, which `fsck.fat` does not like.
fn after() -> Files {
    let mut files = before();
    let copied = files["DATA.BIN"].clone();
    files.insert("COPY.BIN".to_owned(), copied);
    files.insert("NEW/NOTE.TXT".to_owned(), b"made without an operating system\n".into());
    files
        .entry("HELLO.TXT".to_owned())
        .or_default()
        .extend(b"and good-bye\n");
    files
}

fn make(path: &Path) -> Result<()> {
    let (partition, folder) = (path.with_extension("partition"), path.with_extension("before"));
    File::create(&partition)?.set_len(u64::from(SECTORS) * 512)?;
    let first = FIRST.to_string();
    let options = ["-F", "32", "-s", "1", "-n", "EXAMPLE", "-h", &first].map(AsRef::as_ref);
    run("mkfs.fat", options.into_iter().chain([partition.as_os_str()]))?;
    write_folder(&folder, &before())?;
    let entries = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
    let entries: Vec<_> = entries.collect::<Result<_>>()?;
    let (options, to) = (["-s", "-i"].map(AsRef::as_ref), "::/".as_ref());
    let from = entries.iter().map(|entry| entry.as_os_str());
    run(
        "mcopy",
        options
            .into_iter()
            .chain([partition.as_os_str()])
            .chain(from)
            .chain([to]),
    )?;

    let mut disk = File::create(path)?;
    disk.write_all(&partition_table())?;
    disk.seek(SeekFrom::Start(u64::from(FIRST) * 512))?;
    std::io::copy(&mut File::open(&partition)?, &mut disk).context("cannot write the disk")?;
    Ok(())
}

/// A first sector with one partition of type FAT32.
fn partition_table() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[450] = 0x0C;
    sector[454..458].copy_from_slice(&FIRST.to_le_bytes());
    sector[458..462].copy_from_slice(&SECTORS.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn judge(ran: &Ran) -> Result<()> {
    let (before, after) = (before(), after());
    for files in [&before, &after] {
        for (name, content) in files.iter().filter(|(name, _)| !name.contains('/')) {
            ran.has_line(&format!("  {name} {}", content.len()))?;
        }
    }
    ran.has_line("  NOTES/")?;
    ran.has_line("  NEW/")?;
    ran.has_line(&format!("DATA.BIN: {}", checksum(&before["DATA.BIN"])))?;

    let disk = ran.disk(0)?;
    let (outside, partition) = disk.split_at(FIRST as usize * 512);
    ensure!(
        outside.starts_with(&partition_table()) && outside[512..].iter().all(|&byte| byte == 0),
        "the disk has changed before the partition"
    );
    let (file, folder) = (
        ran.disks[0].with_extension("partition"),
        ran.disks[0].with_extension("after"),
    );
    fs::write(&file, partition).context("cannot write the partition")?;
    run("fsck.fat", ["-n".as_ref(), file.as_os_str()])?;
    fs::create_dir(&folder)?;
    let options = ["-s", "-i"].map(AsRef::as_ref);
    let places = [file.as_os_str(), "::/*".as_ref(), folder.as_os_str()];
    run("mcopy", options.into_iter().chain(places))?;
    compare_folder(&folder, &after)
}
