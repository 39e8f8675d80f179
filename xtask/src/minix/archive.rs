//! The archive that the test kernel boots from: the scenario, what its processes may do, and their programs.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Builder, Header};

use super::programs::Programs;

/// Writes it. Nothing in it depends on time or place, so the same content gives the same archive.
pub(crate) fn write(place: &Path, script: &str, programs: &Programs) -> Result<()> {
    let what = || format!("cannot write {}", place.display());
    let mut archive = Builder::new(File::create(place).with_context(what)?);
    add(&mut archive, "scenario", script.as_bytes()).with_context(what)?;
    let confs = [
        ("system.conf", &programs.system_conf),
        ("clients.conf", &programs.clients_conf),
    ];
    for (name, path) in confs {
        add(&mut archive, name, &read(path)?).with_context(what)?;
    }
    for path in &programs.processes {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        add(&mut archive, &name, &read(path)?).with_context(what)?;
    }
    archive
        .into_inner()
        .and_then(|mut file| file.flush())
        .with_context(what)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn add(archive: &mut Builder<File>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn everything_is_in_it_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let programs = Programs {
            kernel: "/none".into(),
            system_conf: file("one.conf", "1"),
            clients_conf: file("two.conf", "2"),
            processes: vec![file("virtio_blk_mmio", "3"), file("shell", "4")],
        };
        let place = directory.path().join("boot.tar");
        write(&place, "wait\n", &programs).unwrap();
        let mut archive = tar::Archive::new(File::open(&place).unwrap());
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text));
        }
        let wanted = [
            ("scenario", "wait\n"),
            ("system.conf", "1"),
            ("clients.conf", "2"),
            ("virtio_blk_mmio", "3"),
            ("shell", "4"),
        ];
        assert_eq!(found, wanted.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
