//! The faults of the scenario `faults`: made one after the other under a guest that works, and counted.
//!
//! A thread talks to QEMU and to the server of the disk ([`device`], [`server`]), and learns of the guest by [`seen`]. It leaves to the
//! loop that reads the console what only that can do: to type an answer, and to put another QEMU in the place of one.

mod device;
mod seen;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use guest_protocol::{Load, SECTOR_BYTES};
use serde::Serialize;

use crate::cli::QemuArgs;
use crate::disk::Disk;
use crate::evidence::{Figure, Value};
use crate::machine::quoted;
use crate::minix::faults::{AWAY, ask};
use crate::report::Guest;
use device::{Counted, Device, LIMIT, failing};
use seen::Seen;
use server::Server;

/// Requests that are completed before a fault and after it, so that it comes to a service at work and leaves one.
const WORK: u64 = 100;
/// The same where each takes long.
const SLOW_WORK: u64 = 20;
/// Requests that have to fail of each kind.
const FAILURES: u64 = 5;
/// Requests that are completed while the disk does one a second.
const SINGLE_WORK: u64 = 3;
/// How much longer a request takes on a network that is slow.
const DELAY: Duration = Duration::from_millis(100);
/// How long something stands still that the service is not to notice.
const MOMENT: Duration = Duration::from_millis(300);
/// How long the guest may take to boot and to get to its clients.
const BOOT: Duration = Duration::from_secs(120);

/// A fault that needs no more of the guest than that it works.
type Fault = (&'static str, fn(&mut Maker) -> Result<()>);

/// Each of them happens in every round, in random order.
const FAULTS: [Fault; 12] = [
    ("server that hangs until the disk is reset", Maker::hang),
    ("server that hangs for a moment", Maker::freeze),
    ("server that is killed and started again", Maker::kill_server),
    ("slow network", Maker::slow_network),
    ("server that fails a quarter of the requests", Maker::fail_on_network),
    ("reads that fail", |maker| {
        maker.fail("read", |counted| counted.failed_rd_operations)
    }),
    ("writes that fail", |maker| {
        maker.fail("write", |counted| counted.failed_wr_operations)
    }),
    ("flushes that fail", |maker| {
        maker.fail("flush", |counted| counted.failed_flush_operations)
    }),
    ("one request a second", Maker::throttle),
    ("machine that stands still", Maker::stop),
    ("disk that shrinks and grows", Maker::resize),
    ("machine that moves to a file and back", Maker::migrate),
];
/// The others.
const RESET: &str = "machine that is reset";
const POWER: &str = "QEMU that is killed";
const SHRUNK: &str = "disk that is smaller when it is asked";
const DISCARD: &str = "discard that fails";

/// A kind of fault, and how often it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Made {
    pub(crate) fault: &'static str,
    pub(crate) times: u64,
}

/// All that was made.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Total {
    pub(crate) made: Vec<Made>,
    /// Requests of the last boot that failed, as QEMU has counted: reads, writes, flushes.
    pub(crate) failed: [u64; 3],
    /// Writes without an answer when QEMU was killed, and sectors compared then.
    pub(crate) unanswered: u64,
    pub(crate) compared: u64,
}

impl Total {
    /// The kinds of fault that a run of so many rounds has to make, and how often. The last two take the guest's part, and happen once.
    pub(crate) fn wanted(rounds: u64) -> impl Iterator<Item = Made> {
        let repeated = FAULTS.iter().map(|(name, _)| *name).chain([RESET, POWER]);
        let made = |times| move |fault| Made { fault, times };
        repeated.map(made(rounds)).chain([SHRUNK, DISCARD].map(made(1)))
    }

    /// Resets of the machine.
    pub(crate) fn resets(&self) -> u64 {
        self.made
            .iter()
            .find(|made| made.fault == RESET)
            .map_or(0, |made| made.times)
    }

