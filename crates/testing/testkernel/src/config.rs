//! Configurations of services, in the syntax of `system.conf`.
//!
//! ```text
//! service virtio_blk_mmio
//! {
//!     system UMAP VUMAP IRQCTL PRIVCTL;
//!     irq    1 2 3;
//!     ipc    SYSTEM rs ds vm vfs;
//! };
//! ```
//!
//! Keywords without a meaning here (`quantum`, `io` and the like) are read over. The entry has to
//! name everything that the service needs, because the kernel holds the service to it.

use heapless::Vec;
use minix_abi::kernel_call::{MAX_SERVICE_IRQS, VECTORS};
use minix_abi::{Endpoint, MessageType};

/// Labels that a list of partners can hold here.
pub const MAX_PARTNERS: usize = 32;

/// Kernel calls that every service may use, even with `system NONE`.
const BASIC_KERNEL_CALLS: [MessageType; 11] = [
    MessageType::SYS_EXIT,
    MessageType::SYS_SAFECOPYFROM,
    MessageType::SYS_SAFECOPYTO,
    MessageType::SYS_VSAFECOPY,
    MessageType::SYS_GETINFO,
    MessageType::SYS_TIMES,
    MessageType::SYS_SETALARM,
    MessageType::SYS_SETGRANT,
    MessageType::SYS_DIAGCTL,
    MessageType::SYS_STATECTL,
    MessageType::SYS_SAFEMEMSET,
];

/// VM calls of a service whose entry does not say otherwise. Asking for resource usage is not modelled.
const BASIC_VM_CALLS: [MessageType; 6] = [
    MessageType::VM_BRK,
    MessageType::VM_MMAP,
    MessageType::VM_MUNMAP,
    MessageType::VM_MAP_PHYS,
    MessageType::VM_UNMAP_PHYS,
    MessageType::VM_INFO,
];

/// The first VM call's number.
const VM_BASE: i32 = 0xC00;

/// Queues of the scheduler.
const QUEUES: u8 = 16;

/// The names of the kernel and of processes of the boot image.
pub const SYSTEM_NAMES: [(&str, Endpoint); 11] = [
    ("SYSTEM", Endpoint::SYSTEM),
    ("pm", Endpoint::PM),
    ("vfs", Endpoint::VFS),
    ("rs", Endpoint::RS),
    ("memory", Endpoint::MEM),
    ("sched", Endpoint::SCHED),
    ("tty", Endpoint::TTY),
    ("ds", Endpoint::DS),
    ("mib", Endpoint::MIB),
    ("vm", Endpoint::VM),
    ("pfs", Endpoint::PFS),
];

/// What one entry allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig<'a> {
    /// Bit n is call 0x600 + n.
    pub kernel_calls: u64,
    /// Bit n is call 0xC00 + n.
    pub vm_calls: u64,
    /// Interrupt lines, one bit each; `None` for all.
    pub irqs: Option<u128>,
    /// The queue of the scheduler; lower ones run first. `None` if the entry does not say.
    pub priority: Option<u8>,
    /// Receivers of messages; `None` for all.
    pub partners: Option<Vec<&'a str, MAX_PARTNERS>>,
}

impl ServiceConfig<'_> {
    /// Whether its partners include a process of this label or program.
    pub fn names(&self, label: &str, program: &str) -> bool {
        match &self.partners {
            None => true,
            Some(names) => names.iter().any(|name| *name == label || *name == program),
        }
    }
}

impl Default for ServiceConfig<'_> {
    fn default() -> Self {
        let bits = |calls: &[MessageType]| calls.iter().fold(0, |mask, call| mask | call_bit(*call));
        Self {
            kernel_calls: bits(&BASIC_KERNEL_CALLS),
            vm_calls: bits(&BASIC_VM_CALLS),
            irqs: Some(0),
            priority: None,
            partners: None,
        }
    }
}

/// The bit of a call to the kernel or to VM in its mask; 0 if there is none.
pub fn call_bit(call: MessageType) -> u64 {
    let index = call.kernel_call_index().unwrap_or(call.0.wrapping_sub(VM_BASE) as u32);
    1_u64.checked_shl(index).unwrap_or(0)
}

