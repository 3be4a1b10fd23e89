//! The differences that are meant, each with its reason: `docs/differences.md` is this list, printed.

pub(crate) mod keys;
mod list;

use crate::compare::Difference;

pub(crate) use list::{INTENDED, LATER};

/// A decision, and the answers that it changes.
pub(crate) struct Intended {
    /// What differs, in a few words.
    pub(crate) title: &'static str,
    /// Why, for a reader who knows Kafka.
    pub(crate) reason: &'static str,
    /// Where: patterns of API, request and field, in which `*` stands for anything.
    pub(crate) places: &'static [(&'static str, &'static str, &'static str)],
}

impl Intended {
    /// True if this decision explains the difference.
    pub(crate) fn explains(&self, api: &str, title: &str, difference: &Difference) -> bool {
        self.places
            .iter()
            .any(|(apis, titles, paths)| like(apis, api) && like(titles, title) && like(paths, &difference.path))
    }
}

/// `docs/differences.md`.
pub(crate) fn document() -> String {
    let mut text = String::from(
        "# Where Barnabas answers otherwise than Apache Kafka 4.3\n\n\
         Generated from the list in `e2e/differential/src/intended/list.rs`. `make test` sends the same requests to both, compares\n\
         the answers field by field, and fails for a difference that is not explained here and for an explanation that no answer\n\
         needs. Ids, addresses and times of the broker are compared by where they come from, not by value. In the tables, `*`\n\
         stands for anything.\n",
    );
    for intended in INTENDED.iter().chain(LATER) {
        text.extend(["\n## ", intended.title, "\n", intended.reason, "\n\n"]);
        text.push_str("| API | request | field of the answer |\n|---|---|---|\n");
        for (api, title, path) in intended.places {
            let path = if path.is_empty() {
                "the whole answer".to_owned()
            } else {
                format!("`{path}`")
            };
            let title = if *title == "*" { "any" } else { title };
            let api = if *api == "*" { "any" } else { api };
            text.extend(["| ", api, " | ", title, " | ", &path, " |\n"]);
        }
    }
    keys::document(&mut text);
    text
}

/// True if `text` is as the pattern says.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && like(after, &rest[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [("*", ""), ("a*c", "abbc"), ("a*", "a"), ("*.b", "a.b.b")] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a*c", "abcd"), ("a", "ab")] {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_committed_document_is_the_list_in_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/differences.md");
        let fresh = document();
        if std::env::var_os("BARNABAS_BLESS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            fresh,
            "run: BARNABAS_BLESS=1 cargo test -p differential"
        );
    }
}
