//! Where the files belong: in a built source tree, and in the root file system of a MINIX.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::conf;
use super::record::{Make, Record};
use crate::minix::shipped::{SERVICE, SHIPPED};

/// What a record of an installation is called.
const RECORD: &str = "virtio-blk-mmio.installed";
/// The object directory of a service, and of the source it is made of.
const DRIVER: &str = "minix/drivers/storage/virtio_blk_mmio";
const RAMDISK: &str = "minix/drivers/storage/ramdisk";
/// The privileges of the services on the ramdisk.
const TREE_CONF: &str = "minix/releasetools/riscv64/system.conf";
/// What a build installs for this machine, in its object directory.
const DESTDIR: &str = "destdir.evbriscv64";
/// Where `minix-service` looks for an entry, first to last, after the packages' own.
const DROP_IN: &str = "etc/system.conf.d";
const CONF: &str = "etc/system.conf";
const PACKAGE_DROP_IN: &str = "usr/pkg/etc/system.conf.d";
/// `EM_RISCV`, at offset 18 of an ELF file.
const MACHINE: [u8; 2] = [243, 0];

/// A directory with what belongs into it. It has a record of its own, as it may be thrown away without the others.
#[derive(Debug)]
pub(super) struct Base {
    /// Without symbolic links.
    pub(super) directory: PathBuf,
    /// Path of the record in the directory.
    pub(super) record: PathBuf,
    pub(super) files: Vec<Wanted>,
}

/// A file that belongs there.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Path in the directory of the base, without symbolic links.
    pub(super) path: PathBuf,
    pub(super) content: Content,
    pub(super) make: Make,
}

/// What is in such a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// The program of this name.
    Program(&'static str),
    /// The privileges of the service, as a file of their own.
    Privileges,
    /// A text with the entry of the service among others.
    Entry,
    /// The list of what is on the ramdisk, with a line for each program that is no service.
    Lines,
}

/// A built tree: what the ramdisk is made of, and what the build has installed.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) source: PathBuf,
    pub(super) objects: PathBuf,
    pub(super) bases: Vec<Base>,
}

/// The programs that are no services.
pub(super) fn commands() -> impl Iterator<Item = &'static str> {
    SHIPPED
        .iter()
        .map(|program| program.name)
        .filter(|name| *name != SERVICE)
}

/// Looks at a source tree and the objects built from it.
pub(super) fn tree(directory: &Path, objects: Option<&Path>) -> Result<Tree> {
    let source = whole(directory)?;
    for path in [&format!("{DRIVER}/Makefile"), &format!("{RAMDISK}/proto"), TREE_CONF] {
        if !source.join(path).is_file() {
            bail!(
                "{}: is no source tree of MINIX for riscv64: {path} is missing",
                directory.display()
            );
        }
    }
    let objects = match objects {
        Some(objects) => whole(objects)?,
        None => find_objects(&source)?,
    };
    let driver = object(&objects, DRIVER).join(SERVICE);
    let Ok(elf) = std::fs::read(objects.join(&driver)) else {
        bail!("{}: is not built: {} is missing", objects.display(), driver.display());
    };
    if !elf.starts_with(b"\x7fELF\x02") || elf.get(18..20) != Some(&MACHINE) {
        bail!("{}: is no program for riscv64", objects.join(driver).display());
    }
    let ramdisk = object(&objects, RAMDISK);
    if !objects.join(&ramdisk).is_dir() {
        bail!("{}: is not built: {} is missing", objects.display(), ramdisk.display());
    }
    let mut of_source = Base::of_source(source.clone());
    of_source.want(TREE_CONF, Content::Entry, Make::Uses)?;
    of_source.want(format!("{RAMDISK}/proto"), Content::Lines, Make::Uses)?;
    let mut of_objects = Base::of_objects(objects.clone());
    of_objects.want(&driver, Content::Program(SERVICE), Make::Makes(source.join(DRIVER)))?;
    for name in commands() {
        of_objects.want(ramdisk.join(name), Content::Program(name), Make::Uses)?;
    }
    let mut bases = vec![of_source, of_objects];
    if objects.join(DESTDIR).is_dir() {
        bases.push(root(&objects.join(DESTDIR))?);
    }
    Ok(Tree { source, objects, bases })
}

/// The directories of a source tree that an installation has a record of.
pub(super) fn installed_in_tree(directory: &Path, objects: Option<&Path>) -> Result<Vec<Base>> {
    let source = whole(directory)?;
    let objects = match objects {
        Some(objects) => vec![whole(objects)?],
        None => candidates(&source)?,
    };
    let mut bases = vec![Base::of_source(source)];
    for objects in objects {
        bases.extend(objects.join(DESTDIR).canonicalize().ok().map(Base::of_root));
        bases.push(Base::of_objects(objects));
    }
    bases.retain(Base::has_record);
    Ok(bases)
}

/// A root file system, if an installation has a record of it.
pub(super) fn installed_in_root(directory: &Path) -> Result<Vec<Base>> {
    let mut bases = vec![Base::of_root(whole(directory)?)];
    bases.retain(Base::has_record);
    Ok(bases)
}

