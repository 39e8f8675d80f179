//! Installing into trees that are made here, and out of them: byte for byte, interrupted at every step, and beside the changes of
//! others.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::place;
use super::plan::{Payload, Plan, made_again_because};
use super::staged::{
    CONF, Content, DESTDIR, DRIVER, OBJECT, OLD_CONF, OLD_PROTO, PROTO, Staged, differences, elf, set_mode,
};
use super::step;
use crate::minix::shipped::SERVICE;

const ON_RAMDISK: &str = "obj.gcc/minix/drivers/storage/ramdisk/vblkctl";

fn payload(version: &str) -> Payload {
    Payload {
        programs: vec![
            (SERVICE, elf(&format!("ours {version}"))),
            ("vblkctl", elf(&format!("asks {version}"))),
        ],
        privileges: format!("# What it may do.\nservice virtio_blk_mmio\n{{\n\tuid\t0;\t# {version}\n}};\n"),
    }
}

impl Staged {
    fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.at(path)).unwrap()
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    fn plan(&self, payload: &Payload) -> anyhow::Result<Plan> {
        let mut plan = Plan::default();
        if self.at("minix").is_dir() {
            for base in &place::tree(self.path(), None)?.bases {
                plan.install(base, payload)?;
            }
        } else {
            plan.install(&place::root(self.path())?, payload)?;
        }
        Ok(plan)
    }

    fn plan_back(&self) -> anyhow::Result<Plan> {
        let mut plan = Plan::default();
        let bases = match self.at("minix").is_dir() {
            true => place::installed_in_tree(self.path(), None)?,
            false => place::installed_in_root(self.path())?,
        };
        for base in &bases {
            plan.uninstall(base)?;
        }
        Ok(plan)
    }

    /// Installs, and gives the line of each file.
    fn install(&self, version: &str) -> Vec<String> {
        done(self.plan(&payload(version)).unwrap()).0
    }

    /// Takes everything out, and gives the lines and the number of files that are left.
    fn uninstall(&self) -> (Vec<String>, usize) {
        done(self.plan_back().unwrap())
    }

    fn refusal(&self) -> String {
        format!("{:#}", self.plan(&payload("1")).map(|_| ()).unwrap_err())
    }
}

fn done(mut plan: Plan) -> (Vec<String>, usize) {
    let (lines, left) = (std::mem::take(&mut plan.lines), plan.left);
    step::perform(&plan.steps()).unwrap();
    (lines, left)
}

#[track_caller]
fn assert_same(now: &Content, then: &Content, what: &str) {
    let different = differences(now, then);
    assert!(different.is_empty(), "{what}: {different:#?}");
}

fn line_of<'a>(lines: &'a [String], path: &Path) -> &'a str {
    let start = format!("{}: ", path.display());
    lines.iter().find_map(|line| line.strip_prefix(&start)).unwrap()
}

#[test]
fn a_tree_gets_all_files_and_gives_back_what_was_there() {
    let staged = Staged::tree().unwrap();
    let before = staged.content().unwrap();
    let lines = staged.install("1");
    assert_eq!(staged.read(DRIVER), elf("ours 1"));
    assert_eq!(staged.at(DRIVER).metadata().unwrap().mode() & 0o777, 0o750);
    assert_eq!(staged.read(ON_RAMDISK), elf("asks 1"));
    assert!(
        staged
            .text(CONF)
            .contains("};\n\n# Disk\nservice virtio_blk_mmio\n{\n\tuid\t0;\t# 1\n};\n\nservice last")
    );
    assert!(
        staged
            .text(PROTO)
            .contains("minix-service\n\t\tvblkctl ---755 0 0 vblkctl\n\t$")
    );
    assert_eq!(staged.text(&format!("{CONF}.before-virtio-blk-mmio")), OLD_CONF);
    for path in [
        "service/virtio_blk_mmio",
        "usr/sbin/vblkctl",
        "etc/system.conf.d/virtio_blk_mmio",
    ] {
        assert!(staged.at(DESTDIR).join(path).is_file(), "{path}");
    }
    assert_eq!(lines.len(), 7);
    let (lines, left) = staged.uninstall();
    assert_eq!((lines.len(), left), (7, 0));
    assert_same(&staged.content().unwrap(), &before, "");
}

