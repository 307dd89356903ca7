//! The examples in other languages, as their READMEs have them, against whole nodes: prepared from
//! their lock files, then run. `python` and `typescript` prepare; what is expected of both is
//! [`scenes`].

mod python;
mod scenes;
mod typescript;

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use crate::harness::within;

/// How long the packages may take to arrive.
const INSTALL: Duration = Duration::from_secs(300);
/// How long a run of an example may take.
const RUN: Duration = Duration::from_secs(90);

/// An example that can be run: a folder, and the program that runs its script.
pub(crate) struct Example {
    program: PathBuf,
    script: PathBuf,
    dir: PathBuf,
}

impl Example {
    /// What `prepared` made. None, said aloud, where this machine cannot; an error where
    /// `SHOAL_REQUIRE_<language>=1`.
    fn or_skip(prepared: Result<Self, String>, language: &str, test: &str) -> Option<Self> {
        match prepared {
            Ok(example) => Some(example),
            Err(cause) => {
                let required = std::env::var_os(format!("SHOAL_REQUIRE_{language}"));
                assert!(required.is_none_or(|value| value != "1"), "{cause}");
                // Past the capture of the test harness: a skip is to be seen.
                let _ = writeln!(std::io::stderr(), "skipped: {test}: {cause}");
                None
            }
        }
    }

    fn command(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(script).current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        // A proxy where nobody listens: a node is reached without one.
        for name in ["http_proxy", "https_proxy", "grpc_proxy"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.env_remove("no_proxy");
        for name in ["SHOAL_ENDPOINT", "SHOAL_TOKEN", "SHOAL_TOKEN_FILE"] {
            command.env_remove(name);
        }
        command
    }

    async fn follow(&self, args: &[&str]) -> Output {
        let output = self.command(&self.script).args(args).output();
        within(RUN, &format!("{:?} {args:?}", self.script), output).await.unwrap()
    }
}

/// Does `make` in `place` once, while its name stays the same; others wait meanwhile.
async fn once(
    place: &Path,
    make: impl AsyncFnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(home).unwrap();
    let lock = File::create(home.join("examples.lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let _lock = within(INSTALL * 2, "another test's preparation", lock).await.unwrap().unwrap();
    let complete = place.join("complete");
    if !complete.exists() {
        // What another run left half done.
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place).unwrap();
        make(place).await?;
        File::create(complete).unwrap();
    }
    Ok(())
}

/// The standard output of a command that ends well.
async fn run(command: &mut Command, what: &str) -> Result<Vec<u8>, String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = within(INSTALL, what, output).await.map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{what}: {}", said(&output)))
    }
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}: {}{}", output.status, out.trim(), err.trim())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies the files of a folder, without folders below it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
