//! QEMU's storage daemon as a back-end.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program. It is in the package qemu-utils of Debian and Ubuntu.
const PROGRAM: &str = "qemu-storage-daemon";

/// How long the daemon may take until it accepts connections.
const START: Duration = Duration::from_secs(20);

/// A daemon that serves a block device, with a directory for its socket and an image. It ends when the value goes.
#[derive(Debug)]
pub struct StorageDaemon {
    directory: TempDir,
    process: Option<Child>,
    blockdev: String,
}

impl StorageDaemon {
    /// Whether the program is installed.
    pub fn is_installed() -> bool {
        Command::new(PROGRAM).arg("--version").output().is_ok()
    }

    /// Starts a daemon that serves `blockdev`, in the words of its command line; `IMAGE` in it stands for the path of an image of
    /// `bytes`, which is made.
    ///
    /// # Errors
    ///
    /// That of the system, or of a program that takes no connections.
    pub fn start(blockdev: &str, bytes: u64) -> io::Result<Self> {
        let directory = TempDir::new()?;
        let image = directory.path().join("disk.raw");
        File::create(&image)?.set_len(bytes)?;
        let mut daemon = Self {
            blockdev: blockdev.replace("IMAGE", &image.display().to_string()),
            directory,
            process: None,
        };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// The image that it serves, if it was told to.
    pub fn image(&self) -> PathBuf {
        self.directory.path().join("disk.raw")
    }

    /// Where it takes connections.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("disk.sock")
    }

    /// Kills the daemon without a warning.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the daemon in the place of one that was killed.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_again(&mut self) -> io::Result<()> {
        self.kill();
        // A daemon that was killed leaves its socket, and nothing would tell that from the new one.
        let _ = std::fs::remove_file(self.socket());
        let export = format!(
            "type=vhost-user-blk,id=e0,addr.type=unix,addr.path={},node-name=n0,writable=on,num-queues=1",
            self.socket().display()
        );
        let mut command = Command::new(PROGRAM);
        command.args(["--blockdev", &format!("{},node-name=n0", self.blockdev)]);
        command.args(["--export", &export]).stdin(Stdio::null());
        let process = self.process.insert(command.spawn()?);
        wait_for(&self.directory.path().join("disk.sock"), process)
    }
}

fn wait_for(socket: &Path, process: &mut Child) -> io::Result<()> {
    let started = Instant::now();
    // The socket is there for a moment before it takes connections.
    while let Err(error) = UnixStream::connect(socket) {
        if started.elapsed() > START || process.try_wait()?.is_some() {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

impl Drop for StorageDaemon {
    fn drop(&mut self) {
        self.kill();
    }
}