#[test]
fn a_second_run_changes_nothing() {
    for staged in [
        Staged::tree().unwrap(),
        Staged::root(OLD_CONF).unwrap(),
        Staged::root("").unwrap(),
    ] {
        let before = staged.content().unwrap();
        staged.install("1");
        let once = staged.content().unwrap();
        let lines = staged.install("1");
        assert!(lines.iter().all(|line| line.contains("unchanged")), "{lines:#?}");
        assert_same(&staged.content().unwrap(), &once, "");
        staged.uninstall();
        assert_same(&staged.content().unwrap(), &before, "");
    }
}

#[test]
fn a_newer_version_takes_the_place_of_the_older_one() {
    let staged = Staged::tree().unwrap();
    let before = staged.content().unwrap();
    staged.install("1");
    staged.install("2");
    assert_eq!(staged.read(DRIVER), elf("ours 2"));
    assert!(staged.text(CONF).contains("# 2") && !staged.text(CONF).contains("# 1"));
    staged.uninstall();
    assert_same(&staged.content().unwrap(), &before, "");
}

/// Wherever a run stops, a second one completes it, and undoing it gives back what was there.
#[test]
fn an_interrupted_run_is_completed_by_the_next() {
    for make in [
        || Staged::tree().unwrap(),
        || Staged::root(OLD_CONF).unwrap(),
        || Staged::root("service a { };").unwrap(),
    ] {
        let staged = make();
        let before = staged.content().unwrap();
        let steps = staged.plan(&payload("1")).unwrap().steps();
        staged.install("1");
        let after = staged.content().unwrap();
        let back = staged.plan_back().unwrap().steps();
        staged.uninstall();
        for stop in 0..=steps.len() {
            for then in ["install", "uninstall"] {
                let steps = staged.plan(&payload("1")).unwrap().steps();
                steps[..stop].iter().for_each(|step| step.perform().unwrap());
                let what = format!("stopped at {stop}, then {then}");
                if then == "install" {
                    staged.install("1");
                    assert_same(&staged.content().unwrap(), &after, &what);
                }
                staged.uninstall();
                // A run that stops before its record is there has changed no file.
                assert_same(&without_leftovers(staged.content().unwrap()), &before, &what);
                staged.install("1");
                staged.uninstall();
                assert_same(&staged.content().unwrap(), &before, &what);
            }
        }
        for stop in 0..=back.len() {
            staged.install("1");
            let back = staged.plan_back().unwrap().steps();
            back[..stop].iter().for_each(|step| step.perform().unwrap());
            staged.uninstall();
            assert_same(
                &staged.content().unwrap(),
                &before,
                &format!("undoing stopped at {stop}"),
            );
        }
    }
}

/// Without what a run has put beside the files.
fn without_leftovers(mut content: Content) -> Content {
    content.retain(|path, _| {
        let name = path.display().to_string();
        !name.ends_with(".new-virtio-blk-mmio") && !name.ends_with(".before-virtio-blk-mmio")
    });
    content
}

#[test]
fn a_step_that_fails_leaves_every_file_as_it_was() {
    let staged = Staged::tree().unwrap();
    let before = staged.content().unwrap();
    let mut steps = staged.plan(&payload("1")).unwrap().steps();
    // The last of the files that are written ahead cannot be: its directory has gone.
    let place = staged.at("gone/file");
    let like = step::Like::New(0o644);
    let ahead = steps
        .iter()
        .take_while(|step| matches!(step, step::Step::Write { .. }))
        .count();
    assert!(ahead > 5);
    steps.insert(
        ahead,
        step::Step::Write {
            place,
            bytes: Vec::new(),
            like,
        },
    );
    assert!(step::perform(&steps).is_err());
    assert_same(&staged.content().unwrap(), &before, "");
}