    /// What a run has shown that has passed.
    pub(crate) fn figures(&self, args: &QemuArgs, guest: &Guest) -> Vec<Figure> {
        let legacy = if args.legacy { " --legacy" } else { "" };
        let (rounds, seed) = (args.rounds(), args.seed());
        let command = format!("cargo xtask qemu --scenario faults --rounds {rounds} --seed {seed}{legacy}");
        let sum = |of: fn(&Load<'_>) -> u64| guest.loads().iter().map(of).sum();
        let interface = if args.legacy { "legacy" } else { "modern" };
        [
            ("kinds of fault", self.made.len() as u64),
            ("faults made and survived", self.times()),
            ("requests that failed in QEMU", self.failed.iter().sum()),
            ("errors that clients were told", sum(|load| load.failed)),
            (
                "requests of the last boot, each answered once",
                sum(|load| load.acknowledged + load.failed),
            ),
            ("sectors compared when QEMU was killed", self.compared),
            ("writes that were not answered then", self.unanswered),
        ]
        .map(|(figure, value)| Figure::new(format!("{figure}, {interface} device"), Value::Count(value), &command))
        .into()
    }

    pub(crate) fn times(&self) -> u64 {
        self.made.iter().map(|made| made.times).sum()
    }
}

/// What the loop that reads the console is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Type an answer.
    Answer,
    /// Kill QEMU, and start it again from nothing.
    Kill,
    /// Have another QEMU go on with the machine in this file.
    GoOnFrom(PathBuf),
    /// Give the guest up.
    Abandon,
}

/// The faults of a run.
pub(crate) struct Faults {
    orders: Receiver<Order>,
    seen: Arc<Seen>,
    work: JoinHandle<Result<Total>>,
}

impl Faults {
    /// Waits for what the guest asks for. `directory` is for files, `socket` is where QEMU serves its machine protocol.
    pub(crate) fn start(disk: &Disk, directory: PathBuf, socket: PathBuf, rounds: u32, seed: u64) -> Faults {
        let (sender, orders) = mpsc::channel();
        let seen = Arc::new(Seen::default());
        let maker = Maker {
            image: PathBuf::from(&disk.attachment.file),
            bytes: disk.sectors * SECTOR_BYTES as u64,
            directory,
            socket,
            seen: Arc::clone(&seen),
            orders: sender,
            random: fastrand::Rng::with_seed(seed),
            rounds,
            device: None,
            answered: 0,
            replaced: 0,
            total: Total::default(),
        };
        let work = thread::spawn(move || maker.make_all());
        Faults { orders, seen, work }
    }

    /// Takes note of what the guest has reported. What is to happen, if anything is.
    pub(crate) fn follow(&self, guest: &Guest) -> Option<Order> {
        self.seen.look(guest);
        match self.orders.try_recv() {
            Ok(order) => Some(order),
            Err(TryRecvError::Empty) => None,
            // It has failed before the guest has come to its end, or has done everything.
            Err(TryRecvError::Disconnected) => (guest.done().is_none() && !self.is_done()).then_some(Order::Abandon),
        }
    }

    /// Whether everything was made that was asked for.
    fn is_done(&self) -> bool {
        let mut is_done = false;
        self.seen.change(|state| is_done = state.is_over);
        is_done
    }

    /// QEMU was replaced.
    pub(crate) fn replaced(&self) {
        self.seen.change(|state| state.replaced += 1);
    }

    /// What was made. The guest has ended.
    pub(crate) fn finish(self) -> Result<Total> {
        self.seen.change(|state| state.is_over = true);
        self.work
            .join()
            .map_err(|_| anyhow!("the thread that makes the faults panicked"))?
    }
}

/// The command that goes on with the machine in a file.
pub(crate) fn incoming(mut command: Command, file: &Path) -> Command {
    let file = quoted(&file.display().to_string());
    command.args(["-incoming", &format!("exec:cat {file}")]);
    command
}

