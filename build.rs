//! Compiles `proto/shoal/v1/*.proto` with protox (no protoc on any machine) and writes the
//! descriptor set for reflection and for `shoalctl`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["auth", "common", "node", "torrent", "peer", "tracker", "policy"]
        .map(|name| format!("shoal/v1/{name}.proto"));
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let mut set = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(set.clone(), config)?;
    fs::write(out.join("shoal.v1.commented.bin"), set.encode_to_vec())?;
    // The served copy needs no comments.
    for file in &mut set.file {
        file.source_code_info = None;
    }
    fs::write(out.join("shoal.v1.bin"), set.encode_to_vec())?;
    Ok(())
}
