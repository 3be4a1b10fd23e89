//! The program that libFuzzer drives: `FUZZ_TARGET` names the target, `FUZZ_SEEDS=<dir>` writes its seeds there and ends.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let Some(target) = fuzz::target(&name) else {
            let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
            eprintln!("FUZZ_TARGET must be one of: {}", names.join(" "));
            std::process::exit(2);
        };
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            for (number, seed) in (target.seeds)().into_iter().enumerate() {
                if let Err(error) = std::fs::write(Path::new(&folder).join(format!("seed-{number:05}")), seed) {
                    eprintln!("cannot write a seed to {}: {error}", folder.display());
                    std::process::exit(2);
                }
            }
            std::process::exit(0);
        }
        let _ = TARGET.set(target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
