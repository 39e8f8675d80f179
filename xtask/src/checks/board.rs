//! The board on the machines that QEMU makes: each interrupt controller, one hart and several, PCI bridges, a slot, two sockets.

use std::process::Command;
use std::time::Duration;

use image_board::{LINES, Line, OVERFLOW, PANIC, ROUNDS, SLOT};
use serde_json::json;

use super::check::{Check, Context, Guest, Verdict};
use crate::build;
use crate::progress::Progress;
use crate::qmp::Qmp;
use crate::run;

const IMAGE: &str = "image-board";

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Devices in the order of the bus: on it, on it at the same pin, behind a port, and behind a port and a bridge.
const DEVICES: [&str; 8] = [
    "edu",
    "edu,addr=5",
    "pcie-root-port,id=rp0,addr=3,chassis=1,slot=7",
    "edu,bus=rp0,id=e0",
    "pcie-root-port,id=rp1,addr=4,chassis=2,slot=8",
    "pcie-pci-bridge,id=b0,bus=rp1",
    "edu,bus=b0,addr=6",
    "virtio-rng-pci,addr=7",
];

/// A port with a slot, and a device in it.
const SLOT_DEVICES: [&str; 2] = [DEVICES[2], DEVICES[3]];

/// Two sockets of two harts each: an interrupt controller or a group of interrupt files for each.
const TWO_SOCKETS: [&str; 8] = [
    "-object",
    "memory-backend-ram,id=m0,size=64M",
    "-object",
    "memory-backend-ram,id=m1,size=64M",
    "-numa",
    "node,nodeid=0,cpus=0-1,memdev=m0",
    "-numa",
    "node,nodeid=1,cpus=2-3,memdev=m1",
];

/// A value of `aia=`, the name of the controller that interrupts come by, and whether there are messages.
const CONTROLLERS: [(&str, &str, bool); 4] = [
    ("none", "plic@c000000", false),
    ("aplic", "interrupt-controller@d000000", false),
    ("aplic-imsic", "interrupt-controller@d000000", true),
    ("aplic-imsic,aia-guests=3", "interrupt-controller@d000000", true),
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (aia, controller, has_messages) in CONTROLLERS {
        // Room for guests only moves the files of the harts.
        let is_variant = aia.contains("guests");
        for harts in [1, 4].into_iter().skip(usize::from(is_variant)) {
            checks.push(check(format!("board/{aia}/harts-{harts}"), move |context| {
                let text = boot(context, aia, harts, &DEVICES, &[], None)?;
                expect(&text, &format!("interrupts by {controller}"))?;
                expect(&text, "4 devices")?;
                for (device, pin) in [
                    ("0000:00:01.0", 33),
                    ("0000:00:05.0", 33),
                    ("0000:01:00.0", 35),
                    ("0000:03:06.0", 34),
                ] {
                    expect(&text, &format!("{device}: pin by source {pin},"))?;
                    // QEMU's PLIC looks for changes of a line, and so misses this.
                    if aia != "none" {
                        expect(
                            &text,
                            &format!("{device}: pin by source {pin}, raised line seen again: true"),
                        )?;
                    }
                    if has_messages {
                        expect(&text, &format!("{device}: messages to {} harts", harts - 1))?;
                    }
                }
                whole_lines(&text, harts)
            }));
        }
        if is_variant {
            continue;
        }
        checks.push(check(format!("board/{aia}/two-sockets"), move |context| {
            // The devices are wired to the second socket, and the hart on which the firmware starts the image is left to chance.
            let text = boot(context, aia, 4, &DEVICES, &TWO_SOCKETS, None)?;
            let pins = text.matches(": pin by source ").count();
            let refused = text.matches(": pin goes to ").count();
            match (pins, refused) {
                (4, 0) => {}
                // Messages reach each hart.
                (0, 4) if !has_messages => {}
                _ => return Err(format!("{pins} pins were served, {refused} refused")),
            }
            whole_lines(&text, 4)
        }));
        checks.push(check(format!("board/{aia}/slot"), move |context| {
            let text = boot(context, aia, 2, &SLOT_DEVICES, &["-append", SLOT], Some(change_device))?;
            expect(&text, "slot 7 of port 0000:00:03.0")?;
            expect(&text, "the slot works")
        }));
    }
    for (word, status, last) in [(PANIC, 101, "place 1 gives up"), (OVERFLOW, 103, "overflowed")] {
        checks.push(check(format!("board/another-hart/{word}"), move |context| {
            match boot(context, "none", 2, &[], &["-append", word], None) {
                Err(reason) if reason.contains(&format!("exit status: {status}:")) && reason.contains(last) => Ok(()),
                other => Err(format!("ended with {other:?}")),
            }
        }));
    }
    checks
}

