//! The two errors that hold a request: texts and conversions. They are errors whatever the types of buffer and token are, so neither
//! is shown.

use core::fmt;

use crate::{BatchStopped, Rejected, SubmitError};

impl<B, K> fmt::Debug for Rejected<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("error", &self.error)
            .field("operation", &self.request.operation)
            .finish_non_exhaustive()
    }
}

impl<B, K> fmt::Display for Rejected<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B, K> core::error::Error for Rejected<B, K> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        core::error::Error::source(&self.error)
    }
}

impl<B, K> From<Rejected<B, K>> for SubmitError {
    fn from(rejected: Rejected<B, K>) -> Self {
        rejected.error
    }
}

impl<B, K> fmt::Debug for BatchStopped<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStopped")
            .field("taken", &self.taken)
            .field("rejected", &self.rejected)
            .finish()
    }
}

impl<B, K> fmt::Display for BatchStopped<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} requests: {}", self.taken, self.rejected)
    }
}

impl<B, K> core::error::Error for BatchStopped<B, K> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.rejected.error)
    }
}

impl<B, K> From<BatchStopped<B, K>> for SubmitError {
    fn from(stopped: BatchStopped<B, K>) -> Self {
        stopped.rejected.error
    }
}
