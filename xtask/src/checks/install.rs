//! `cargo xtask minix install` as a user calls it, on trees that are made here: into a tree and a root, a second time, after changes
//! of others, and out again. All that it says is held against a text beside this file.

use std::os::unix::fs::symlink;

use super::check::{Check, Verdict};
use super::command_line::xtask;
use crate::minix::install::staged::{
    CONF, Content, DESTDIR, DRIVER, MAKEFILE, OLD_CONF, OLD_PROTO, PROTO, RAMDISK, Staged, differences, elf,
};

/// Written with what it says, for a person to compare.
const BLESS: &str = "INSTALL_BLESS";

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new("install/tree", |_| there_and_back(Staged::tree(), "--tree", "tree")),
        Check::new("install/root", |_| {
            there_and_back(Staged::root(OLD_CONF), "--root", "root")
        }),
        Check::new("install/changed", |_| changed()),
        Check::new("install/refused", |_| refused()),
    ]
}

fn said(name: &str) -> &'static str {
    match name {
        "tree" => include_str!("install/tree.txt"),
        "root" => include_str!("install/root.txt"),
        "changed" => include_str!("install/changed.txt"),
        _ => include_str!("install/refused.txt"),
    }
}

/// What was said so far.
#[derive(Default)]
struct Talk(String);

impl Talk {
    /// Calls the command in the staged directory. Its path and the sizes of our programs are left out.
    fn call(&mut self, staged: &Staged, arguments: &str) -> Result<(), String> {
        let output = xtask(staged.path(), &format!("minix install {arguments}"))?;
        let code = output.status.code();
        self.note(&format!("$ cargo xtask minix install {arguments}"));
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        // What cargo says of the build is no part of it.
        let errors = errors.lines().filter(|line| line.starts_with("error: "));
        let directory = staged.path().display().to_string();
        for line in text.lines().chain(errors) {
            self.note(
                &without_sizes(line)
                    .replace(&format!("{directory}/"), "")
                    .replace(&directory, "DIR"),
            );
        }
        match code {
            Some(0) => {}
            Some(code) => self.note(&format!("[{code}]")),
            None => return Err(format!("{}\n{}", output.status, self.0)),
        }
        Ok(())
    }

