//! Makes the message codecs from the schemas in `schema/`: one module for each API, one file `messages.rs` in `OUT_DIR`.
//!
//! Read it as a line of three: `parse` (text to nouns), `schema` (the nouns), `generate` (nouns to Rust).

// The crate is pure; its build reads schemas and writes source.
#![allow(clippy::disallowed_methods)]

#[path = "build/decode.rs"]
mod decode;
#[path = "build/encode.rs"]
mod encode;
#[path = "build/filled.rs"]
mod filled;
#[path = "build/generate.rs"]
mod generate;
#[path = "build/parse.rs"]
mod parse;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/source.rs"]
mod source;

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=schema");

    let mut apis = Vec::new();
    for path in schema_files(&Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("schema"))? {
        let text = fs::read_to_string(&path)?;
        apis.push(parse::api(&text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    apis.sort_by_key(|api| api.key);
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("messages.rs"),
        generate::messages(&apis),
    )?;
    Ok(())
}

fn schema_files(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "api") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