/// Makes the faults.
struct Maker {
    image: PathBuf,
    /// Size of the disk.
    bytes: u64,
    directory: PathBuf,
    socket: PathBuf,
    seen: Arc<Seen>,
    orders: Sender<Order>,
    random: fastrand::Rng,
    rounds: u32,
    /// None: there is no QEMU, or a new one.
    device: Option<Device>,
    /// What the guest has asked for that is done.
    answered: usize,
    /// QEMUs that were replaced.
    replaced: usize,
    total: Total,
}

impl Maker {
    fn make_all(mut self) -> Result<Total> {
        for _ in 0..self.rounds {
            self.asked(ask::FAULTS)?;
            self.fault(RESET, |maker| maker.working()?.reset_machine())?;
            self.answered += 1;
            self.asked(ask::FAULTS)?;
            self.fault(POWER, Maker::kill)?;
            self.answered += 1;
        }
        self.asked(ask::FAULTS)?;
        for _ in 0..self.rounds {
            let mut faults = FAULTS;
            self.random.shuffle(&mut faults);
            for (name, fault) in faults {
                self.fault(name, fault)?;
                self.works(WORK).with_context(|| format!("after a {name}"))?;
            }
        }
        self.answer()?;
        let (bytes, away) = (self.bytes, AWAY * SECTOR_BYTES as u64);
        self.asked(ask::SHRINK)?;
        self.fault(SHRUNK, |maker| maker.device()?.resize(bytes - away))?;
        self.works(WORK)?;
        self.answer()?;
        self.asked(ask::GROW)?;
        self.device()?.resize(bytes)?;
        self.works(WORK)?;
        self.answer()?;
        self.asked(ask::REFUSE_DISCARDS)?;
        self.fault(DISCARD, Maker::fail_discard)?;
        self.count()?;
        self.seen.change(|state| state.is_over = true);
        Ok(self.total)
    }

    /// Waits until the guest asks for this.
    fn asked(&self, what: &str) -> Result<()> {
        let nth = self.answered;
        let has_asked = |state: &seen::State| state.asked.get(nth) == Some(&what);
        self.seen
            .wait(&format!("the question `{what}` of the guest"), BOOT, has_asked)
    }

