//! The loop of the monitor: prompt, line, command, answer.

use board_qemu_virt::console::{self, Console};
use board_qemu_virt::{Source, counters, print, println};
use guest_protocol::Record;
use image_blk::PROMPT;

use super::actions::Monitor;
use super::command::{self, Command};
use super::line_editor::LineEditor;
use crate::image::report::{FAILED, leave, record};
use crate::image::scratch::Scratch;
use crate::image::session::Session;

/// Characters in a line.
const LINE: usize = 256;
/// How often the port is looked at if it has no interrupt.
const LOOK_MICROS: u64 = 10_000;

/// Serves commands until `quit`, then powers off.
pub(crate) fn run(session: &mut Session, scratch: &mut Scratch, console_source: Option<Source>) -> ! {
    let source = console_source.filter(|source| session.waiting().interrupts.enable(*source).is_ok());
    console::set_receive_interrupt(source.is_some());
    println!("type `help` for a list of commands");
    let mut editor = LineEditor::<LINE>::new();
    let mut monitor = Monitor::new(session, scratch);
    loop {
        print!("{PROMPT}");
        editor.clear();
        read_line(&mut monitor, &mut editor, source);
        match command::parse(editor.line()) {
            Ok(Command::Quit) => break,
            Ok(command) => monitor.act(command),
            Err(error) => println!("{error}"),
        }
        monitor.recover();
    }
    let flushed = monitor.quit();
    record(Record::Done { passed: 0, failed: 0 });
    leave(if flushed { 0 } else { FAILED })
}

/// Waits until a line is typed. Meanwhile the disk may have something to say.
fn read_line(monitor: &mut Monitor<'_>, editor: &mut LineEditor<LINE>, source: Option<Source>) {
    let waiting = monitor.waiting();
    loop {
        while let Some(byte) = console::read_byte() {
            // The console takes everything.
            if editor.feed(byte, &mut Console).unwrap_or(false) {
                return;
            }
        }
        match source {
            // Only now, with the port read empty, its line is quiet.
            Some(source) if waiting.interrupts.take(source) => {
                waiting.interrupts.unmask(source);
                continue;
            }
            Some(_) => {
                waiting.interrupts.wait_any(None);
            }
            None => {
                let span = waiting.timebase.ticks_from_micros(LOOK_MICROS);
                waiting.interrupts.sleep_until(counters::now().after(span));
            }
        }
        if monitor.attend() {
            print!("{PROMPT}{}", editor.line());
        }
    }
}
