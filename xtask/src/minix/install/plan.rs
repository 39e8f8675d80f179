//! What an installation, and its undoing, has to do, decided before anything is touched.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::edit::{Edit, exchange};
use super::place::{Base, Content, Wanted};
use super::record::{Done, Make, Record, Recorded, Sum};
use super::step::{Like, Step, leftovers, old};

/// Rights of programs and of texts that were not there before.
const PROGRAM: u32 = 0o755;
const TEXT: u32 = 0o644;

/// What is said of a text of ours that is another one now.
const CHANGED_SINCE: &str = "kept, as it was changed by others after it was installed";

/// What is installed.
#[derive(Debug)]
pub(super) struct Payload {
    /// Name and content.
    pub(super) programs: Vec<(&'static str, Vec<u8>)>,
    /// The privileges of the service, as `system.conf` has them.
    pub(super) privileges: String,
}

/// Steps, in the order of the lists; and what they do, in one line for each file.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All that can fail for want of space or rights comes first: files are written, but not in their places.
    writes: Vec<Step>,
    copies: Vec<Step>,
    /// Before any file changes, the records say what it was and will be.
    records: Vec<Step>,
    directories: Vec<Step>,
    changes: Vec<Step>,
    cleaning: Vec<Step>,
    /// One line for each file.
    pub(super) lines: Vec<String>,
    /// Files of which something is left.
    pub(super) left: usize,
}

impl Plan {
    pub(super) fn steps(self) -> Vec<Step> {
        let lists = [
            self.writes,
            self.copies,
            self.records,
            self.directories,
            self.changes,
            self.cleaning,
        ];
        lists.into_iter().flatten().collect()
    }

    /// Adds what puts the payload into a directory.
    pub(super) fn install(&mut self, base: &Base, payload: &Payload) -> Result<()> {
        let last = Record::read(base)?;
        let mut record = Record::new();
        if let Some(last) = &last {
            record.directories.clone_from(&last.directories);
        }
        for wanted in &base.files {
            let place = base.directory.join(&wanted.path);
            let last = last.as_ref().and_then(|last| last.of(&wanted.path));
            let state = State::of(place, last)?;
            self.cleaning.extend(leftovers(&state.place));
            for directory in missing_directories(&base.directory, &wanted.path) {
                self.directories
                    .push(Step::MakeDirectory(base.directory.join(&directory)));
                if !record.directories.contains(&directory) {
                    record.directories.push(directory);
                }
            }
            let recorded = match wanted.content {
                Content::Program(name) => {
                    let program = payload.programs.iter().find(|(of, _)| *of == name);
                    let (_, program) = program.with_context(|| format!("{name} is not built"))?;
                    self.put(&state, wanted, program, PROGRAM)
                }
                Content::Privileges => self.put(&state, wanted, payload.privileges.as_bytes(), TEXT),
                Content::Entry => self.edit(&state, wanted, |text| Edit::entry(text, &payload.privileges))?,
                Content::Lines => self.edit(&state, wanted, Edit::lines)?,
            };
            record.files.push(recorded);
        }
        // What an earlier run has put elsewhere is undone by this record as well.
        if let Some(last) = last {
            let elsewhere = last.files.into_iter().filter(|file| record.of(&file.path).is_none());
            record.files.extend(elsewhere.collect::<Vec<_>>());
        }
        let place = base.directory.join(&base.record);
        self.cleaning.extend(leftovers(&place));
        if std::fs::read(&place).ok().as_deref() != Some(&record.text()?) {
            self.writes.push(Step::Write {
                place: place.clone(),
                bytes: record.text()?,
                like: Like::New(TEXT),
            });
            self.records.push(Step::Move(place));
        }
        Ok(())
    }

    /// A file that is ours as a whole.
    fn put(&mut self, state: &State<'_>, wanted: &Wanted, bytes: &[u8], mode: u32) -> Recorded {
        let is = Sum::of(bytes);
        if let (Some(last), Content::Privileges, Some(_)) = (state.last, wanted.content, &state.now)
            && !(state.is_ours() || state.is_old() || state.sum() == Some(is))
        {
            self.say(state, CHANGED_SINCE);
            return last.clone();
        }
        let was = match state.last {
            // The copy of what was there is kept, unless others have put something else there since.
            Some(last) if state.is_ours() || state.is_old() || state.now.is_none() => last.was,
            _ => {
                self.keep(state);
                state.sum()
            }
        };
        let unchanged = state.sum() == Some(is);
        if !unchanged {
            self.write(state, wanted, bytes.to_owned(), mode);
        }
        let size = bytes.len();
        let kept = match was {
            Some(_) => format!("; the old one is {}", name(&old(&state.place))),
            None => String::new(),
        };
        let what = match (unchanged, &state.now) {
            (true, _) => format!("unchanged, {size} bytes"),
            (false, None) => format!("new, {size} bytes{kept}"),
            (false, Some(_)) => format!("replaced, {size} bytes{kept}"),
        };
        self.say(state, &what);
        Recorded {
            path: wanted.path.clone(),
            was,
            done: Done::Put(is),
            make: wanted.make.clone(),
        }
    }