#[test]
fn changes_of_others_beside_ours_are_kept() {
    let staged = Staged::tree().unwrap();
    staged.install("1");
    staged.replace(CONF, "priority 5;", "priority 8;").unwrap();
    staged.replace(PROTO, "boot\n", "boot\n# mine\n").unwrap();
    let lines = staged.install("2");
    assert!(line_of(&lines, &staged.at(CONF)).contains("replaced"));
    assert!(staged.text(CONF).contains("priority 8;") && staged.text(CONF).contains("# 2"));
    let (lines, left) = staged.uninstall();
    assert_eq!(left, 0);
    assert!(line_of(&lines, &staged.at(CONF)).contains("kept"));
    assert_eq!(staged.text(CONF), OLD_CONF.replace("priority 5;", "priority 8;"));
    assert_eq!(staged.text(PROTO), OLD_PROTO.replace("boot\n", "boot\n# mine\n"));
}

#[test]
fn an_entry_that_others_changed_is_left_and_said() {
    let staged = Staged::tree().unwrap();
    staged.install("1");
    staged.replace(CONF, "uid\t0;", "uid\t7;").unwrap();
    let lines = staged.install("2");
    assert!(line_of(&lines, &staged.at(CONF)).contains("kept, as it was changed by others"));
    let changed = staged.text(CONF);
    let (lines, left) = staged.uninstall();
    assert_eq!(left, 1);
    assert!(
        line_of(&lines, &staged.at(CONF)).contains("left as it is, and system.conf.before-virtio-blk-mmio as well")
    );
    assert_eq!(staged.text(CONF), changed);
    assert_eq!(staged.text(&format!("{CONF}.before-virtio-blk-mmio")), OLD_CONF);
    // What is left is not taken for the work of a later run.
    assert!(staged.refusal().contains("move it away"), "{}", staged.refusal());
}

#[test]
fn an_entry_of_its_own_that_others_changed_is_left_and_said() {
    let file = "etc/system.conf.d/virtio_blk_mmio";
    let staged = Staged::root("").unwrap();
    staged.install("1");
    staged.write(file, "service virtio_blk_mmio { uid 7; };\n").unwrap();
    for version in ["1", "2"] {
        let lines = staged.install(version);
        assert!(line_of(&lines, &staged.at(file)).contains("kept, as it was changed by others"));
    }
    let (lines, left) = staged.uninstall();
    assert_eq!(left, 1);
    assert!(line_of(&lines, &staged.at(file)).contains("is not what was installed"));
    assert_eq!(staged.text(file), "service virtio_blk_mmio { uid 7; };\n");
}

#[test]
fn an_entry_that_a_package_brought_later_is_the_one_that_counts() {
    let (ours, package) = (
        "etc/system.conf.d/virtio_blk_mmio",
        "usr/pkg/etc/system.conf.d/virtio_blk_mmio",
    );
    let staged = Staged::root("").unwrap();
    let before = staged.content().unwrap();
    staged.install("1");
    staged.write(package, "service virtio_blk_mmio { };\n").unwrap();
    staged.install("1");
    assert!(staged.text(package).contains("uid\t0;") && staged.at(ours).is_file());
    assert_eq!(staged.uninstall().1, 0);
    assert_eq!(staged.text(package), "service virtio_blk_mmio { };\n");
    std::fs::remove_dir_all(staged.at("usr/pkg")).unwrap();
    assert_same(&staged.content().unwrap(), &before, "");
}

