//! Building the programs that go into MINIX, the test kernel and the clients.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::check::loadable;
pub(crate) use super::shipped::SERVICE;
use super::shipped::{SERVICE_PACKAGE, SHIPPED, Shipped};
use crate::build;
use crate::progress::Progress;
use crate::workspace::{self, Workspace};

/// The privileges of the service, in the words of MINIX.
pub(crate) const SYSTEM_CONF: &str = "system.conf";

/// Crate and program are called the same.
const KERNEL: &str = "testkernel";

const CLIENTS_CRATE: &str = "test-clients";
/// The privileges of the clients.
const CLIENTS_CONF: &str = "clients.conf";

/// The programs as MINIX gets them.
#[derive(Debug)]
pub(crate) struct Published {
    /// In the order of [`SHIPPED`].
    pub(crate) programs: Vec<PublishedProgram>,
    /// The privileges of the service.
    pub(crate) conf: PathBuf,
}

/// One program as MINIX gets it.
#[derive(Debug)]
pub(crate) struct PublishedProgram {
    pub(crate) shipped: &'static Shipped,
    pub(crate) elf: PathBuf,
    /// Size of the file.
    pub(crate) bytes: usize,
}

/// Everything the test kernel is booted with.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kernel: PathBuf,
    pub(crate) system_conf: PathBuf,
    pub(crate) clients_conf: PathBuf,
    /// The programs of [`SHIPPED`] and the clients; the name of the file is that of the program.
    pub(crate) processes: Vec<PathBuf>,
}

/// Builds the programs that go into MINIX and puts them, with the `system.conf` of the service, where people look for them. A
/// program that MINIX would not load does not get there.
pub(crate) fn build_shipped(workspace: &Workspace, progress: Progress) -> Result<Published> {
    let packages: Vec<_> = Shipped::packages().collect();
    build::for_target(workspace, "building what goes into MINIX", &packages, progress)?;
    publish(workspace)
}

/// Builds everything for a run.
pub(crate) fn build_all(workspace: &Workspace, progress: Progress) -> Result<Programs> {
    let crates: Vec<_> = Shipped::packages().chain([KERNEL, CLIENTS_CRATE]).collect();
    let heading = "building service, test kernel and clients";
    build::for_target(workspace, heading, &crates, progress)?;
    publish(workspace)?;
    let programs = planned(workspace)?;
    for program in &programs.processes {
        loadable(program)?;
    }
    Ok(programs)
}

/// Where everything will be, without building it.
pub(crate) fn planned(workspace: &Workspace) -> Result<Programs> {
    let clients = workspace.package(CLIENTS_CRATE)?;
    let directory = published(workspace);
    let mut processes: Vec<_> = SHIPPED.iter().map(|program| directory.join(program.name)).collect();
    processes.extend(workspace::programs(clients).map(|name| build::on_target(workspace, name)));
    Ok(Programs {
        kernel: build::on_target(workspace, KERNEL),
        system_conf: directory.join(SYSTEM_CONF),
        clients_conf: workspace::directory(clients).join(CLIENTS_CONF),
        processes,
    })
}

fn published(workspace: &Workspace) -> PathBuf {
    workspace.target.join("minix")
}

/// Copies what was built, once all of it is known to be good.
fn publish(workspace: &Workspace) -> Result<Published> {
    let directory = published(workspace);
    let mut programs = Vec::new();
    for shipped in SHIPPED {
        let bytes = loadable(&build::on_target(workspace, shipped.name))?.bytes;
        let elf = directory.join(shipped.name);
        programs.push(PublishedProgram { shipped, elf, bytes });
    }
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for program in &programs {
        replace(&build::on_target(workspace, program.shipped.name), &program.elf)?;
    }
    let from = workspace::directory(workspace.package(SERVICE_PACKAGE)?).join(SYSTEM_CONF);
    let conf = directory.join(SYSTEM_CONF);
    replace(&from, &conf)?;
    Ok(Published { programs, conf })
}

/// Copies a file over another in one step, so that another run reads the old one or the new one.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("cannot copy {} to {}", from.display(), to.display());
    let directory = to.parent().unwrap_or(to);
    let new = tempfile::NamedTempFile::new_in(directory).with_context(what)?;
    std::fs::copy(from, new.path()).with_context(what)?;
    new.persist(to).with_context(what)?;
    Ok(())
}