    /// A piece of a file.
    fn edit(
        &mut self,
        state: &State<'_>,
        wanted: &Wanted,
        edit: impl FnOnce(&str) -> Result<Edit>,
    ) -> Result<Recorded> {
        let where_it_is = || state.place.display().to_string();
        let Some(now) = &state.now else {
            bail!("{}: has gone", where_it_is());
        };
        let text = std::str::from_utf8(now).with_context(where_it_is)?;
        let recorded = |was: Option<Sum>, done| Recorded {
            path: wanted.path.clone(),
            was,
            done,
            make: wanted.make.clone(),
        };
        if let Some(last) = state.last
            && let Done::Edited { was, is } = &last.done
            && !state.is_old()
        {
            // The text without our piece, in which it is put anew: it may be another one now.
            let Some(before) = exchange(text, is, was) else {
                self.say(state, CHANGED_SINCE);
                return Ok(recorded(last.was, last.done.clone()));
            };
            let edit = edit(&before).with_context(where_it_is)?;
            let bytes = edit.apply(&before);
            match bytes == text {
                true => self.say(state, "unchanged"),
                false => {
                    self.write(state, wanted, bytes.into_bytes(), TEXT);
                    self.say(
                        state,
                        &format!("our lines replaced; the old file is {}", name(&old(&state.place))),
                    );
                }
            }
            let was = edit.was(&before).to_owned();
            return Ok(recorded(last.was, Done::Edited { was, is: edit.is }));
        }
        let edit = edit(text).with_context(where_it_is)?;
        let was = edit.was(text).to_owned();
        self.keep(state);
        self.write(state, wanted, edit.apply(text).into_bytes(), TEXT);
        let what = match (was.is_empty(), wanted.content) {
            (true, Content::Lines) => "line added",
            (true, _) => "entry added",
            (false, _) => "entry replaced",
        };
        self.say(state, &format!("{what}; the old file is {}", name(&old(&state.place))));
        Ok(recorded(state.sum(), Done::Edited { was, is: edit.is }))
    }

    /// A copy of what is there.
    fn keep(&mut self, state: &State<'_>) {
        if let Some(now) = &state.now {
            let place = old(&state.place);
            let like = Like::CopyOf(state.place.clone());
            self.writes.push(Step::Write {
                place: place.clone(),
                bytes: now.clone(),
                like,
            });
            self.copies.push(Step::Move(place));
        }
    }

    fn write(&mut self, state: &State<'_>, wanted: &Wanted, bytes: Vec<u8>, mode: u32) {
        let place = state.place.clone();
        let like = match state.now {
            Some(_) => Like::File(place.clone()),
            None => Like::New(mode),
        };
        let write = Step::Write {
            place: place.clone(),
            bytes,
            like,
        };
        // In a directory that is not there yet nothing can be written so early.
        let parent_is_there = wanted
            .path
            .parent()
            .is_none_or(|_| place.parent().is_some_and(Path::is_dir));
        if parent_is_there {
            &mut self.writes
        } else {
            &mut self.directories
        }
        .push(write);
        self.changes.push(Step::Move(place));
    }

    /// Adds what takes everything out of a directory again.
    pub(super) fn uninstall(&mut self, base: &Base) -> Result<()> {
        let Some(record) = Record::read(base)? else {
            return Ok(());
        };
        for file in &record.files {
            let state = State::of(base.directory.join(&file.path), Some(file))?;
            self.cleaning.extend(leftovers(&state.place));
            match &file.done {
                Done::Put(_) => self.take_back(&state, file),
                Done::Edited { was, is } => self.undo(&state, was, is, file),
            }
        }
        for directory in record.directories.iter().rev() {
            self.cleaning
                .push(Step::RemoveDirectory(base.directory.join(directory)));
        }
        let place = base.directory.join(&base.record);
        self.cleaning.extend(leftovers(&place));
        self.cleaning.push(Step::Remove(place));
        Ok(())
    }

    fn take_back(&mut self, state: &State<'_>, file: &Recorded) {
        if state.is_old() {
            self.is_as_before(state);
        } else if !(state.is_ours() || state.now.is_none()) {
            self.leave(state, "is not what was installed");
        } else if file.was.is_none() {
            self.changes.push(Step::Remove(state.place.clone()));
            self.say(state, "removed");
        } else if state.copy.as_deref().map(Sum::of) != file.was {
            self.leave(
                state,
                &format!("{} is not what was kept there", name(&old(&state.place))),
            );
        } else {
            self.restore(state, file);
        }
    }

