//! Compiles the contract without `protoc`: `protox` parses, `tonic-prost-build` generates.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const CONTRACT: &str = "barnabas/control/v1/control.proto";
    println!("cargo::rerun-if-changed=proto/{CONTRACT}");
    let descriptors = protox::compile([CONTRACT], ["proto"])?;
    // Bodies are sliced from the received buffer instead of being copied.
    tonic_prost_build::configure()
        .bytes(".barnabas.control.v1.ForwardRequest.body")
        .bytes(".barnabas.control.v1.ForwardResponse.body")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
