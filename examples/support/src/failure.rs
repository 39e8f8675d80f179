//! Why an example failed.

use core::error::Error;
use core::fmt::{self, Write};

use heapless::String;

/// The reason of a failure as text. `?` makes it of any error.
pub struct Failure(String<112, u8>);

impl Failure {
    /// A failure for this reason. What does not fit is left out.
    pub fn new(reason: impl fmt::Display) -> Self {
        let mut text = String::new();
        let _ = write!(text, "{reason}");
        Self(text)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
