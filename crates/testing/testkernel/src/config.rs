//! What a service may do: entries in the syntax of `system.conf`.
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
//! Keywords without a meaning for a driver here (`priority`, `quantum`, `io` and the like) are read over. Everything a
//! service needs has to be in its entry, because the kernel holds it to it.

use core::fmt;

use heapless::Vec;
use minix_abi::MessageType;
use minix_abi::kernel_call::{MAX_SERVICE_IRQS, VECTORS};

/// Labels that a list of partners can hold here.
pub const MAX_PARTNERS: usize = 32;

/// Kernel calls that every service may use, whatever its entry says.
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

/// The first VM call's number; bit n of a mask is this plus n.
const VM_BASE: i32 = 0xC00;

/// Interrupt lines of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Irqs {
    /// The kernel does not check.
    All,
    /// These and no others.
    List(Vec<i32, MAX_SERVICE_IRQS>),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig<'a> {
    /// The name of the program.
    pub name: &'a str,
    /// The user it runs as; `None` for the default one.
    pub uid: Option<&'a str>,
    /// Kernel calls: bit n is call 0x600 + n.
    pub kernel_calls: u64,
    /// VM calls: bit n is call 0xC00 + n.
    pub vm_calls: u64,
    /// Interrupt lines.
    pub irqs: Irqs,
    /// Who it may send to; `None` for everybody.
    pub partners: Option<Vec<&'a str, MAX_PARTNERS>>,
}

impl<'a> ServiceConfig<'a> {
    /// The entry of a service about which nothing is said.
    pub fn new(name: &'a str) -> Self {
        Self {
            name,
            uid: None,
            kernel_calls: BASIC_KERNEL_CALLS.iter().fold(0, |mask, call| mask | kernel_bit(*call)),
            vm_calls: BASIC_VM_CALLS.iter().fold(0, |mask, call| mask | vm_bit(*call)),
            irqs: Irqs::List(Vec::new()),
            partners: None,
        }
    }

    /// Whether it may use this kernel call. No call that there is not.
    pub fn allows_kernel_call(&self, call: MessageType) -> bool {
        self.kernel_calls & kernel_bit(call) != 0
    }

    /// Whether it may use this VM call.
    pub fn allows_vm_call(&self, call: MessageType) -> bool {
        self.vm_calls & vm_bit(call) != 0
    }

    /// Whether it may hook this interrupt line.
    pub fn allows_irq(&self, line: i32) -> bool {
        match &self.irqs {
            Irqs::All => true,
            Irqs::List(lines) => lines.contains(&line),
        }
    }

    /// Whether its list names a process of this label or program.
    pub fn names(&self, label: &str, program: &str) -> bool {
        match &self.partners {
            None => true,
            Some(names) => names.iter().any(|name| *name == label || *name == program),
        }
    }
}

fn kernel_bit(call: MessageType) -> u64 {
    call.kernel_call_index().map_or(0, |index| 1 << index)
}

fn vm_bit(call: MessageType) -> u64 {
    match call.0.checked_sub(VM_BASE) {
        Some(index @ 0..64) => 1 << index,
        _ => 0,
    }
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something else should stand here, or the text ends too early.
    Syntax,
    /// No such keyword.
    Keyword,
    /// No such call, or not a number.
    Value,
    /// More values than there can be.
    TooMany,
}

/// Text that is no `system.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            Problem::Syntax => "something else is expected here",
            Problem::Keyword => "no such keyword",
            Problem::Value => "no such call, or not a number",
            Problem::TooMany => "too many values",
        };
        write!(f, "line {}: {what}", self.line)
    }
}

impl core::error::Error for ConfigError {}

