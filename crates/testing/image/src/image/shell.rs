//! The shell: a person types commands, the disk answers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use board_qemu_virt::console;
use board_qemu_virt::{counters, print, println};
use guest_protocol::Record;
use image_blk::options::SectorRange;
use image_blk::{PROMPT, SECTOR_BYTES};

use super::buffer::Buffer;
use super::describe;
use super::scratch::{self, driver_range};
use super::session::{Failure, Request, Session};
use bare_image::report::{FAILED, leave, record};

const HELP: &str = "\
help                  this text
info                  what kind of disk it is
stats                 the counters of the driver
dump                  registers and the state of the queue
read SECTOR [COUNT]   print sectors
write SECTOR TEXT     put a text at the start of a sector
zero SECTOR COUNT     fill sectors with zeroes
trim SECTOR COUNT     discard sectors
flush                 make everything written durable
reset                 shut the device down and start it again
quit                  power off
Sectors have 512 bytes. Numbers are decimal, or hexadecimal after 0x.";

/// How often the port is looked at.
const LOOK_MICROS: u64 = 10_000;
/// The most sectors `read` prints.
const MAX_PRINTED: u64 = 64;

/// Serves commands until `quit`, then powers off.
pub(crate) fn run(session: &mut Session) -> ! {
    println!("type `help` for a list of commands");
    loop {
        print!("{PROMPT}");
        let line = read_line(session);
        if line.trim() == "quit" {
            break;
        }
        if let Err(failure) = act(session, &line) {
            println!("error: {failure}");
        }
        session.recover();
    }
    let flushed = session.flush();
    if let Err(failure) = &flushed {
        println!("error: the last flush failed: {failure}");
    }
    let aborted = session.shut_down();
    record(Record::Done { passed: 0, failed: 0 });
    leave(if flushed.is_ok() && aborted == 0 { 0 } else { FAILED })
}

/// Waits until a line is typed, and serves configuration changes of the disk meanwhile.
fn read_line(session: &mut Session) -> String {
    const BACKSPACE: u8 = 0x08;
    const DELETE: u8 = 0x7F;
    let mut line = String::new();
    loop {
        while let Some(byte) = console::read_byte() {
            match byte {
                b'\r' | b'\n' => {
                    println!();
                    return line;
                }
                BACKSPACE | DELETE if line.pop().is_some() => print!("\x08 \x08"),
                b' '..=b'~' => {
                    line.push(char::from(byte));
                    print!("{}", char::from(byte));
                }
                _ => {}
            }
        }
        let span = session.waiting.timebase.ticks_from_micros(LOOK_MICROS);
        session.waiting.interrupts.sleep_until(counters::now().after(span));
        if session.serve_config_change() {
            print!("{PROMPT}{line}");
        }
    }
}

fn act(session: &mut Session, line: &str) -> Result<(), Failure> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        [] => return Ok(()),
        ["help"] => println!("{HELP}"),
        ["info"] => describe::device(session),
        ["stats"] => println!("{}", session.counters()),
        ["dump"] => println!("{}", session.disk().dump()),
        ["read", first] => read(session, range(first, "1")?)?,
        ["read", first, count] => read(session, range(first, count)?)?,
        ["write", first, _, ..] => write(session, range(first, "1")?, &words[2..].join(" "))?,
        ["zero", first, count] => {
            let range = range(first, count)?;
            session.command(Request::write_zeroes(driver_range(range), true, 0))?;
            scratch::zeroed(range);
        }
        ["trim", first, count] => {
            let range = range(first, count)?;
            session.command(Request::discard(driver_range(range), 0))?;
            scratch::undefined(range);
        }
        ["flush"] => session.flush()?,
        ["reset"] => {
            session.restart();
        }
        _ => return Err("no such command, or not with these arguments; try `help`".into()),
    }
    println!("ok");
    Ok(())
}

fn range(first: &str, count: &str) -> Result<SectorRange, Failure> {
    let number = |word| guest_protocol::number(word).ok_or_else(|| format!("`{word}` is not a number"));
    Ok(SectorRange {
        first: number(first)?,
        count: number(count)?,
    })
}

/// The blocks that the sectors lie in: number of the first sector, and content.
fn read_blocks(session: &mut Session, range: SectorRange) -> Result<(u64, Buffer), Failure> {
    let block = session.limits().block_sectors();
    let first = range.first / block * block;
    let count = (range.end() - first).next_multiple_of(block);
    let buffer = Buffer::allocate(count as usize * SECTOR_BYTES)?;
    Ok((first, session.read(first, buffer)?))
}

/// Prints sectors, sixteen bytes a line. Lines that repeat the one before become one `*`.
fn read(session: &mut Session, mut range: SectorRange) -> Result<(), Failure> {
    range.count = range.count.min(MAX_PRINTED);
    let (first, blocks) = read_blocks(session, range)?;
    let bytes = blocks.to_vec();
    let skip = (range.first - first) as usize * SECTOR_BYTES;
    let lines = bytes[skip..].chunks(16).take(range.count as usize * SECTOR_BYTES / 16);
    let mut before: Option<&[u8]> = None;
    let mut repeating = false;
    for (offset, line) in (range.first * SECTOR_BYTES as u64..).step_by(16).zip(lines) {
        if before == Some(line) {
            if !core::mem::replace(&mut repeating, true) {
                println!("*");
            }
            continue;
        }
        (before, repeating) = (Some(line), false);
        print!("{offset:08x} ");
        line.iter().for_each(|byte| print!(" {byte:02x}"));
        let text = line.iter().map(|&byte| {
            if byte.is_ascii_graphic() || byte == b' ' {
                char::from(byte)
            } else {
                '.'
            }
        });
        println!("  |{}|", text.collect::<String>());
    }
    Ok(())
}

fn write(session: &mut Session, range: SectorRange, text: &str) -> Result<(), Failure> {
    let (first, mut blocks) = read_blocks(session, range)?;
    let mut bytes = blocks.to_vec();
    let start = (range.first - first) as usize * SECTOR_BYTES;
    let sector = &mut bytes[start..start + SECTOR_BYTES];
    sector
        .get_mut(..text.len())
        .ok_or("the text is longer than a sector")?
        .copy_from_slice(text.as_bytes());
    blocks.copy_from(&bytes);
    session.write(first, blocks)?;
    // The host does not know the text.
    scratch::undefined(range);
    Ok(())
}