    /// What the guest has asked for is done.
    fn answer(&mut self) -> Result<()> {
        self.answered += 1;
        self.order(Order::Answer)
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).map_err(|_| anyhow!("the run is over"))
    }

    /// Makes a fault and counts it.
    fn fault(&mut self, name: &'static str, make: impl FnOnce(&mut Maker) -> Result<()>) -> Result<()> {
        make(self).with_context(|| name.to_owned())?;
        match self.total.made.iter_mut().find(|made| made.fault == name) {
            Some(made) => made.times += 1,
            None => self.total.made.push(Made { fault: name, times: 1 }),
        }
        Ok(())
    }

    fn device(&mut self) -> Result<&mut Device> {
        match &mut self.device {
            Some(device) => Ok(device),
            none => Ok(none.insert(Device::connect(&self.socket)?)),
        }
    }

    fn works(&mut self, requests: u64) -> Result<()> {
        self.device()?.works(requests)
    }

    /// The disk, once it is at work.
    fn working(&mut self) -> Result<&mut Device> {
        let device = self.device()?;
        device.works(WORK)?;
        Ok(device)
    }

    /// A server of the disk, and a node that is its client.
    fn on_network<T>(
        &mut self,
        delay: Duration,
        work: impl FnOnce(&mut Server, &mut Device) -> Result<T>,
    ) -> Result<T> {
        let mut server = Server::start(&self.directory, "network", &self.image, delay)?;
        let node = server.node("network");
        self.device()?.with_node(node, |device| work(&mut server, device))
    }

    /// QEMU waits for the server while it resets the device, and does not listen until the server goes on.
    fn hang(&mut self) -> Result<()> {
        let seen = Arc::clone(&self.seen);
        self.on_network(Duration::ZERO, |server, device| {
            device.works(WORK)?;
            let before = seen.resets();
            server.pause()?;
            let waited = seen.wait("the reset of the device", LIMIT, |state| state.resets > before);
            server.resume()?;
            waited?;
            device.works(WORK)
        })
    }

    fn freeze(&mut self) -> Result<()> {
        self.on_network(Duration::ZERO, |server, device| {
            device.works(WORK)?;
            server.freeze(true)?;
            thread::sleep(MOMENT);
            server.freeze(false)?;
            device.works(WORK)
        })
    }

    fn kill_server(&mut self) -> Result<()> {
        self.on_network(Duration::ZERO, |server, device| {
            device.works(WORK)?;
            server.kill()?;
            server.start_again()?;
            device.works(WORK)
        })
    }

    fn slow_network(&mut self) -> Result<()> {
        self.on_network(DELAY, |_, device| device.works(SLOW_WORK))
    }

    fn fail_on_network(&mut self) -> Result<()> {
        self.on_network(Duration::ZERO, |server, device| {
            let before = device.counted()?;
            server.fail(true)?;
            device.wait_for("the failure of reads and writes", |now| {
                let new = |of: fn(&Counted) -> u64| of(now) - of(&before);
                new(|counted| counted.failed_rd_operations) >= FAILURES
                    && new(|counted| counted.failed_wr_operations) >= FAILURES
            })?;
            server.fail(false)?;
            device.works(WORK)
        })
    }

    fn fail(&mut self, kind: &str, of: fn(&Counted) -> u64) -> Result<()> {
        self.device()?.with_node(failing(kind), |device| {
            let before = of(&device.counted()?);
            let what = format!("the failure of a {kind}");
            device
                .wait_for(&what, |counted| of(counted) >= before + FAILURES)
                .map(drop)
        })
    }

    /// The guest makes the discard.
    fn fail_discard(&mut self) -> Result<()> {
        self.answered += 1;
        let (orders, seen, nth) = (self.orders.clone(), Arc::clone(&self.seen), self.answered);
        self.device()?.with_node(failing("discard"), |_| {
            orders.send(Order::Answer).map_err(|_| anyhow!("the run is over"))?;
            let asked = |state: &seen::State| state.asked.get(nth) == Some(&ask::TAKE_DISCARDS);
            seen.wait("the end of the discard", BOOT, asked)
        })?;
        self.answer()
    }

    fn throttle(&mut self) -> Result<()> {
        let device = self.device()?;
        device.throttle(Some(1))?;
        let worked = device.works(SINGLE_WORK);
        device.throttle(None)?;
        worked
    }

    fn stop(&mut self) -> Result<()> {
        let device = self.device()?;
        device.command("stop")?;
        thread::sleep(MOMENT);
        device.command("cont")
    }

    fn resize(&mut self) -> Result<()> {
        let (bytes, away) = (self.bytes, AWAY * SECTOR_BYTES as u64);
        let device = self.device()?;
        device.resize(bytes - away)?;
        device.works(WORK)?;
        device.resize(bytes)
    }

    fn migrate(&mut self) -> Result<()> {
        let file = self.directory.join("machine");
        self.device()?.move_to(&file)?;
        self.count()?;
        self.replace(Order::GoOnFrom(file.clone()))?;
        self.works(WORK)?;
        std::fs::remove_file(&file).context("cannot remove the file of the machine")
    }

    fn kill(&mut self) -> Result<()> {
        self.working()?;
        self.replace(Order::Kill)?;
        self.total.failed = [0; 3];
        Ok(())
    }

    fn replace(&mut self, order: Order) -> Result<()> {
        self.device = None;
        self.replaced += 1;
        let replaced = self.replaced;
        self.order(order)?;
        self.seen
            .wait("the end of QEMU", LIMIT, |state| state.replaced == replaced)
    }

    /// Adds what this QEMU has counted, at its end.
    fn count(&mut self) -> Result<()> {
        let counted = self.device()?.counted()?;
        let new = [
            counted.failed_rd_operations,
            counted.failed_wr_operations,
            counted.failed_flush_operations,
        ];
        for (sum, new) in self.total.failed.iter_mut().zip(new) {
            *sum += new;
        }
        Ok(())
    }
}
