//! Trees that look to an installation as those of MINIX do, for the tests.

use std::collections::BTreeMap;
use std::io::Result;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) const CONF: &str = "minix/releasetools/riscv64/system.conf";
pub(crate) const PROTO: &str = "minix/drivers/storage/ramdisk/proto";
pub(crate) const MAKEFILE: &str = "minix/drivers/storage/virtio_blk_mmio/Makefile";
pub(crate) const DRIVER: &str = "obj.gcc/minix/drivers/storage/virtio_blk_mmio/virtio_blk_mmio";
pub(crate) const OBJECT: &str = "obj.gcc/minix/drivers/storage/virtio_blk_mmio/virtio_blk_mmio.o";
pub(crate) const RAMDISK: &str = "obj.gcc/minix/drivers/storage/ramdisk";
pub(crate) const DESTDIR: &str = "obj.gcc/destdir.evbriscv64";

pub(crate) const OLD_CONF: &str = "# Services.\nservice mfs {\n    priority 5;\n};\n\n# Disk\nservice virtio_blk_mmio {\n    \
                                   uid 0;\n    io 0x10001000:0x10008000;       # } not here\n};\n\nservice last { };\n";
pub(crate) const OLD_PROTO: &str = "boot\n\tsbin d--755 0 0\n\t\tminix-service ---755 0 0 minix-service\n\t$\n";

/// The files of a directory with their rights, and the directories.
pub(crate) type Content = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

/// The start of an ELF file for riscv64.
pub(crate) fn elf(rest: &str) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0".to_vec();
    elf.extend(rest.as_bytes());
    elf
}

/// A staged tree. It goes when this value does.
#[derive(Debug)]
pub(crate) struct Staged(tempfile::TempDir);

impl Staged {
    /// A source tree, built.
    pub(crate) fn tree() -> Result<Staged> {
        let staged = Staged::empty()?;
        staged.write(MAKEFILE, "PROG= virtio_blk_mmio\n")?;
        staged.write("minix/drivers/storage/virtio_blk_mmio/virtio_blk_mmio.c", "int main;\n")?;
        staged.write(CONF, OLD_CONF)?;
        staged.write(PROTO, OLD_PROTO)?;
        staged.write(DRIVER, elf("the C driver"))?;
        staged.write(OBJECT, "")?;
        staged.write(&format!("{RAMDISK}/virtio_blk_mmio"), elf("stripped"))?;
        set_mode(&staged.at(DRIVER), 0o750)?;
        staged.fill_root(DESTDIR, "service memory { };\n")?;
        Ok(staged)
    }

    /// A root file system with this `system.conf`.
    pub(crate) fn root(conf: &str) -> Result<Staged> {
        let staged = Staged::empty()?;
        staged.fill_root("", conf)?;
        Ok(staged)
    }

    /// In memory where there is such a place, as every step of an installation waits for its disk.
    fn empty() -> Result<Staged> {
        let in_memory = Path::new("/dev/shm");
        match in_memory.is_dir() {
            true => tempfile::tempdir_in(in_memory),
            false => tempfile::tempdir(),
        }
        .map(Staged)
    }

    fn fill_root(&self, root: &str, conf: &str) -> Result<()> {
        let at = |path: &str| Path::new(root).join(path).display().to_string();
        self.write(&at("service/virtio_blk_mmio"), elf("the C driver"))?;
        self.write(&at("usr/sbin/diskctl"), "")?;
        self.write(&at("etc/system.conf"), conf)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file, and makes the directories that it needs.
    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let path = self.at(path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, bytes)
    }

    /// Replaces a part of a text.
    pub(crate) fn replace(&self, path: &str, was: &str, is: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.at(path))?;
        if !text.contains(was) {
            return Err(std::io::Error::other(format!("{path} has no `{was}`: {text}")));
        }
        self.write(path, text.replace(was, is))
    }

    pub(crate) fn content(&self) -> Result<Content> {
        let mut content = Content::new();
        let mut directories = vec![self.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                let metadata = std::fs::symlink_metadata(&path)?;
                let bytes = match (metadata.is_dir(), metadata.is_symlink()) {
                    (true, _) => None,
                    (_, true) => Some(std::fs::read_link(&path)?.into_os_string().into_encoded_bytes()),
                    _ => Some(std::fs::read(&path)?),
                };
                if metadata.is_dir() {
                    directories.push(path.clone());
                }
                content.insert(path, (metadata.mode(), bytes));
            }
        }
        Ok(content)
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
}

/// The paths of which one has what the other has not.
pub(crate) fn differences(one: &Content, other: &Content) -> Vec<PathBuf> {
    let paths = one.keys().chain(other.keys());
    let mut different: Vec<_> = paths
        .filter(|path| one.get(*path) != other.get(*path))
        .cloned()
        .collect();
    different.dedup();
    different
}
