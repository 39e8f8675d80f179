//! QEMU's storage daemon as a back-end.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAM: &str = "qemu-storage-daemon";

/// How long the daemon may take until it accepts connections.
const START: Duration = Duration::from_secs(20);

/// A directory for a socket and an image, and the daemon that serves them.
pub(crate) struct Daemon {
    directory: TempDir,
    process: Option<Child>,
    blockdev: String,
}

impl Daemon {
    /// Starts a daemon that serves `blockdev`, in the words of its command line; `IMAGE` in it stands for the path of the image.
    /// `None`, with a line that says so, where the program is missing.
    pub(crate) fn start(blockdev: &str) -> Option<Self> {
        if Command::new(PROGRAM).arg("--version").output().is_err() {
            eprintln!("skipped: {PROGRAM} is missing; it is in the package qemu-utils of Debian and Ubuntu");
            return None;
        }
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("disk.raw");
        let blockdev = blockdev.replace("IMAGE", image.to_str().unwrap());
        let mut daemon = Self {
            directory,
            process: None,
            blockdev,
        };
        let file = std::fs::File::create(daemon.image()).unwrap();
        file.set_len(4 << 20).unwrap();
        daemon.start_again();
        Some(daemon)
    }

    /// A daemon on a file.
    pub(crate) fn on_file() -> Option<Self> {
        Self::start("driver=file,filename=IMAGE")
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.path().join("disk.raw")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("disk.sock")
    }

    /// Kills the daemon without a warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts the daemon in the place of one that was killed.
    pub(crate) fn start_again(&mut self) {
        // A daemon that was killed leaves its socket, and nothing would tell that from the new one.
        let _ = std::fs::remove_file(self.socket());
        let export = format!(
            "type=vhost-user-blk,id=e0,addr.type=unix,addr.path={},node-name=n0,writable=on,num-queues=1",
            self.socket().display()
        );
        let mut command = Command::new(PROGRAM);
        command.args(["--blockdev", &format!("{},node-name=n0", self.blockdev)]);
        command.args(["--export", &export]).stdin(Stdio::null());
        let mut process = command.spawn().unwrap();
        wait_for(&self.socket(), &mut process);
        self.process = Some(process);
    }
}

fn wait_for(socket: &Path, process: &mut Child) {
    let started = Instant::now();
    // The socket is there for a moment before it takes connections.
    while UnixStream::connect(socket).is_err() {
        assert!(started.elapsed() < START, "{PROGRAM} takes no connections");
        assert!(process.try_wait().unwrap().is_none(), "{PROGRAM} does not start");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
