//! `examples/typescript`: the locked packages, types generated from `proto/`, compiled by tsc.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{Example, copy, once, root, run, scenes};
use crate::harness::Party;

impl Example {
    /// The example, compiled once while nothing of it changes.
    async fn typescript(test: &str) -> Option<Self> {
        Self::or_skip(prepare().await, "NODE", test)
    }
}

async fn prepare() -> Result<Example, String> {
    let version = run(Command::new("node").arg("--version"), "node --version").await?;
    let source = root().join("examples/typescript");
    let packages = packages(&source, &version).await?;
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    for folder in [&source, &source.join("src"), &root().join("proto/shoal/v1")] {
        contents(folder).hash(&mut hasher);
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = home.join(format!("typescript-{:016x}", hasher.finish()));
    let dir = place.join("examples/typescript");
    once(&place, async |place| {
        copy(&source, &dir);
        copy(&source.join("src"), &dir.join("src"));
        std::os::unix::fs::symlink(root().join("proto"), place.join("proto")).unwrap();
        std::os::unix::fs::symlink(packages, dir.join("node_modules")).unwrap();
        let mut build = Command::new("npm");
        build.args(["run", "--silent", "build"]).current_dir(&dir);
        run(&mut build, "npm run build").await.map(drop)
    })
    .await?;
    let script = PathBuf::from("dist/src/follow.js");
    Ok(Example { program: PathBuf::from("node"), script, dir })
}

/// The folder of the locked packages: installed once, kept while the lock stays the same.
async fn packages(source: &Path, version: &[u8]) -> Result<PathBuf, String> {
    let files = ["package.json", "package-lock.json"];
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    for name in files {
        fs::read(source.join(name)).unwrap().hash(&mut hasher);
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = home.join(format!("npm-{:016x}", hasher.finish()));
    once(&place, async |place| {
        for name in files {
            fs::copy(source.join(name), place.join(name)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(place);
        run(&mut npm, "npm ci").await.map(drop)
    })
    .await?;
    Ok(place.join("node_modules"))
}

/// Names and contents of the files of a folder, in order.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn the_typescript_example_follows_a_download_over_the_unix_socket_and_tells_refusals() {
    let test = "the_typescript_example_follows_a_download_over_the_unix_socket_and_tells_refusals";
    let Some(example) = Example::typescript(test).await else { return };
    scenes::follows_and_tells_refusals(&Party::new().await, &example).await;
}

#[tokio::test]
async fn the_typescript_example_joins_a_job_at_work_over_tcp() {
    let test = "the_typescript_example_joins_a_job_at_work_over_tcp";
    let Some(example) = Example::typescript(test).await else { return };
    scenes::joins_over_tcp(&Party::new().await, &example).await;
}

#[tokio::test]
async fn the_typescript_example_adds_a_torrent_and_acts_when_it_is_complete() {
    let test = "the_typescript_example_adds_a_torrent_and_acts_when_it_is_complete";
    let Some(example) = Example::typescript(test).await else { return };
    scenes::adds_and_acts(&Party::new().await, &example).await;
}

#[tokio::test]
async fn the_typescript_example_takes_up_where_its_node_is_started_again() {
    let test = "the_typescript_example_takes_up_where_its_node_is_started_again";
    let Some(example) = Example::typescript(test).await else { return };
    scenes::goes_on_after_a_restart(&Party::new().await, &example).await;
}

#[tokio::test]
async fn the_typescript_example_speaks_tls_with_a_token() {
    let test = "the_typescript_example_speaks_tls_with_a_token";
    let Some(example) = Example::typescript(test).await else { return };
    scenes::speaks_tls_with_a_token(&Party::new().await, &example).await;
}