/// Text that is no `system.conf`: the problem, and the last word that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError<'a> {
    pub problem: &'static str,
    pub word: &'a str,
}

/// The entry of a program.
///
/// # Errors
///
/// [`ConfigError`] if the text is malformed up to there.
///
/// ```
/// use testkernel::config::find;
///
/// let text = "service disk { system UMAP; irq 8; vm BASIC; };";
/// let disk = find(text, "disk").unwrap().unwrap();
/// assert_eq!(disk.irqs, Some(1 << 8));
/// assert_eq!(find(text, "tape"), Ok(None));
/// ```
pub fn find<'a>(text: &'a str, name: &str) -> Result<Option<ServiceConfig<'a>>, ConfigError<'a>> {
    let mut parser = Parser {
        tokens: tokens(text),
        word: "",
    };
    while let Some(word) = parser.next() {
        if word == ";" {
            continue;
        }
        let found = parser.next().filter(|_| word == "service");
        let found = found.filter(|_| parser.next() == Some("{"));
        let found = found.ok_or(parser.error("'service NAME {' is expected here"))?;
        let entry = parser.entry()?;
        if found == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Words, and the signs that separate them. `#` starts a comment.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter_map(|line| line.split('#').next());
    let parts = lines.flat_map(|line| line.split_inclusive(['{', '}', ';']));
    let tokens = parts.flat_map(|part| {
        let words = part.trim_end_matches(['{', '}', ';']);
        words.split_ascii_whitespace().chain([&part[words.len()..]])
    });
    tokens.filter(|token| !token.is_empty())
}

struct Parser<'a, I> {
    tokens: I,
    word: &'a str,
}