#[test]
fn a_driver_that_was_built_anew_is_kept_as_the_old_one() {
    let staged = Staged::tree().unwrap();
    staged.install("1");
    staged.write(DRIVER, elf("the C driver, newer")).unwrap();
    staged.install("1");
    assert_eq!(staged.read(DRIVER), elf("ours 1"));
    staged.uninstall();
    assert_eq!(staged.read(DRIVER), elf("the C driver, newer"));
}

#[test]
fn a_driver_that_was_built_anew_is_not_taken_back() {
    let staged = Staged::tree().unwrap();
    staged.install("1");
    staged.write(DRIVER, elf("the C driver, newer")).unwrap();
    let (lines, left) = staged.uninstall();
    assert_eq!(left, 1);
    assert!(line_of(&lines, &staged.at(DRIVER)).contains("not what was installed"));
    assert_eq!(staged.read(DRIVER), elf("the C driver, newer"));
}

/// `make` compares times: with ours in place nothing but the ramdisk is out of date, and without ours neither.
#[test]
fn times_are_such_that_make_takes_what_is_there() {
    let staged = Staged::tree().unwrap();
    let time = |path: &str| staged.at(path).metadata().unwrap().modified().unwrap();
    let set = |path: &str, time| {
        let file = std::fs::File::options().write(true).open(staged.at(path)).unwrap();
        file.set_modified(time).unwrap();
    };
    let source = "minix/drivers/storage/virtio_blk_mmio/virtio_blk_mmio.c";
    let start = SystemTime::now();
    let (past, between) = (start - Duration::from_secs(1000), start - Duration::from_secs(500));
    set(source, past);
    set(DRIVER, past);
    staged.install("1");
    assert!(time(DRIVER) >= start - Duration::from_secs(1) && time(CONF) >= start - Duration::from_secs(1));
    staged.uninstall();
    assert!(time(DRIVER) >= start - Duration::from_secs(1) && time(CONF) >= start - Duration::from_secs(1));
    // The C driver is out of date, and stays so.
    set(DRIVER, past);
    set(source, between);
    staged.install("1");
    assert!(time(DRIVER) > between);
    staged.uninstall();
    assert_eq!(time(DRIVER), past);
}

#[test]
fn a_build_that_would_put_the_c_driver_back_is_foretold() {
    let staged = Staged::tree().unwrap();
    let why = |staged: &Staged| {
        place::tree(staged.path(), None)
            .unwrap()
            .bases
            .iter()
            .find_map(made_again_because)
    };
    assert_eq!(why(&staged), None);
    std::fs::remove_file(staged.at(OBJECT)).unwrap();
    assert!(why(&staged).unwrap().contains("virtio_blk_mmio.o is not there"));
}

#[test]
fn a_root_gets_the_entry_where_minix_looks_first() {
    let entry = "service virtio_blk_mmio { };\n";
    for (file, conf) in [
        ("etc/system.conf", entry),
        ("etc/system.conf.d/virtio_blk_mmio", ""),
        ("usr/pkg/etc/system.conf.d/virtio_blk_mmio", entry),
    ] {
        let staged = Staged::root(conf).unwrap();
        if file.starts_with("usr") {
            staged.write(file, entry).unwrap();
        }
        let before = staged.content().unwrap();
        staged.install("1");
        assert!(staged.text(file).contains("uid\t0;"), "{file}");
        assert_eq!(
            staged.text("etc/system.conf").contains("uid\t0;"),
            file == "etc/system.conf"
        );
        staged.uninstall();
        assert_same(&staged.content().unwrap(), &before, "");
    }
}

#[test]
fn a_root_without_a_driver_gets_one_and_loses_it_again() {
    let staged = Staged::root("").unwrap();
    std::fs::remove_file(staged.at("service/virtio_blk_mmio")).unwrap();
    std::fs::remove_dir_all(staged.at("usr")).unwrap();
    staged.write("sbin/init", "").unwrap();
    let before = staged.content().unwrap();
    let lines = staged.install("1");
    assert!(line_of(&lines, &staged.at("service/virtio_blk_mmio")).contains("new"));
    assert_eq!(staged.read("sbin/vblkctl"), elf("asks 1"));
    assert_eq!(staged.at("sbin/vblkctl").metadata().unwrap().mode() & 0o777, 0o755);
    staged.uninstall();
    assert_same(&staged.content().unwrap(), &before, "");
}