    fn note(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn compare(&self, name: &str) -> Verdict {
        if std::env::var_os(BLESS).is_some() {
            let place = format!("{}/src/checks/install/{name}.txt", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(place, &self.0).map_err(|error| error.to_string())?;
        }
        let wanted = said(name);
        let difference = wanted.lines().zip(self.0.lines()).find(|(wanted, said)| wanted != said);
        match (wanted == self.0, difference) {
            (true, _) => Ok(()),
            (false, Some((wanted, said))) => Err(format!("wanted: {wanted}\nsaid:   {said}\n\n{}", self.0)),
            (false, None) => Err(format!("more or less is said than in {name}.txt\n\n{}", self.0)),
        }
    }
}

/// The size of a program that is built differs from version to version.
fn without_sizes(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').collect();
    for place in 1..words.len() {
        if words[place].starts_with("bytes") && words[place - 1].parse::<u64>().is_ok() {
            words[place - 1] = "N";
        }
    }
    words.join(" ")
}

fn failed(error: std::io::Error) -> String {
    format!("cannot stage the case: {error}")
}

/// Whether two contents are the same.
fn same(staged: &Staged, before: &Content, when: &str) -> Verdict {
    let different = differences(&staged.content().map_err(failed)?, before);
    match &different[..] {
        [] => Ok(()),
        _ => Err(format!("{when}: {different:#?}")),
    }
}

fn there_and_back(staged: std::io::Result<Staged>, option: &str, name: &str) -> Verdict {
    let staged = staged.map_err(failed)?;
    let mut talk = Talk::default();
    let before = staged.content().map_err(failed)?;
    talk.call(&staged, &format!("{option} . --dry-run"))?;
    same(&staged, &before, "a dry run has changed files")?;
    talk.call(&staged, &format!("{option} ."))?;
    let once = staged.content().map_err(failed)?;
    if differences(&once, &before).is_empty() {
        return Err(format!("nothing is installed\n{}", talk.0));
    }
    talk.call(&staged, &format!("{option} ."))?;
    same(&staged, &once, "a second run has changed files")?;
    talk.call(&staged, &format!("{option} . --uninstall --dry-run"))?;
    same(&staged, &once, "a dry run has changed files")?;
    talk.call(&staged, &format!("{option} . --uninstall"))?;
    same(&staged, &before, "files are not as before")?;
    talk.call(&staged, &format!("{option} . --uninstall"))?;
    same(&staged, &before, "nothing was installed, and files have changed")?;
    talk.compare(name)
}

/// Others have changed some of the files since.
fn changed() -> Verdict {
    let staged = Staged::tree().map_err(failed)?;
    let mut talk = Talk::default();
    talk.call(&staged, "--tree .")?;
    let drop_in = format!("{DESTDIR}/etc/system.conf.d/virtio_blk_mmio");
    let kept = "minix/drivers/storage/ramdisk/proto.before-virtio-blk-mmio";
    let change = || {
        staged.replace(CONF, "priority 5;", "priority 8;")?;
        staged.replace(PROTO, "vblkctl ---755", "vblkctl ---555")?;
        staged.write(&drop_in, "# mine\n")?;
        staged.write(DRIVER, elf("the C driver, newer"))
    };
    change().map_err(failed)?;
    let files = [PROTO, kept, &drop_in, DRIVER];
    let read = || {
        let files = files.map(|file| std::fs::read(staged.at(file)));
        files.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)
    };
    let theirs = read()?;
    talk.call(&staged, "--tree . --uninstall --dry-run")?;
    talk.call(&staged, "--tree . --dry-run")?;
    talk.call(&staged, "--tree . --uninstall")?;
    if read()? != theirs {
        return Err(format!("changes of others are lost\n{}", talk.0));
    }
    let conf = std::fs::read_to_string(staged.at(CONF)).map_err(failed)?;
    if conf != OLD_CONF.replace("priority 5;", "priority 8;") {
        return Err(format!("changes of others are lost\n{conf}"));
    }
    // The copy that is left is not taken for that of a later installation.
    talk.call(&staged, "--tree .")?;
    talk.compare("changed")
}

/// Makes a staged directory one that is refused.
type Spoil = fn(&Staged) -> std::io::Result<()>;

/// What is wrong with a tree.
const TREES: &[(&str, Spoil)] = &[
    ("no Makefile of the driver", |staged| remove(staged, MAKEFILE)),
    ("no list of the ramdisk", |staged| remove(staged, PROTO)),
    ("no system.conf", |staged| remove(staged, CONF)),
    ("not built", |staged| remove(staged, DRIVER)),
    ("no ramdisk", |staged| std::fs::remove_dir_all(staged.at(RAMDISK))),
    ("built for another machine", |staged| {
        staged.write(DRIVER, "\x7fELF\x02 for another machine")
    }),
    ("built twice", |staged| {
        staged.write(&DRIVER.replace("gcc", "llvm"), elf("the C driver"))
    }),
    ("a ramdisk without the neighbour of our program", |staged| {
        staged.write(PROTO, OLD_PROTO.replace("minix-service", "other"))
    }),
    ("a system.conf that does not end", |staged| {
        staged.write(CONF, "service a {\n")
    }),
    ("a system.conf with too many ends", |staged| {
        staged.write(CONF, "service a { };\n};\n")
    }),
    ("a string without an end", |staged| {
        staged.write(CONF, "service a {\n\tipc \"a\n};\n")
    }),
    ("an entry without its semicolon", |staged| {
        staged.write(CONF, "service virtio_blk_mmio { }\nservice a { };\n")
    }),
    ("an entry that may be in another file", |staged| {
        staged.write(CONF, "include more;\nservice a { };\n")
    }),
    ("a system.conf that is no text", |staged| {
        staged.write(CONF, b"\xff\xfe")
    }),
    ("a copy of before that no record knows", |staged| {
        staged.write(&format!("{CONF}.before-virtio-blk-mmio"), "older")
    }),
    ("a record of another version", |staged| {
        staged.write(
            &format!("{DESTDIR}/etc/virtio-blk-mmio.installed"),
            r#"{"version":2,"directories":[],"files":[]}"#,
        )
    }),
    ("a record that leads out", |staged| {
        staged.write(
            &format!("{DESTDIR}/etc/virtio-blk-mmio.installed"),
            r#"{"version":1,"directories":["../other"],"files":[]}"#,
        )
    }),
    ("a record that is none", |staged| {
        staged.write(&format!("{DESTDIR}/etc/virtio-blk-mmio.installed"), "{}")
    }),
];

/// What is wrong with a root file system.
const ROOTS: &[(&str, Spoil)] = &[
    ("no services", |staged| std::fs::remove_dir_all(staged.at("service"))),
    ("no etc", |staged| std::fs::remove_dir_all(staged.at("etc"))),
    ("no place for programs", |staged| {
        std::fs::remove_dir_all(staged.at("usr"))
    }),
    ("a directory in the place of our program", |staged| {
        std::fs::create_dir(staged.at("usr/sbin/vblkctl"))
    }),
    ("a link that leads out", |staged| {
        remove(staged, "service/virtio_blk_mmio")?;
        symlink("/dev/null", staged.at("service/virtio_blk_mmio"))
    }),
    ("a link to nothing", |staged| {
        remove(staged, "etc/system.conf")?;
        symlink("nowhere", staged.at("etc/system.conf.d"))
    }),
];

fn remove(staged: &Staged, path: &str) -> std::io::Result<()> {
    std::fs::remove_file(staged.at(path))
}

/// Each is refused with one line, and no file has changed.
fn refused() -> Verdict {
    let mut talk = Talk::default();
    let trees = TREES.iter().map(|case| ("--tree .", case));
    let roots = ROOTS.iter().map(|case| ("--root .", case));
    for (arguments, (what, spoil)) in trees.chain(roots) {
        let staged = match arguments {
            "--tree ." => Staged::tree(),
            _ => Staged::root(OLD_CONF),
        };
        let staged = staged.map_err(failed)?;
        spoil(&staged).map_err(failed)?;
        let before = staged.content().map_err(failed)?;
        talk.note(&format!("# {what}"));
        talk.call(&staged, arguments)?;
        same(&staged, &before, what)?;
    }
    talk.compare("refused")
}