/// The entry of a program.
///
/// # Errors
///
/// [`ConfigError`] if the text is malformed up to there.
///
/// ```
/// use minix_abi::MessageType;
/// use testkernel::config::find;
///
/// let text = "service disk { system UMAP; irq 8; vm BASIC; };";
/// let disk = find(text, "disk").unwrap().unwrap();
/// assert!(disk.allows_kernel_call(MessageType::SYS_UMAP));
/// assert!(!disk.allows_kernel_call(MessageType::SYS_VUMAP));
/// assert!(disk.allows_irq(8) && !disk.allows_irq(7));
/// assert_eq!(find(text, "tape"), Ok(None));
/// ```
pub fn find<'a>(text: &'a str, name: &str) -> Result<Option<ServiceConfig<'a>>, ConfigError> {
    let mut tokens = Tokens { rest: text, line: 1 };
    while let Some(word) = tokens.next() {
        if word == ";" {
            continue;
        }
        if word != "service" {
            return Err(tokens.error(Problem::Syntax));
        }
        let entry = entry(&mut tokens)?;
        if entry.name == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Words, and the signs that separate them.
struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<&'a str> {
        loop {
            let first = self.rest.chars().next()?;
            let length = match first {
                '\n' => {
                    self.line += 1;
                    1
                }
                '#' => self.rest.find('\n').unwrap_or(self.rest.len()),
                c if c.is_whitespace() => c.len_utf8(),
                '{' | '}' | ';' => return Some(self.take(1)),
                _ => {
                    let end = |c: char| c.is_whitespace() || "{};#".contains(c);
                    return Some(self.take(self.rest.find(end).unwrap_or(self.rest.len())));
                }
            };
            self.take(length);
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        token
    }

    /// The next word of a statement; `None` at its end.
    fn value(&mut self) -> Result<Option<&'a str>, ConfigError> {
        match self.next() {
            Some(";") => Ok(None),
            Some("{" | "}") | None => Err(self.error(Problem::Syntax)),
            Some(word) => Ok(Some(word)),
        }
    }

    fn error(&self, problem: Problem) -> ConfigError {
        ConfigError {
            line: self.line,
            problem,
        }
    }
}

fn entry<'a>(tokens: &mut Tokens<'a>) -> Result<ServiceConfig<'a>, ConfigError> {
    let name = tokens.value()?.ok_or(tokens.error(Problem::Syntax))?;
    let mut entry = ServiceConfig::new(name);
    if tokens.next() != Some("{") {
        return Err(tokens.error(Problem::Syntax));
    }
    loop {
        match tokens.next() {
            Some("}") => break,
            Some(";") => {}
            Some("uid") => {
                entry.uid = tokens.value()?;
                while tokens.value()?.is_some() {}
            }
            Some("system") => {
                entry.kernel_calls |= calls(tokens, MessageType::KERNEL_CALLS, "SYS_", kernel_bit)?.mask();
            }
            Some("vm") => match calls(tokens, MessageType::VM_CALLS, "VM_", vm_bit)? {
                // The basic calls go only if it says so.
                Calls::Nothing => entry.vm_calls = 0,
                calls => entry.vm_calls |= calls.mask(),
            },
            Some("irq") => entry.irqs = irqs(tokens)?,
            Some("ipc") => entry.partners = partners(tokens)?,
            Some(
                "io" | "priority" | "quantum" | "scheduler" | "sigmgr" | "cpu" | "control" | "pci" | "class" | "type"
                | "domain" | "descr",
            ) => while tokens.value()?.is_some() {},
            Some(_) => return Err(tokens.error(Problem::Keyword)),
            None => return Err(tokens.error(Problem::Syntax)),
        }
    }
    Ok(entry)
}

/// What a list of calls says.
enum Calls {
    Nothing,
    Mask(u64),
}

impl Calls {
    fn mask(&self) -> u64 {
        match self {
            Calls::Nothing => 0,
            Calls::Mask(mask) => *mask,
        }
    }
}

fn calls(
    tokens: &mut Tokens<'_>,
    known: &[(&str, MessageType)],
    prefix: &str,
    bit: fn(MessageType) -> u64,
) -> Result<Calls, ConfigError> {
    let mut mask = 0;
    let mut nothing = false;
    while let Some(word) = tokens.value()? {
        match word {
            "ALL" => mask = u64::MAX,
            "NONE" => nothing = true,
            "BASIC" => {}
            name => {
                mask |= known
                    .iter()
                    .find(|(full, _)| full.strip_prefix(prefix) == Some(name))
                    .map(|(_, call)| bit(*call))
                    .ok_or(tokens.error(Problem::Value))?;
            }
        }
    }
    Ok(if nothing && mask == 0 {
        Calls::Nothing
    } else {
        Calls::Mask(mask)
    })
}

