//! Within a crate, modules stand in layers: none uses another that uses it, directly or by way of others. So each can be
//! read after those below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The modules that stand at the top of a crate, each with those of them that it names.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Every `src` of a package of ours.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a workspace");
    let (_, members) = manifest.split_once("members = [").expect("members");
    let (members, _) = members.split_once(']').expect("the end of the members");
    members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !member.is_empty())
        .map(|member| root.join(member).join("src"))
        .collect()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module at the top of the crate that a file belongs to; `None` for the root, and for tests.
fn module_of(source: &Path, file: &Path) -> Option<String> {
    let parts: Vec<&str> = file
        .strip_prefix(source)
        .ok()?
        .iter()
        .filter_map(|part| part.to_str())
        .collect();
    let is_test = parts.iter().any(|part| matches!(*part, "tests" | "tests.rs"));
    let first = parts.first()?.trim_end_matches(".rs");
    (!is_test && !matches!(first, "lib" | "main")).then(|| first.to_owned())
}

/// What shipped code says: no comments, no tests.
fn shipped(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Names that follow `crate::`, alone or in braces.
fn named(text: &str) -> BTreeSet<String> {
    let path = Regex::new(r"crate::(?:(\w+)|\{([^;]*)\};)").expect("legal");
    let word = Regex::new(r"\w+").expect("legal");
    path.captures_iter(text)
        .flat_map(|found| {
            let names = found.get(1).or_else(|| found.get(2)).map_or("", |names| names.as_str());
            word.find_iter(names)
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn uses(source: &Path) -> Uses {
    let mut all = Vec::new();
    files(source, &mut all);
    let mut uses = Uses::new();
    for file in &all {
        let Some(module) = module_of(source, file) else {
            continue;
        };
        let text = fs::read_to_string(file).expect("a source");
        uses.entry(module).or_default().extend(named(&shipped(&text)));
    }
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for (module, used) in &mut uses {
        used.retain(|name| name != module && modules.contains(name));
    }
    uses
}

/// Takes away, again and again, what uses nothing that is left: what stays uses itself by way of others.
fn circles(mut uses: Uses) -> Uses {
    loop {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        for used in uses.values_mut() {
            used.retain(|name| left.contains(name));
        }
        let before = uses.len();
        uses.retain(|_, used| !used.is_empty());
        if uses.len() == before {
            return uses;
        }
    }
}

#[test]
fn no_module_uses_what_uses_it() {
    let sources = sources();
    assert!(sources.len() > 10, "the workspace has many packages");
    for source in sources {
        let uses = uses(&source);
        assert!(!uses.is_empty() || source.join("lib.rs").exists() || source.join("main.rs").exists());
        let left = circles(uses);
        assert!(
            left.is_empty(),
            "{}: modules that use each other, or stand above such: {left:?}",
            source.display()
        );
    }
}

#[test]
fn a_circle_is_seen_and_a_ladder_is_none() {
    let uses = |pairs: &[(&str, &[&str])]| {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs
            .iter()
            .map(|(name, used)| ((*name).to_owned(), own(used)))
            .collect::<Uses>()
    };
    assert!(circles(uses(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    assert!(!circles(uses(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).is_empty());
    let text = "use crate::one;\n// crate::two\nuse crate::{\n    three, four::Five,\n};\n#[cfg(test)]\nmod tests { use crate::six; }\n";
    let named: Vec<String> = named(&shipped(text)).into_iter().collect();
    assert_eq!(named, ["Five", "four", "one", "three"]);
}
