//! `cargo xtask minix install`: the programs and the privileges of the service into a built source tree of MINIX, or into a root
//! file system, and out of it again.
//!
//! [`place`] finds where the files belong, [`plan`] decides what is to be done to each, [`mod@step`] does it. [`edit`] changes a piece of
//! a text, for which [`conf`] reads `system.conf` as MINIX does. A [`record`] tells our files from those of others.
//! [`staged`] makes trees for the tests.

mod conf;
mod edit;
mod place;
mod plan;
mod record;
pub(crate) mod staged;
mod step;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::programs;
use super::programs::Published;
use crate::cli::InstallArgs;
use crate::console::say;
use crate::progress::Progress;
use crate::tools;
use crate::workspace::{RISCV, Workspace};
use place::{Base, Tree};
use plan::{Payload, Plan};

/// Scheduling priorities from this one on let RS, VFS, the data store and the scheduler run beside a file system that spins.
const AT_LEAST: u32 = 7;
/// The priority that the hint names.
const ADVISED: u32 = 8;

/// `cargo xtask minix install`.
pub(crate) fn command(args: &InstallArgs) -> Result<bool> {
    let mut plan = Plan::default();
    let mut hints = Vec::new();
    if args.uninstall {
        let bases = match (&args.tree, &args.root) {
            (Some(tree), _) => place::installed_in_tree(tree, args.obj.as_deref())?,
            (None, root) => place::installed_in_root(root.as_deref().context("no directory is named")?)?,
        };
        if bases.is_empty() {
            bail!(
                "{}: nothing is installed: there is no record of it",
                args.directory().display()
            );
        }
        for base in &bases {
            plan.uninstall(base)?;
        }
        if let Some(tree) = &args.tree {
            let tree = &place::whole(tree)?;
            hints.extend(
                bases
                    .iter()
                    .filter(|base| base.is_of_objects())
                    .flat_map(|base| build_hints(tree, &base.directory)),
            );
        }
    } else {
        let tree = args
            .tree
            .as_deref()
            .map(|tree| place::tree(tree, args.obj.as_deref()))
            .transpose()?;
        let bases = match (&tree, &args.root) {
            (Some(tree), _) => &tree.bases[..],
            (None, root) => &[place::root(root.as_deref().context("no directory is named")?)?],
        };
        let payload = payload()?;
        for base in bases {
            plan.install(base, &payload)?;
        }
        hints.extend(bases.iter().filter_map(priority_hint));
        if let Some(Tree { source, objects, bases }) = &tree {
            hints.extend(bases.iter().find_map(plan::made_again_because).map(|why| {
                format!("a build of the whole tree would put the C driver back ({why}): install again after it")
            }));
            hints.extend(build_hints(source, objects));
        }
    }
    let (left, lines) = (plan.left, std::mem::take(&mut plan.lines));
    if !args.dry_run {
        step::perform(&plan.steps())
            .context("stopped in the middle; every file is the old or the new one, and a second run goes on")?;
    }
    for line in lines.iter().chain(&hints) {
        say(&if args.dry_run {
            format!("dry run: {line}")
        } else {
            line.clone()
        });
    }
    Ok(left == 0)
}

/// What is installed, built.
fn payload() -> Result<Payload> {
    let workspace = Workspace::load()?;
    let progress = Progress::for_this_terminal();
    tools::ensure_target(&workspace, RISCV, progress)?;
    let Published { programs, conf } = programs::build_shipped(&workspace, progress)?;
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let mut payload = Payload {
        programs: Vec::new(),
        privileges: String::from_utf8(read(&conf)?)?,
    };
    for program in programs {
        payload.programs.push((program.shipped.name, read(&program.elf)?));
    }
    Ok(payload)
}

/// What is to be said of the priority of a file system.
fn priority_hint(base: &Base) -> Option<String> {
    base.files.iter().find_map(|wanted| {
        let place = base.directory.join(&wanted.path);
        let text = std::fs::read_to_string(&place).ok()?;
        let priority = conf::priority(&text, "mfs").ok()??;
        (priority < AT_LEAST).then(|| {
            format!(
                "{}: the entry of mfs has `priority {priority}`: with `priority {ADVISED}` a file system outlives a crash of its driver",
                place.display()
            )
        })
    })
}

/// What is to be made again.
fn build_hints(source: &Path, objects: &Path) -> [String; 3] {
    let make = make(objects);
    let parts = source.join("minix/drivers/storage");
    let (source, objects, parts) = (source.display(), objects.display(), parts.display());
    [
        format!("to be made: {make} -C {parts}/ramdisk image"),
        format!("to be made: {make} -C {parts}/memory all install, as the ramdisk is inside memory"),
        format!(
            "to be made: a boot image, if you have one; {source}/minix/scripts/qemu-riscv64.sh takes memory from \
             {objects}/destdir.evbriscv64"
        ),
    ]
}

/// The tree's own `make`.
fn make(objects: &Path) -> String {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(objects).into_iter().flatten().flatten() {
        let make = entry.path().join("bin/nbmake-evbriscv64");
        let is_tools = entry.file_name().to_string_lossy().starts_with("tooldir.");
        found.extend((is_tools && make.is_file()).then_some(make));
    }
    match &found[..] {
        [make] => make.display().to_string(),
        _ => "nbmake-evbriscv64".to_owned(),
    }
}
