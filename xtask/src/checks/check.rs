//! One check, and its context.

use crate::session::Setup;
use crate::workspace::Workspace;

/// The workspace and the programs that checks use.
pub(super) struct Context {
    pub(super) workspace: Workspace,
    /// QEMU and what boots on it; None if no selected check boots.
    pub(super) setup: Option<Setup>,
    /// Whether a check may install what it needs.
    pub(super) may_install: bool,
}

impl Context {
    pub(super) fn setup(&self) -> Result<&Setup, String> {
        self.setup.as_ref().ok_or_else(|| "QEMU was not set up".to_owned())
    }
}

/// The result of a check: nothing, or what is wrong.
pub(super) type Verdict = Result<(), String>;

type Work = Box<dyn Fn(&Context) -> Verdict + Send + Sync>;

/// What a check boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// The bare image.
    Bare,
    /// The test kernel with the service.
    Minix,
    /// The benchmark image.
    Bench,
    /// A program of `examples/`, which the check builds.
    Example,
    /// None: the check uses QEMU's devices from the host.
    Host,
}

/// One named check.
pub(super) struct Check {
    pub(super) name: String,
    /// The guest it boots, if any. Then it can run beside others, and `--quick` leaves it out.
    pub(super) boots: Option<Guest>,
    /// Whether a back-end of its own serves the disk.
    pub(super) foreign: bool,
    /// Whether it makes faults of QEMU's.
    pub(super) faults: bool,
    pub(super) work: Work,
}

impl Check {
    pub(super) fn new(name: impl Into<String>, work: impl Fn(&Context) -> Verdict + Send + Sync + 'static) -> Check {
        Check {
            name: name.into(),
            boots: None,
            foreign: false,
            faults: false,
            work: Box::new(work),
        }
    }
}
