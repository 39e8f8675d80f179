//! The README of the examples shows the manifest of a copy outside of the workspace. It asks for what the example in the workspace has.

use std::path::Path;

use toml::{Table, Value};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first block of TOML on a page.
fn shown_manifest(page: &str) -> Table {
    let (_, block) = page.split_once("```toml\n").expect("a block of TOML");
    let (block, _) = block.split_once("```").expect("its end");
    block.parse().expect("a manifest")
}

/// What a copy beside a clone has in the place of a dependency `NAME.workspace = true`.
fn outside(workspace: &Value) -> Value {
    match workspace.get("path").and_then(Value::as_str) {
        Some(path) => Table::from_iter([("path".to_owned(), format!("../minix-virtio-blk/{path}").into())]).into(),
        None => workspace.clone(),
    }
}

#[test]
fn the_manifest_of_a_copy_has_what_the_example_has() {
    let shown = shown_manifest(&read("examples/README.md"));
    let example: Table = read("examples/read-sector/Cargo.toml").parse().unwrap();
    let root: Table = read("Cargo.toml").parse().unwrap();
    let workspace = &root["workspace"];

    assert_eq!(shown["package"]["name"], example["package"]["name"]);
    assert_eq!(shown["package"]["edition"], workspace["package"]["edition"]);
    let needed = example["dependencies"].as_table().unwrap().iter();
    let needed: Table = needed
        .map(|(name, inherits)| {
            let only_inherits = Table::from_iter([("workspace".to_owned(), true.into())]);
            assert_eq!(inherits.as_table(), Some(&only_inherits), "{name}");
            (name.clone(), outside(&workspace["dependencies"][name.as_str()]))
        })
        .collect();
    assert_eq!(shown["dependencies"].as_table(), Some(&needed));
}
