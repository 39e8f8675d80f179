//! The socket of qtest: one line for each access, one line for each answer.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long QEMU may take to answer. It is much longer than any access takes.
const LIMIT: Duration = Duration::from_secs(30);

/// How wide an access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Word,
    Long,
}

impl Width {
    fn letter(self) -> char {
        match self {
            Self::Byte => 'b',
            Self::Word => 'w',
            Self::Long => 'l',
        }
    }

    /// The value that a place without a device answers.
    fn nothing(self) -> u32 {
        match self {
            Self::Byte => 0xFF,
            Self::Word => 0xFFFF,
            Self::Long => u32::MAX,
        }
    }
}

/// A connection to the physical memory of the machine, shared by those who hold a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Mutex<BufReader<UnixStream>>>);

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(Arc::new(Mutex::new(BufReader::new(stream)))))
    }

    /// Reads at a physical address. A machine that has ended answers as an empty bus does: its devices use no memory any more.
    pub(crate) fn read(&self, address: u64, width: Width) -> u32 {
        let answer = self.ask(&format!("read{} {address:#x}", width.letter()));
        let value = answer.and_then(|answer| parse(&answer));
        value.map_or(width.nothing(), |value| value as u32)
    }

    /// Writes at a physical address. The write of a machine that has ended is lost.
    pub(crate) fn write(&self, address: u64, width: Width, value: u32) {
        let answer = self.ask(&format!("write{} {address:#x} {value:#x}", width.letter()));
        debug_assert!(answer.is_none_or(|answer| answer.starts_with("OK")));
    }

    fn ask(&self, line: &str) -> Option<String> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.get_mut().write_all(format!("{line}\n").as_bytes()).ok()?;
        loop {
            let mut answer = String::new();
            // Interrupts are told in between, to those who ask for them.
            match stream.read_line(&mut answer) {
                Ok(1..) if answer.starts_with("IRQ") => {}
                Ok(1..) => return Some(answer),
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

/// Registers of a device, from an address on.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) wire: Wire,
    pub(crate) base: u64,
}

impl Window {
    pub(crate) fn read(&self, offset: u32, width: Width) -> u32 {
        self.wire.read(self.base + u64::from(offset), width)
    }

    pub(crate) fn write(&self, offset: u32, width: Width, value: u32) {
        self.wire.write(self.base + u64::from(offset), width, value);
    }

    /// The registers from `offset` on.
    pub(crate) fn from(&self, offset: u32) -> Self {
        Self {
            wire: self.wire.clone(),
            base: self.base + u64::from(offset),
        }
    }
}

fn parse(answer: &str) -> Option<u64> {
    let hex = answer.trim().strip_prefix("OK 0x")?;
    u64::from_str_radix(hex, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_lines_and_an_end_is_an_empty_bus() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let wire = Wire::new(ours).unwrap();
        let machine = std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs);
            let mut heard = Vec::new();
            for answer in ["OK 0x0000000074726976\n", "IRQ raise 1\nOK\n"] {
                let mut line = String::new();
                lines.read_line(&mut line).unwrap();
                heard.push(line);
                lines.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            heard
        });
        assert_eq!(wire.read(0x1000_1000, Width::Long), 0x7472_6976);
        wire.write(0x1000_1070, Width::Byte, 3);
        assert_eq!(
            machine.join().unwrap(),
            ["readl 0x10001000\n", "writeb 0x10001070 0x3\n"]
        );
        assert_eq!(wire.read(0, Width::Word), 0xFFFF);
        wire.write(0, Width::Long, 1);
    }
}