fn irqs(tokens: &mut Tokens<'_>) -> Result<Irqs, ConfigError> {
    let mut lines = Vec::new();
    let mut all = false;
    while let Some(word) = tokens.value()? {
        match word {
            "ALL" => all = true,
            "NONE" => {}
            number => {
                let line = number.parse().ok().filter(|line| (0..VECTORS).contains(line));
                let line = line.ok_or(tokens.error(Problem::Value))?;
                lines.push(line).map_err(|_| tokens.error(Problem::TooMany))?;
            }
        }
    }
    Ok(if all { Irqs::All } else { Irqs::List(lines) })
}

fn partners<'a>(tokens: &mut Tokens<'a>) -> Result<Option<Vec<&'a str, MAX_PARTNERS>>, ConfigError> {
    let mut names = Vec::new();
    let mut all = false;
    while let Some(word) = tokens.value()? {
        match word {
            "ALL" | "ALL_SYS" => all = true,
            name => names.push(name).map_err(|_| tokens.error(Problem::TooMany))?,
        }
    }
    Ok((!all).then_some(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
# The disk.
service virtio_blk_mmio
{
    uid 0;
    ipc
        SYSTEM pm rs    # all it talks to
        ds vm vfs mfs
        ;
    system UMAP VUMAP IRQCTL PRIVCTL; # 4
    vm BASIC;
    irq 1 2 3 4 5 6 7 8;
    io 10001000:8000;
    priority 3;
    quantum 500;
};
service shell { };
service odd { vm NONE; irq ALL; system NONE; ipc ALL_SYS; }
";

    fn of(name: &str) -> ServiceConfig<'static> {
        find(TEXT, name).unwrap().unwrap()
    }

    #[test]
    fn an_entry_lists_what_a_service_may_do() {
        let disk = of("virtio_blk_mmio");
        assert_eq!(disk.uid, Some("0"));
        for call in [
            MessageType::SYS_VUMAP,
            MessageType::SYS_PRIVCTL,
            MessageType::SYS_SAFECOPYTO,
        ] {
            assert!(disk.allows_kernel_call(call), "{call:?}");
        }
        assert!(!disk.allows_kernel_call(MessageType::SYS_VIRCOPY));
        assert!(!disk.allows_kernel_call(MessageType(0x63F)), "none of the kernel's");
        assert!(disk.allows_irq(8) && !disk.allows_irq(9) && !disk.allows_irq(0));
        assert!(disk.allows_vm_call(MessageType::VM_MMAP));
        assert!(!disk.allows_vm_call(MessageType::VM_GETPHYS));
        assert!(disk.names("mfs_disk", "mfs") && disk.names("vfs", ""));
        assert!(!disk.names("blocktest", "blocktest"));
    }

    #[test]
    fn an_empty_entry_has_the_basics() {
        let shell = of("shell");
        assert_eq!(shell, ServiceConfig::new("shell"));
        assert!(
            shell.allows_kernel_call(MessageType::SYS_SETGRANT) && !shell.allows_kernel_call(MessageType::SYS_UMAP)
        );
        assert!(!shell.allows_irq(1) && shell.names("anybody", ""));
    }

    #[test]
    fn words_for_everything_and_nothing() {
        let odd = of("odd");
        assert!(odd.allows_irq(127) && odd.names("x", "y"));
        assert!(!odd.allows_vm_call(MessageType::VM_MMAP));
        assert!(
            odd.allows_kernel_call(MessageType::SYS_EXIT),
            "basic calls cannot be taken away"
        );
        assert!(!odd.allows_kernel_call(MessageType::SYS_UMAP));
        let all = find("service a { system ALL; vm ALL; }", "a").unwrap().unwrap();
        assert!(all.allows_kernel_call(MessageType::SYS_VIRCOPY) && all.allows_vm_call(MessageType::VM_GETPHYS));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let wrong = |text: &'static str| find(text, "a").map(|_| ()).unwrap_err();
        let error = |line, problem| ConfigError { line, problem };
        assert_eq!(wrong("driver a { };"), error(1, Problem::Syntax));
        assert_eq!(wrong("service a\n{ irq 1"), error(2, Problem::Syntax));
        assert_eq!(wrong("service a {\n\n irq 128; }"), error(3, Problem::Value));
        assert_eq!(wrong("service a { system FLY; }"), error(1, Problem::Value));
        assert_eq!(wrong("service a { wings 2; }"), error(1, Problem::Keyword));
        assert_eq!(wrong("service { }"), error(1, Problem::Syntax));
        assert_eq!(
            wrong("service a { irq 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; }"),
            error(1, Problem::TooMany)
        );
    }
}