impl<'a, I: Iterator<Item = &'a str>> Parser<'a, I> {
    fn next(&mut self) -> Option<&'a str> {
        self.word = self.tokens.next()?;
        Some(self.word)
    }

    fn error(&self, problem: &'static str) -> ConfigError<'a> {
        let word = self.word;
        ConfigError { problem, word }
    }

    /// The next word of a list; `None` at its end.
    fn value(&mut self) -> Result<Option<&'a str>, ConfigError<'a>> {
        match self.next() {
            Some(";") => Ok(None),
            Some("{" | "}") | None => Err(self.error("a list does not end with ';'")),
            word => Ok(word),
        }
    }

    /// An entry up to its closing brace.
    fn entry(&mut self) -> Result<ServiceConfig<'a>, ConfigError<'a>> {
        let mut entry = ServiceConfig::default();
        loop {
            match self.next() {
                Some("}") => return Ok(entry),
                Some(";") => {}
                Some("system") => entry.kernel_calls |= self.calls(MessageType::KERNEL_CALLS, "SYS_")?.unwrap_or(0),
                Some("vm") => match self.calls(MessageType::VM_CALLS, "VM_")? {
                    Some(calls) => entry.vm_calls |= calls,
                    // Only here do the basic calls go.
                    None => entry.vm_calls = 0,
                },
                Some("irq") => entry.irqs = self.irqs()?,
                Some("ipc") => entry.partners = self.partners()?,
                Some("priority") => entry.priority = Some(self.priority()?),
                Some(
                    "io" | "quantum" | "scheduler" | "sigmgr" | "cpu" | "control" | "pci" | "class" | "type" | "domain"
                    | "descr" | "uid",
                ) => while self.value()?.is_some() {},
                _ => return Err(self.error("no such keyword")),
            }
        }
    }

    /// A list of calls as a mask; `None` if it says `NONE` and nothing else.
    fn calls(&mut self, known: &[(&str, MessageType)], prefix: &str) -> Result<Option<u64>, ConfigError<'a>> {
        let (mut mask, mut is_none) = (0, false);
        while let Some(word) = self.value()? {
            match word {
                "ALL" => mask = u64::MAX,
                "NONE" => is_none = true,
                "BASIC" => {}
                name => {
                    let mut known = known.iter();
                    let call = known.find(|(full, _)| full.strip_prefix(prefix) == Some(name));
                    mask |= call_bit(call.ok_or(self.error("no such call"))?.1);
                }
            }
        }
        Ok((!is_none || mask != 0).then_some(mask))
    }

    fn priority(&mut self) -> Result<u8, ConfigError<'a>> {
        let number = self.value()?.and_then(|word| word.parse().ok());
        let priority = number.filter(|number| *number < QUEUES);
        let priority = priority.ok_or(self.error("no such priority"))?;
        match self.value()? {
            None => Ok(priority),
            Some(_) => Err(self.error("one priority is enough")),
        }
    }

    fn irqs(&mut self) -> Result<Option<u128>, ConfigError<'a>> {
        let (mut lines, mut is_all) = (0_u128, false);
        while let Some(word) = self.value()? {
            match word {
                "ALL" => is_all = true,
                "NONE" => {}
                number => {
                    let line = number.parse().ok().filter(|line| (0..VECTORS).contains(line));
                    lines |= 1 << line.ok_or(self.error("no such interrupt line"))?;
                }
            }
        }
        if lines.count_ones() as usize > MAX_SERVICE_IRQS {
            return Err(self.error("too many interrupt lines"));
        }
        Ok((!is_all).then_some(lines))
    }

    fn partners(&mut self) -> Result<Option<Vec<&'a str, MAX_PARTNERS>>, ConfigError<'a>> {
        let (mut names, mut is_all) = (Vec::new(), false);
        while let Some(word) = self.value()? {
            match word {
                "ALL" | "ALL_SYS" => is_all = true,
                name => names.push(name).map_err(|_| self.error("too many partners"))?,
            }
        }
        Ok((!is_all).then_some(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> ServiceConfig<'static> {
        find(text, "a").unwrap().unwrap()
    }

    #[test]
    fn the_entry_that_ships_allows_what_the_driver_needs() {
        let text = include_str!("../../../minix/virtio-blk-mmio/system.conf");
        let disk = find(text, "virtio_blk_mmio").unwrap().unwrap();
        let basic = ServiceConfig::default();
        let more = [
            MessageType::SYS_UMAP,
            MessageType::SYS_VUMAP,
            MessageType::SYS_IRQCTL,
            MessageType::SYS_PRIVCTL,
        ];
        assert_eq!(
            disk.kernel_calls,
            more.iter()
                .fold(basic.kernel_calls, |mask, call| mask | call_bit(*call))
        );
        assert_eq!((disk.vm_calls, disk.irqs), (basic.vm_calls, Some(0x1FE)));
        assert_eq!((disk.priority, basic.priority), (Some(3), None));
        assert!(disk.names("mfs_disk", "mfs") && disk.names("vfs", "") && !disk.names("blocktest", "blocktest"));
    }

    #[test]
    fn words_for_everything_and_nothing() {
        assert_eq!(of("service b {}; service a { };"), ServiceConfig::default());
        let all = of("service a{system ALL;vm ALL;irq ALL;ipc ALL_SYS;}");
        assert_eq!((all.kernel_calls, all.vm_calls, all.irqs), (u64::MAX, u64::MAX, None));
        assert!(all.names("x", "y"));
        let none = of("service a { vm NONE; system NONE; irq NONE; ipc NONE; priority 3; }");
        let basic = ServiceConfig::default().kernel_calls;
        assert_eq!((none.kernel_calls, none.vm_calls, none.irqs), (basic, 0, Some(0)));
        assert!(!none.names("x", "y"));
    }

    #[test]
    fn errors_name_the_word() {
        for (text, word) in [
            ("driver a { };", "a"),
            ("service { }", "}"),
            ("service a\n{ irq 1", "1"),
            ("service a { irq 128; }", "128"),
            ("service a { system FLY; }", "FLY"),
            ("service a { priority 16; }", "16"),
            ("service a { priority; }", ";"),
            ("service a { priority 5 8; }", "8"),
            ("service a { # irq 1;\n wings 2; }", "wings"),
            ("service a { irq 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; }", ";"),
        ] {
            assert_eq!(find(text, "a").unwrap_err().word, word, "{text}");
        }
    }
}
