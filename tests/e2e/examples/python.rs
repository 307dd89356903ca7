//! `examples/python`: a virtual environment, the pinned packages, stubs generated from `proto/`.

use std::{
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{Example, RUN, copy, once, root, run, said, scenes};
use crate::harness::{Party, within};

impl Example {
    /// A copy of the example below `dir`, with stubs of its own.
    async fn python(test: &str, dir: &Path) -> Option<Self> {
        Self::or_skip(prepare(dir).await, "PYTHON", test)
    }
}

async fn prepare(dir: &Path) -> Result<Example, String> {
    let source = root().join("examples/python");
    let program = environment(&source.join("requirements.txt")).await?;
    let dir_of = dir.join("examples/python");
    let example = Example { program, script: PathBuf::from("follow.py"), dir: dir_of };
    copy(&source, &example.dir);
    std::os::unix::fs::symlink(root().join("proto"), dir.join("proto")).unwrap();
    let made = example.command(Path::new("generate.py")).output();
    let made = within(RUN, "generate.py", made).await.unwrap();
    assert!(made.status.success(), "{}", said(&made));
    Ok(example)
}

/// An interpreter with the packages of `requirements`: made once, kept while they stay the same.
async fn environment(requirements: &Path) -> Result<PathBuf, String> {
    let version = run(Command::new("python3").arg("--version"), "python3 --version").await?;
    let mut hasher = DefaultHasher::new();
    (fs::read(requirements).unwrap(), version).hash(&mut hasher);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let venv = home.join(format!("python-{:016x}", hasher.finish()));
    let python = venv.join("bin/python");
    once(&venv, async |venv| {
        let make = ["-m", "venv", "--clear"].map(OsStr::new);
        run(Command::new("python3").args(make).arg(venv), "python3 -m venv").await?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--no-input", "--require-hashes", "--requirement"]).arg(requirements);
        run(&mut pip, "pip install").await.map(drop)
    })
    .await?;
    Ok(python)
}

#[tokio::test]
async fn the_python_example_follows_a_download_over_the_unix_socket_and_tells_refusals() {
    let party = Party::new().await;
    let test = "the_python_example_follows_a_download_over_the_unix_socket_and_tells_refusals";
    let Some(example) = Example::python(test, party.dir.path()).await else { return };
    scenes::follows_and_tells_refusals(&party, &example).await;
}

#[tokio::test]
async fn the_python_example_joins_a_job_at_work_over_tcp() {
    let party = Party::new().await;
    let test = "the_python_example_joins_a_job_at_work_over_tcp";
    let Some(example) = Example::python(test, party.dir.path()).await else { return };
    scenes::joins_over_tcp(&party, &example).await;
}

#[tokio::test]
async fn the_python_example_adds_a_torrent_and_acts_when_it_is_complete() {
    let party = Party::new().await;
    let test = "the_python_example_adds_a_torrent_and_acts_when_it_is_complete";
    let Some(example) = Example::python(test, party.dir.path()).await else { return };
    scenes::adds_and_acts(&party, &example).await;
}

#[tokio::test]
async fn the_python_example_takes_up_where_its_node_is_started_again() {
    let party = Party::new().await;
    let test = "the_python_example_takes_up_where_its_node_is_started_again";
    let Some(example) = Example::python(test, party.dir.path()).await else { return };
    scenes::goes_on_after_a_restart(&party, &example).await;
}

#[tokio::test]
async fn the_python_example_speaks_tls_with_a_token() {
    let party = Party::new().await;
    let test = "the_python_example_speaks_tls_with_a_token";
    let Some(example) = Example::python(test, party.dir.path()).await else { return };
    scenes::speaks_tls_with_a_token(&party, &example).await;
}