    fn undo(&mut self, state: &State<'_>, was: &str, is: &str, file: &Recorded) {
        let text = state.now.as_deref().and_then(|now| std::str::from_utf8(now).ok());
        let undone = text.and_then(|text| exchange(text, is, was));
        if state.is_old() {
            self.is_as_before(state);
        } else if let Some(undone) = undone {
            if state.copy.as_deref() == Some(undone.as_bytes()) {
                return self.restore(state, file);
            }
            let place = state.place.clone();
            let like = Like::File(place.clone());
            self.writes.push(Step::Write {
                place: place.clone(),
                bytes: undone.into_bytes(),
                like,
            });
            self.changes.push(Step::Move(place));
            self.cleaning.push(Step::Remove(old(&state.place)));
            self.say(state, "our lines taken out; what others have changed since is kept");
        } else {
            self.leave(state, "was changed by others where our lines are");
        }
    }

    fn restore(&mut self, state: &State<'_>, file: &Recorded) {
        self.changes.push(Step::Restore {
            place: state.place.clone(),
            at: time_for_make(state, &file.make),
        });
        self.say(state, "as it was before");
    }

    fn is_as_before(&mut self, state: &State<'_>) {
        self.cleaning.push(Step::Remove(old(&state.place)));
        self.say(state, "was as before already");
    }

    fn leave(&mut self, state: &State<'_>, why: &str) {
        let kept = match state.copy {
            Some(_) => format!(", and {} as well", name(&old(&state.place))),
            None => String::new(),
        };
        self.left += 1;
        self.say(state, &format!("{why}: left as it is{kept}"));
    }

    fn say(&mut self, state: &State<'_>, what: &str) {
        self.lines.push(format!("{}: {what}", state.place.display()));
    }
}

/// One file as it is now.
#[derive(Debug)]
struct State<'a> {
    place: PathBuf,
    now: Option<Vec<u8>>,
    /// The copy of what was there before.
    copy: Option<Vec<u8>>,
    /// What the last installation has done to it.
    last: Option<&'a Recorded>,
}

impl<'a> State<'a> {
    fn of(place: PathBuf, last: Option<&'a Recorded>) -> Result<State<'a>> {
        let (now, copy) = (content(&place)?, content(&old(&place))?);
        if last.is_none() && copy.is_some() && copy != now {
            bail!(
                "{} is there, and no record says of which installation: move it away",
                old(&place).display()
            );
        }
        Ok(State { place, now, copy, last })
    }

    fn sum(&self) -> Option<Sum> {
        self.now.as_deref().map(Sum::of)
    }

    /// It is as the last installation has left it.
    fn is_ours(&self) -> bool {
        matches!(self.last, Some(Recorded { done: Done::Put(is), .. }) if self.sum() == Some(*is))
    }

    /// It is as before the installation.
    fn is_old(&self) -> bool {
        self.last.is_some_and(|last| last.was == self.sum())
    }
}

fn content(place: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(place) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| place.display().to_string()),
    }
}

fn name(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The directories of a path that are not there, outermost first.
fn missing_directories(base: &Path, path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    let mut missing: Vec<_> = above
        .filter(|above| !base.join(above).is_dir())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

/// The time of a file that is as before: now, so that `make` takes it instead of what it has made from ours. But a source that is
/// newer than the file stays newer, so that `make` makes the file again.
fn time_for_make(state: &State<'_>, make: &Make) -> Option<SystemTime> {
    let sources = match make {
        Make::Nothing => return None,
        Make::Uses => return Some(SystemTime::now()),
        Make::Makes(sources) => sources,
    };
    let own = std::fs::metadata(old(&state.place))
        .and_then(|copy| copy.modified())
        .ok()?;
    match newest_source(sources) {
        Some((_, newest)) if newest > own => None,
        _ => Some(SystemTime::now()),
    }
}

/// The C source in a directory that was changed last.
fn newest_source(sources: &Path) -> Option<(PathBuf, SystemTime)> {
    let files = std::fs::read_dir(sources).ok()?.flatten().map(|file| file.path());
    let files = files.filter(|file| file.extension().is_some_and(|end| end == "c" || end == "h"));
    let times = files.filter_map(|file| Some((file.clone(), std::fs::metadata(&file).ok()?.modified().ok()?)));
    times.max_by_key(|(_, time)| *time)
}

/// Why `make` in the directory of the driver would make the C driver again, over ours.
pub(super) fn made_again_because(base: &Base) -> Option<String> {
    let wanted = base.files.iter().find(|wanted| matches!(wanted.make, Make::Makes(_)))?;
    let Make::Makes(sources) = &wanted.make else {
        return None;
    };
    let (source, time) = newest_source(sources)?;
    if time > SystemTime::now() {
        return Some(format!("{} is newer", source.display()));
    }
    let object = base.directory.join(&wanted.path).with_extension("o");
    (!object.is_file()).then(|| format!("{} is not there", object.display()))
}
