//! Lines for the console, by importance.

use core::fmt;

/// What is printed: this and what is more important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What the service is and how it ends.
    Info,
    /// What happens now and then, for whoever looks for something.
    Debug,
}

impl Level {
    /// The level with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "error" => Self::Error,
            "info" => Self::Info,
            "debug" => Self::Debug,
            _ => return None,
        })
    }
}

/// Where lines go.
#[derive(Clone, Copy)]
pub struct Log {
    level: Level,
    print: fn(fmt::Arguments<'_>),
}

impl Log {
    /// Lines of every level go to `print`.
    pub const fn new(print: fn(fmt::Arguments<'_>)) -> Self {
        Self {
            level: Level::Debug,
            print,
        }
    }

    /// The same, with less or more of it.
    #[must_use]
    pub const fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Something went wrong.
    pub fn error(&self, text: fmt::Arguments<'_>) {
        self.at(Level::Error, text);
    }

    /// Worth a line in any run.
    pub fn info(&self, text: fmt::Arguments<'_>) {
        self.at(Level::Info, text);
    }

    /// Worth a line for whoever looks for something.
    pub fn debug(&self, text: fmt::Arguments<'_>) {
        self.at(Level::Debug, text);
    }

    fn at(&self, level: Level, text: fmt::Arguments<'_>) {
        if level <= self.level {
            (self.print)(text);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}
