//! The disk as QEMU has it: the node that serves it, its statistics, and the machine around it, by QEMU's machine protocol.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::machine::{DISK, quoted};
use crate::qmp::Qmp;

/// The node that the disk begins with.
pub(super) const BASE: &str = "d0";

/// How long something may take that the guest or QEMU is to do.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const TICK: Duration = Duration::from_millis(20);

/// What QEMU has counted for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    rd_operations: u64,
    wr_operations: u64,
    flush_operations: u64,
    pub(super) failed_rd_operations: u64,
    pub(super) failed_wr_operations: u64,
    pub(super) failed_flush_operations: u64,
}

impl Counted {
    pub(super) const fn failed(&self) -> u64 {
        self.failed_rd_operations + self.failed_wr_operations + self.failed_flush_operations
    }

    /// Requests that were completed.
    const fn completed(&self) -> u64 {
        self.rd_operations + self.wr_operations + self.flush_operations + self.failed()
    }
}

/// The disk of a QEMU that runs.
pub(super) struct Device {
    pub(super) qmp: Qmp,
}

impl Device {
    pub(super) fn connect(socket: &Path) -> Result<Device> {
        Qmp::connect(socket).map(|qmp| Device { qmp })
    }

    pub(super) fn counted(&mut self) -> Result<Counted> {
        let answer = self.qmp.command("query-blockstats", json!({}))?;
        let mut disks = answer.as_array().into_iter().flatten();
        let disk = disks.find(|disk| disk["qdev"].as_str().is_some_and(|path| path.contains(DISK)));
        let disk = disk.context("QEMU has no such disk")?;
        Counted::deserialize(&disk["stats"]).context("QEMU counts otherwise")
    }

    /// Waits until the statistics are `right`.
    pub(super) fn wait_for(&mut self, what: &str, right: impl Fn(&Counted) -> bool) -> Result<Counted> {
        let started = Instant::now();
        loop {
            let counted = self.counted()?;
            if right(&counted) {
                return Ok(counted);
            }
            if started.elapsed() > LIMIT {
                bail!("{what} did not come within {} s: {counted:?}", LIMIT.as_secs());
            }
            thread::sleep(TICK);
        }
    }

    /// Waits until so many more requests are completed: the service works.
    pub(super) fn works(&mut self, requests: u64) -> Result<()> {
        let before = self.counted()?.completed();
        let more = |counted: &Counted| counted.completed() >= before + requests;
        self.wait_for("the next request", more).map(drop)
    }

    /// Has another node serve the disk, for as long as the work goes on.
    pub(super) fn with_node<T>(&mut self, node: Value, work: impl FnOnce(&mut Device) -> Result<T>) -> Result<T> {
        let name = node["node-name"].clone();
        self.qmp.command("blockdev-add", node)?;
        self.serve_by(&name)?;
        let done = work(self)?;
        self.serve_by(&json!(BASE))?;
        self.qmp.command("blockdev-del", json!({ "node-name": name }))?;
        Ok(done)
    }

    fn serve_by(&mut self, node: &Value) -> Result<()> {
        let path = format!("/machine/peripheral/{DISK}");
        let change = json!({ "path": path, "property": "drive", "value": node });
        self.qmp.command("qom-set", change).map(drop)
    }

    /// Requests a second; none: as many as come.
    pub(super) fn throttle(&mut self, rate: Option<u64>) -> Result<()> {
        let mut limits = json!({ "id": DISK, "iops": rate.unwrap_or(0) });
        for name in ["bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"] {
            limits[name] = json!(0);
        }
        self.qmp.command("block_set_io_throttle", limits).map(drop)
    }

    pub(super) fn resize(&mut self, bytes: u64) -> Result<()> {
        let size = json!({ "node-name": BASE, "size": bytes });
        self.qmp.command("block_resize", size).map(drop)
    }

    pub(super) fn command(&mut self, name: &str) -> Result<()> {
        self.qmp.command(name, json!({})).map(drop)
    }

    /// Resets the machine, which boots again.
    pub(super) fn reset_machine(&mut self) -> Result<()> {
        // Other resets end the run, as those of the guest.
        for (name, arguments) in [
            ("set-action", json!({ "reboot": "reset" })),
            ("system_reset", json!({})),
        ] {
            self.qmp.command(name, arguments)?;
        }
        self.qmp.event("RESET")?;
        self.qmp
            .command("set-action", json!({ "reboot": "shutdown" }))
            .map(drop)
    }

    /// Moves the machine into a file. It stands still afterwards.
    pub(super) fn move_to(&mut self, file: &Path) -> Result<()> {
        let uri = format!("exec:cat > {}", quoted(&file.display().to_string()));
        self.qmp.command("migrate", json!({ "uri": uri }))?;
        let started = Instant::now();
        loop {
            let answer = self.qmp.command("query-migrate", json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("the machine does not move: {answer}"),
                status if started.elapsed() > LIMIT => bail!("the machine does not move: {status:?}"),
                _ => thread::sleep(TICK),
            }
        }
    }
}

/// A node above the usual one in which all requests of a kind fail.
pub(super) fn failing(kind: &str) -> Value {
    json!({
        "driver": "blkdebug",
        "node-name": format!("no-{kind}"),
        "image": BASE,
        "discard": "unmap",
        "inject-error": [{ "event": "none", "iotype": kind, "errno": 5 }],
    })
}