#[test]
fn a_directory_with_files_of_others_stays() {
    let staged = Staged::root("").unwrap();
    staged.install("1");
    staged.write("etc/system.conf.d/other", "service other { };\n").unwrap();
    assert_eq!(staged.uninstall().1, 0);
    assert_eq!(staged.text("etc/system.conf.d/other"), "service other { };\n");
    assert!(!staged.at("etc/system.conf.d/virtio_blk_mmio").exists());
}

#[test]
fn links_inside_stay_and_their_targets_change() {
    let staged = Staged::root(OLD_CONF).unwrap();
    std::fs::rename(staged.at("etc/system.conf"), staged.at("etc/real.conf")).unwrap();
    symlink("real.conf", staged.at("etc/system.conf")).unwrap();
    let before = staged.content().unwrap();
    staged.install("1");
    assert!(staged.at("etc/system.conf").is_symlink());
    assert!(staged.text("etc/real.conf").contains("# 1"));
    assert_eq!(staged.text("etc/real.conf.before-virtio-blk-mmio"), OLD_CONF);
    staged.uninstall();
    assert_same(&staged.content().unwrap(), &before, "");
}

#[test]
fn links_that_lead_out_are_refused() {
    let (staged, other) = (Staged::root(OLD_CONF).unwrap(), Staged::root("").unwrap());
    std::fs::remove_dir_all(staged.at("usr/sbin")).unwrap();
    symlink(other.at("usr/sbin"), staged.at("usr/sbin")).unwrap();
    let before = other.content().unwrap();
    assert!(
        staged.refusal().contains("usr/sbin/vblkctl: leads out of"),
        "{}",
        staged.refusal()
    );
    assert_same(&other.content().unwrap(), &before, "");
}

/// The superuser could write nevertheless, so the thread gives its rights away.
#[test]
fn a_directory_without_the_right_to_write_leaves_all_files_as_they_were() {
    const NOBODY: u32 = 65534;
    let staged = Staged::tree().unwrap();
    let directory = staged.at(ON_RAMDISK).parent().unwrap().to_owned();
    set_mode(&directory, 0o555).unwrap();
    let before = staged.content().unwrap();
    let steps = staged.plan(&payload("1")).unwrap().steps();
    if rustix::process::geteuid().is_root() {
        let places = before.keys().cloned().chain([staged.path().to_owned()]);
        places.for_each(|place| std::os::unix::fs::chown(place, Some(NOBODY), Some(NOBODY)).unwrap());
    }
    let error = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let (user, group) = (
                    rustix::process::Uid::from_raw(NOBODY),
                    rustix::process::Gid::from_raw(NOBODY),
                );
                rustix::thread::set_thread_res_gid(group, group, group).unwrap();
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            }
            step::perform(&steps).unwrap_err()
        });
        format!("{:#}", thread.join().unwrap())
    });
    assert!(
        error.contains("vblkctl.new-virtio-blk-mmio: Permission denied"),
        "{error}"
    );
    assert_same(&staged.content().unwrap(), &before, "");
    set_mode(&directory, 0o755).unwrap();
}

#[test]
fn a_record_that_names_other_places_is_refused() {
    let staged = Staged::root("").unwrap();
    staged.install("1");
    let record = "etc/virtio-blk-mmio.installed";
    staged
        .replace(record, "\"service/virtio_blk_mmio\"", "\"../service/virtio_blk_mmio\"")
        .unwrap();
    let error = format!("{:#}", staged.plan_back().map(|_| ()).unwrap_err());
    assert!(error.contains("is no path in"), "{error}");
}