/// Looks at a root file system, mounted or staged.
pub(super) fn root(directory: &Path) -> Result<Base> {
    let root = whole(directory)?;
    for path in ["service", "etc"] {
        if !root.join(path).is_dir() {
            bail!(
                "{}: is no root file system of MINIX: {path} is missing",
                directory.display()
            );
        }
    }
    let Some(programs) = ["usr/sbin", "sbin"].into_iter().find(|path| root.join(path).is_dir()) else {
        bail!(
            "{}: is no root file system of MINIX: usr/sbin and sbin are missing",
            directory.display()
        );
    };
    let mut base = Base::of_root(root.clone());
    base.want(
        Path::new("service").join(SERVICE),
        Content::Program(SERVICE),
        Make::Nothing,
    )?;
    for name in commands() {
        base.want(Path::new(programs).join(name), Content::Program(name), Make::Nothing)?;
    }
    let [in_packages, in_etc] = [PACKAGE_DROP_IN, DROP_IN].map(|directory| Path::new(directory).join(SERVICE));
    // A file of its own that an earlier run has made is no text to be edited.
    let made_by_us = Record::read(&base)?.is_some_and(|record| record.has_made(&in_etc));
    if root.join(&in_packages).is_file() {
        base.want(in_packages, Content::Entry, Make::Nothing)?;
    } else if root.join(&in_etc).is_file() && !made_by_us {
        base.want(in_etc, Content::Entry, Make::Nothing)?;
    } else if !made_by_us && has_entry(&root.join(CONF))? {
        base.want(CONF, Content::Entry, Make::Nothing)?;
    } else {
        base.want(in_etc, Content::Privileges, Make::Nothing)?;
    }
    Ok(base)
}

fn has_entry(path: &Path) -> Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let entry = conf::entry(&text, SERVICE).with_context(|| path.display().to_string())?;
    Ok(entry.is_some())
}

/// A directory, without symbolic links.
pub(super) fn whole(directory: &Path) -> Result<PathBuf> {
    let name = || directory.display().to_string();
    let whole = directory.canonicalize().with_context(name)?;
    if !whole.is_dir() {
        bail!("{}: is no directory", name());
    }
    Ok(whole)
}

/// The object directory of a part of the tree: its own, or the directory `obj` in it.
fn object(objects: &Path, part: &str) -> PathBuf {
    let inner = Path::new(part).join("obj");
    if objects.join(&inner).is_dir() {
        inner
    } else {
        part.into()
    }
}

/// What may be object directories of a source tree: those in it, and the tree itself, as `make` can be told to build beside the
/// sources.
fn candidates(source: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![source.to_owned()];
    for entry in std::fs::read_dir(source).with_context(|| source.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if (name == "obj" || name.to_string_lossy().starts_with("obj.")) && entry.path().is_dir() {
            found.push(whole(&entry.path())?);
        }
    }
    Ok(found)
}

/// The one object directory in a source tree.
fn find_objects(source: &Path) -> Result<PathBuf> {
    let mut found = candidates(source)?;
    found.retain(|objects| objects.join(object(objects, DRIVER)).join(SERVICE).is_file());
    found.sort();
    match &found[..] {
        [] => bail!(
            "{}: is not built: no obj.* in it has {DRIVER}/{SERVICE}; build the tree, or name its object directory with --obj",
            source.display()
        ),
        [objects] => Ok(objects.clone()),
        [first, second, ..] => bail!(
            "{} and {} are both built: name one with --obj",
            first.display(),
            second.display()
        ),
    }
}

impl Base {
    fn new(directory: PathBuf, record: String) -> Base {
        Base {
            directory,
            record: record.into(),
            files: Vec::new(),
        }
    }

    fn of_source(directory: PathBuf) -> Base {
        Base::new(directory, format!("minix/releasetools/riscv64/{RECORD}"))
    }

    fn of_objects(directory: PathBuf) -> Base {
        Base::new(directory, RECORD.to_owned())
    }

    fn of_root(directory: PathBuf) -> Base {
        Base::new(directory, format!("etc/{RECORD}"))
    }

    /// Whether it is an object directory: there the record has no directory above it.
    pub(super) fn is_of_objects(&self) -> bool {
        self.record == Path::new(RECORD)
    }

    fn has_record(&self) -> bool {
        self.directory.join(&self.record).is_file()
    }

    /// A symbolic link is followed, so that the link stays and its target is replaced.
    fn want(&mut self, path: impl AsRef<Path>, content: Content, make: Make) -> Result<()> {
        let path = path.as_ref();
        let place = self.directory.join(path);
        let mut real = place.clone();
        // What is not there yet is made in the directory that is.
        let mut missing = Vec::new();
        while std::fs::symlink_metadata(&real).is_err() {
            missing.extend(real.file_name().map(ToOwned::to_owned));
            real.pop();
        }
        let mut real = real.canonicalize().with_context(|| place.display().to_string())?;
        real.extend(missing.iter().rev());
        let Ok(path) = real.strip_prefix(&self.directory) else {
            bail!(
                "{}: leads out of {}, to {}",
                place.display(),
                self.directory.display(),
                real.display()
            );
        };
        if real.exists() && !real.is_file() {
            bail!("{}: is no regular file", place.display());
        }
        self.files.push(Wanted {
            path: path.to_owned(),
            content,
            make,
        });
        Ok(())
    }
}
