//! Building the service, the test kernel and the clients.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use super::check::SERVICE;
use super::check::loadable;
use crate::build;
use crate::progress::Progress;
use crate::workspace::{self, Workspace};

/// The crate it comes from.
const SERVICE_CRATE: &str = "minix-virtio-blk";
/// Its privileges, in the words of MINIX.
pub(crate) const SYSTEM_CONF: &str = "system.conf";

/// Crate and program are called the same.
const KERNEL: &str = "testkernel";

const CLIENTS_CRATE: &str = "test-clients";
/// The privileges of the clients.
const CLIENTS_CONF: &str = "clients.conf";

/// The service as MINIX gets it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) elf: PathBuf,
    pub(crate) conf: PathBuf,
    /// Size of the program.
    pub(crate) bytes: usize,
}

/// Everything the test kernel is booted with.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kernel: PathBuf,
    pub(crate) system_conf: PathBuf,
    pub(crate) clients_conf: PathBuf,
    /// Service and clients; the name of the file is that of the program.
    pub(crate) processes: Vec<PathBuf>,
}

/// Builds the service and puts it, with its `system.conf`, where people look for it. A program that MINIX would not load does
/// not get there.
pub(crate) fn build_service(workspace: &Workspace, progress: Progress) -> Result<Service> {
    build::for_target(workspace, "building the service", &[SERVICE_CRATE], progress)?;
    publish(workspace)
}

/// Builds everything for a run.
pub(crate) fn build_all(workspace: &Workspace, progress: Progress) -> Result<Programs> {
    let crates = [SERVICE_CRATE, KERNEL, CLIENTS_CRATE];
    let heading = "building service, test kernel and clients";
    build::for_target(workspace, heading, &crates, progress)?;
    let service = publish(workspace)?;
    let mut programs = planned(workspace)?;
    programs.system_conf = service.conf;
    for program in &programs.processes {
        loadable(program)?;
    }
    Ok(programs)
}

/// Where everything will be, without building it.
pub(crate) fn planned(workspace: &Workspace) -> Result<Programs> {
    let clients = workspace.package(CLIENTS_CRATE)?;
    let directory = published(workspace);
    let mut processes = vec![directory.join(SERVICE)];
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

/// Copies what was built, once it is known to be good.
fn publish(workspace: &Workspace) -> Result<Service> {
    let elf = build::on_target(workspace, SERVICE);
    let bytes = loadable(&elf)?.bytes;
    let conf = workspace::directory(workspace.package(SERVICE_CRATE)?).join(SYSTEM_CONF);
    let directory = published(workspace);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let service = Service {
        elf: directory.join(SERVICE),
        conf: directory.join(SYSTEM_CONF),
        bytes,
    };
    for (from, to) in [(&elf, &service.elf), (&conf, &service.conf)] {
        replace(from, to)?;
    }
    Ok(service)
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
