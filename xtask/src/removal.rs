//! Taking the disk away from a guest that uses it, as soon as the guest says that requests are in flight.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use guest_protocol::Record;
use serde_json::json;

use crate::cli::Removal;
use crate::foreign::Backend;
use crate::machine::{DISK, Machine};
use crate::qmp::Qmp;
use crate::report::{Guest, records};

/// The removal of a run.
#[derive(Debug)]
pub(crate) struct Remover {
    kind: Removal,
    /// Where QEMU serves its machine protocol.
    socket: PathBuf,
    /// The disk as it is added again: the value of its `-device` option.
    device: String,
    /// The removal, once it has begun.
    work: Option<JoinHandle<Result<()>>>,
}

impl Remover {
    /// None: nothing is removed in this run.
    pub(crate) fn new(machine: &Machine<'_>) -> Option<Remover> {
        let kind = machine.args.remove?;
        Some(Remover {
            kind,
            socket: machine.qmp_socket()?.to_owned(),
            device: machine.device(0),
            work: None,
        })
    }

    /// Begins when the guest says that it may.
    pub(crate) fn follow(&mut self, guest: &Guest, backends: &mut [Backend]) {
        let is_ready = records!(guest, Record::Removable { .. } => ()).next().is_some();
        if !is_ready || self.work.is_some() {
            return;
        }
        if self.kind == Removal::Killed {
            backends.iter_mut().for_each(Backend::kill);
        }
        let (kind, socket, device) = (self.kind, self.socket.clone(), self.device.clone());
        self.work = Some(thread::spawn(move || remove(kind, &socket, &device)));
    }

    /// Whether the disk was removed, and added again where that belongs to it.
    pub(crate) fn finish(self) -> Result<()> {
        let work = self.work.context("the guest never said that the disk may be removed")?;
        work.join().map_err(|_| anyhow!("the removal panicked"))?
    }
}

fn remove(kind: Removal, socket: &Path, device: &str) -> Result<()> {
    match kind {
        Removal::Killed => Ok(()),
        Removal::Surprise => {
            let gone = json!({ "path": format!("/machine/peripheral/{DISK}"), "property": "realized", "value": false });
            Qmp::connect(socket)?.command("qom-set", gone).map(drop)
        }
        Removal::Hot => {
            let mut qmp = Qmp::connect(socket)?;
            qmp.command("device_del", json!({ "id": DISK }))?;
            // The guest has let it go.
            qmp.event("DEVICE_DELETED")?;
            // The value as a person types it: `device_add` of the machine protocol wants each part with its type.
            let line = json!({ "command-line": format!("device_add {device}") });
            let answer = qmp.command("human-monitor-command", line)?;
            // This command has no errors of its own.
            match answer.as_str().map(str::trim) {
                Some("") => Ok(()),
                other => bail!("QEMU refuses device_add: {}", other.unwrap_or_default()),
            }
        }
    }
}
