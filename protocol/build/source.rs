//! Rust source being written: lines, indented by the blocks they stand in.

use std::fmt::Display;

#[derive(Debug, Default)]
pub(crate) struct Source {
    text: String,
    depth: usize,
}

impl Source {
    pub(crate) fn line(&mut self, line: impl Display) {
        let line = line.to_string();
        if !line.is_empty() {
            self.text.push_str(&"    ".repeat(self.depth));
            self.text.push_str(&line);
        }
        self.text.push('\n');
    }

    /// `head {`, what `body` writes, `}`.
    pub(crate) fn block(&mut self, head: impl Display, body: impl FnOnce(&mut Self)) {
        self.line(format!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    /// `body`, inside `if condition { }` where there is a condition.
    pub(crate) fn when(&mut self, condition: Option<String>, body: impl FnOnce(&mut Self)) {
        match condition {
            Some(condition) => self.block(format!("if {condition}"), body),
            None => body(self),
        }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}
