//! The archive that the test kernel boots from: the scenario, what its processes may do, and their programs.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Builder, Header};

use super::programs::Programs;

/// Writes it. Nothing in it depends on time or place, so the same content gives the same archive.
pub(crate) fn write(place: &Path, script: &str, programs: &Programs) -> Result<()> {
    let what = || format!("cannot write {}", place.display());
    let mut archive = Builder::new(File::create(place).with_context(what)?);
    add(&mut archive, "scenario", script.as_bytes()).with_context(what)?;
    for path in [&programs.system_conf, &programs.clients_conf]
        .into_iter()
        .chain(&programs.processes)
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        add(&mut archive, &name, &bytes).with_context(what)?;
    }
    archive.finish().with_context(what)
}

fn add(archive: &mut Builder<File>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}
