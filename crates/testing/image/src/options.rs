//! The words of the boot command line, by which the host controls the image.
//!
//! The host formats a [`BootOptions`] with `Display` and passes it to QEMU's `-append`; the image finds the text in the
//! device tree (`/chosen/bootargs`) and reads it back with [`BootOptions::parse`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU16;

pub use guest_protocol::SectorRange;

/// The command line. `Default` is an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootOptions {
    /// `shell`: commands from the console instead of the self-test.
    pub shell: bool,
    /// `poll`: completions are seen by looking at the used ring, not by interrupts.
    pub poll: bool,
    /// `defmt`: defmt frames leave by semihosting. Given only if QEMU has semihosting on, since the semihosting call is an
    /// `ebreak` that traps otherwise.
    pub defmt: bool,
    /// `queue=N`: upper bound of the queue size, in descriptors. None: the size that the device offers.
    pub queue: Option<u16>,
    /// `queues=N`: queues of each disk in the load on all harts, at least one.
    pub queues: Option<NonZeroU16>,
    /// `load=SECONDS`: how long that load goes on. None: each hart writes its part once.
    pub load: Option<u32>,
    /// `count`: in the place of self-test and load, the instructions of requests on each queue are counted.
    pub count: bool,
    /// `remove=KIND`: the disk is taken away in the middle of that load.
    pub remove: Option<Removal>,
    /// `scratch=FIRST:COUNT`: the sectors the image may overwrite. None: the image writes nothing.
    pub scratch: Option<SectorRange>,
    /// `digest=FIRST:COUNT`, repeatable: ranges to read, before anything is written, and report the digest of.
    pub digests: Vec<SectorRange>,
}

/// How the disk goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The machine asks for it, and gives it back.
    Hot,
    /// It is gone at once.
    Surprise,
    /// It is there, and nothing serves its requests any more.
    Killed,
}

impl Removal {
    const ALL: [Self; 3] = [Self::Hot, Self::Surprise, Self::Killed];

    const fn word(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Surprise => "surprise",
            Self::Killed => "killed",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl BootOptions {
    /// Reads a command line. Words are separated by white space; of a repeated word the last one counts.
    ///
    /// # Errors
    ///
    /// The first word that is not understood. None is ignored, so that a typing mistake cannot turn a test off unseen.
    pub fn parse(text: &str) -> Result<BootOptions, &str> {
        let mut options = BootOptions::default();
        for word in text.split_ascii_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("shell", "") => options.shell = true,
                ("poll", "") => options.poll = true,
                ("defmt", "") => options.defmt = true,
                ("queue", size) => options.queue = Some(size.parse().map_err(|_| word)?),
                ("queues", number) => options.queues = Some(number.parse().map_err(|_| word)?),
                ("load", seconds) => options.load = Some(seconds.parse().map_err(|_| word)?),
                ("count", "") => options.count = true,
                ("remove", kind) => options.remove = Some(Removal::of(kind).ok_or(word)?),
                ("scratch", range) => options.scratch = Some(range.parse().map_err(|_| word)?),
                ("digest", range) => options.digests.push(range.parse().map_err(|_| word)?),
                _ => return Err(word),
            }
        }
        Ok(options)
    }
}

impl fmt::Display for BootOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        for (word, is_on) in [
            ("shell", self.shell),
            ("poll", self.poll),
            ("defmt", self.defmt),
            ("count", self.count),
        ] {
            words.extend(is_on.then(|| word.into()));
        }
        words.extend(self.queue.map(|size| alloc::format!("queue={size}")));
        words.extend(self.queues.map(|number| alloc::format!("queues={number}")));
        words.extend(self.load.map(|seconds| alloc::format!("load={seconds}")));
        words.extend(self.remove.map(|kind| alloc::format!("remove={}", kind.word())));
        words.extend(self.scratch.map(|range| alloc::format!("scratch={range}")));
        words.extend(self.digests.iter().map(|range| alloc::format!("digest={range}")));
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn formatted_options_parse_back() {
        let options = BootOptions {
            shell: true,
            poll: true,
            defmt: true,
            queue: Some(8),
            queues: NonZeroU16::new(4),
            load: Some(60),
            count: true,
            remove: Some(Removal::Surprise),
            scratch: Some(SectorRange {
                first: 65536,
                count: 8192,
            }),
            digests: vec![SectorRange { first: 0, count: 3 }, SectorRange { first: 9, count: 0 }],
        };
        let text = options.to_string();
        assert_eq!(
            text,
            "shell poll defmt count queue=8 queues=4 load=60 remove=surprise scratch=65536:8192 digest=0:3 digest=9:0"
        );
        assert_eq!(BootOptions::parse(&text), Ok(options));
        assert_eq!(BootOptions::parse(" "), Ok(BootOptions::default()));
        assert_eq!(BootOptions::default().to_string(), "");
    }

    #[test]
    fn unknown_words_and_bad_values_are_errors() {
        for word in [
            "turbo",
            "shell=on",
            "queue=65536",
            "queue",
            "queues=0",
            "load=-1",
            "remove=cold",
            "scratch=5",
            "digest=18446744073709551615:2",
        ] {
            assert_eq!(BootOptions::parse(&alloc::format!("poll {word} defmt")), Err(word));
        }
    }
}