fn check(name: String, work: impl Fn(&Context) -> Verdict + Send + Sync + 'static) -> Check {
    Check {
        boots: Some(Guest::Bare),
        ..Check::new(name, work)
    }
}

/// Takes the device out of the slot and plugs another one in, once the guest has let the first one go.
fn change_device(qmp: &mut Qmp) -> anyhow::Result<()> {
    qmp.command("device_del", json!({ "id": "e0" }))?;
    qmp.event("DEVICE_DELETED")?;
    qmp.command("device_add", json!({ "driver": "edu", "bus": "rp0", "id": "e1" }))?;
    Ok(())
}

/// Boots the image. Returns its output if it has ended with status 0.
fn boot(
    context: &Context,
    aia: &str,
    harts: usize,
    devices: &[&str],
    words: &[&str],
    meanwhile: Option<fn(&mut Qmp) -> anyhow::Result<()>>,
) -> Result<String, String> {
    let in_full = |error: anyhow::Error| format!("{error:#}");
    build::for_target(&context.workspace, "", &[IMAGE], Progress::Silent).map_err(in_full)?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let socket = directory.path().join("qmp");
    let mut command = Command::new(&context.setup()?.qemu.program);
    command.args([
        "-machine",
        &format!("virt,aia={aia}"),
        "-smp",
        &harts.to_string(),
        "-m",
        "128M",
    ]);
    command.args([
        "-bios",
        "default",
        "-nodefaults",
        "-display",
        "none",
        "-serial",
        "stdio",
    ]);
    command.arg("-kernel").arg(build::on_target(&context.workspace, IMAGE));
    command
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", socket.display()));
    for device in devices {
        command.args(["-device", device]);
    }
    command.args(words);
    let host = meanwhile
        .map(|meanwhile| std::thread::spawn(move || Qmp::connect(&socket).and_then(|mut qmp| meanwhile(&mut qmp))));
    let (ended, text) = run::silently(&context.workspace, &command, LIMIT);
    let status = ended.map_err(in_full)?.status;
    if let Some(host) = host {
        let done = host.join().map_err(|_| "the thread of the host has died".to_owned())?;
        done.map_err(|error| format!("{error:#}; {}", last_line(&text)))?;
    }
    match status {
        Some(status) if status.success() => Ok(text),
        Some(status) => Err(format!("{status}: {}", last_line(&text))),
        None => Err(format!("took longer than {} s: {}", LIMIT.as_secs(), last_line(&text))),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or("no output")
}

fn expect(text: &str, part: &str) -> Verdict {
    match text.contains(part) {
        true => Ok(()),
        false => Err(format!("`{part}` was not printed")),
    }
}

/// Every hart has printed all its lines, and no hart in the middle of a line of another.
fn whole_lines(text: &str, harts: usize) -> Verdict {
    for place in 0..harts {
        for number in 0..LINES {
            let wanted = Line { place, number }.to_string();
            let count = text.lines().filter(|line| *line == wanted).count();
            if count != ROUNDS {
                return Err(format!("`{wanted}` was printed {count} times, not {ROUNDS} times"));
            }
        }
    }
    Ok(())
}
