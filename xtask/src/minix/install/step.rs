//! The steps of an installation. Files are written beside their place and moved over it, so that at any moment each file is the old
//! or the new one.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

/// The end of the name under which a file is written before it is moved to its place.
const NEW: &str = ".new-virtio-blk-mmio";
/// The end of the name of the copy of what was there before.
const OLD: &str = ".before-virtio-blk-mmio";

/// One step. A step that was done already can be done again.
#[derive(Debug)]
pub(super) enum Step {
    MakeDirectory(PathBuf),
    /// Writes a file, under its name for new files.
    Write {
        place: PathBuf,
        bytes: Vec<u8>,
        like: Like,
    },
    /// Moves what was written to its place.
    Move(PathBuf),
    /// Moves the copy of what was there back to its place, with a time if `make` must see it as new.
    Restore {
        place: PathBuf,
        at: Option<SystemTime>,
    },
    Remove(PathBuf),
    /// Only if nothing else has come into it.
    RemoveDirectory(PathBuf),
}

/// Owner, rights and time of a file that is written.
#[derive(Debug)]
pub(super) enum Like {
    /// The owner of the directory, these rights, and the time of now.
    New(u32),
    /// The owner and the rights of this file, and the time of now.
    File(PathBuf),
    /// All of this file's.
    CopyOf(PathBuf),
}

fn with_end(place: &Path, end: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Where the copy of what was there before is.
pub(super) fn old(place: &Path) -> PathBuf {
    with_end(place, OLD)
}

fn new(place: &Path) -> PathBuf {
    with_end(place, NEW)
}

/// Steps that take away what an interrupted run has left beside a file.
pub(super) fn leftovers(place: &Path) -> impl Iterator<Item = Step> {
    let left = [new(place), new(&old(place))];
    left.into_iter().filter(|left| left.exists()).map(Step::Remove)
}

fn parent(place: &Path) -> &Path {
    place.parent().unwrap_or(place)
}

impl Step {
    pub(super) fn perform(&self) -> Result<()> {
        match self {
            Step::MakeDirectory(place) => {
                std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))
            }
            Step::Write { place, bytes, like } => {
                write(&new(place), bytes, like).with_context(|| format!("cannot write {}", new(place).display()))
            }
            Step::Move(place) => rename(&new(place), place),
            // The copy is gone if this was done before.
            Step::Restore { place, .. } if !old(place).exists() && place.exists() => Ok(()),
            Step::Restore { place, at } => {
                if let Some(at) = at {
                    let file = File::options().write(true).open(old(place));
                    file.and_then(|file| file.set_modified(*at))
                        .with_context(|| format!("cannot set the time of {}", old(place).display()))?;
                }
                rename(&old(place), place)
            }
            Step::Remove(place) => match std::fs::remove_file(place) {
                Ok(()) => sync(parent(place)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error).with_context(|| format!("cannot remove {}", place.display())),
            },
            Step::RemoveDirectory(place) => {
                // It stays if others have put something there.
                let _ = std::fs::remove_dir(place);
                Ok(())
            }
        }
    }

    /// Takes away what a step has written and no other has moved.
    fn clean(&self) {
        if let Step::Write { place, .. } = self {
            let _ = std::fs::remove_file(new(place));
        }
    }
}

/// Performs all of them, or stops at the first that fails.
pub(super) fn perform(steps: &[Step]) -> Result<()> {
    let result = steps.iter().try_for_each(Step::perform);
    steps.iter().for_each(Step::clean);
    result
}

fn write(place: &Path, bytes: &[u8], like: &Like) -> Result<()> {
    // One that an interrupted run has left may be read-only, or a link.
    let _ = std::fs::remove_file(place);
    let mut file = File::create_new(place)?;
    file.write_all(bytes)?;
    let metadata = |file: &Path| std::fs::metadata(file);
    match like {
        Like::New(mode) => {
            own(place, &file, &metadata(parent(place))?)?;
            file.set_permissions(PermissionsExt::from_mode(*mode))?;
        }
        Like::File(other) | Like::CopyOf(other) => {
            let other = metadata(other)?;
            own(place, &file, &other)?;
            file.set_permissions(other.permissions())?;
            if matches!(like, Like::CopyOf(_)) {
                file.set_modified(other.modified()?)?;
            }
        }
    }
    Ok(file.sync_all()?)
}

fn own(place: &Path, file: &File, like: &Metadata) -> Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::chown(place, Some(like.uid()), Some(like.gid()))?;
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    sync(parent(to))
}

/// The names in a directory are on the disk.
fn sync(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("cannot sync {}", directory.display()))
}
