//! The example in Python, as its README has it: a virtual environment, the pinned packages, stubs
//! generated from `proto/`, and `follow.py` against whole nodes, over the Unix socket and over TCP.

use std::{
    ffi::OsStr,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use shoal::v1;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::harness::{Host, Party, sample, within};

/// How long the packages may take to arrive.
const INSTALL: Duration = Duration::from_secs(300);
/// How long a run of the example may take.
const RUN: Duration = Duration::from_secs(90);
/// Bytes of the files here: no whole number of chunks.
const LEN: usize = 3 * 1024 * 1024 + 999;

/// A copy of the example, with an interpreter that has its packages.
struct Example {
    python: PathBuf,
    dir: PathBuf,
}

impl Example {
    /// Installs what the example needs and generates its stubs below `dir`. None, said aloud, where
    /// this machine cannot; with `SHOAL_REQUIRE_PYTHON=1` that fails.
    async fn prepare(test: &str, dir: &Path) -> Option<Self> {
        match Self::try_prepare(dir).await {
            Ok(example) => Some(example),
            Err(cause) => {
                let required = std::env::var_os("SHOAL_REQUIRE_PYTHON");
                assert!(required.is_none_or(|value| value != "1"), "{cause}");
                // Past the capture of the test harness: a skip is to be seen.
                let _ = writeln!(std::io::stderr(), "skipped: {test}: {cause}");
                None
            }
        }
    }

    async fn try_prepare(dir: &Path) -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source = root.join("examples/python");
        let python = environment(&source.join("requirements.txt")).await?;
        let example = Self { python, dir: dir.join("examples/python") };
        fs::create_dir_all(&example.dir).unwrap();
        for name in ["generate.py", "follow.py"] {
            fs::copy(source.join(name), example.dir.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("proto"), dir.join("proto")).unwrap();
        let made = example.command("generate.py").output();
        let made = within(RUN, "generate.py", made).await.unwrap();
        assert!(made.status.success(), "{}", said(&made));
        Ok(example)
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(script).current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        // A proxy where nobody listens: a node is reached without one.
        command.env("http_proxy", "http://127.0.0.1:9").env_remove("no_proxy");
        command.env_remove("SHOAL_ENDPOINT").env_remove("SHOAL_TOKEN");
        command
    }

    async fn follow(&self, args: &[&str]) -> Output {
        let output = self.command("follow.py").args(args).output();
        within(RUN, &format!("follow.py {args:?}"), output).await.unwrap()
    }
}

/// An interpreter with the packages of `requirements`: made once, kept while they stay the same.
async fn environment(requirements: &Path) -> Result<PathBuf, String> {
    let version = run(Command::new("python3").arg("--version"), "python3 --version").await?;
    let mut hasher = DefaultHasher::new();
    (fs::read(requirements).unwrap(), version).hash(&mut hasher);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(home).unwrap();
    let venv = home.join(format!("python-{:016x}", hasher.finish()));

    // Tests of one folder wait for each other here.
    let lock = File::create(home.join("python.lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let _lock = within(INSTALL, "another test's installation", lock).await.unwrap().unwrap();
    let (python, complete) = (venv.join("bin/python"), venv.join("complete"));
    if !complete.exists() {
        let make = ["-m", "venv", "--clear"].map(OsStr::new);
        run(Command::new("python3").args(make).arg(&venv), "python3 -m venv").await?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--no-input", "--require-hashes", "--requirement"]).arg(requirements);
        run(&mut pip, "pip install").await?;
        File::create(complete).unwrap();
    }
    Ok(python)
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

/// Where to reach a node, over its Unix socket and over TCP.
async fn endpoints(host: &Host) -> (String, String) {
    let addresses = host.info().await.control_addresses;
    let (unix, tcp) =
        addresses.into_iter().partition::<Vec<_>, _>(|addr| addr.starts_with("unix:"));
    (unix[0].clone(), format!("http://{}", tcp[0]))
}

/// The result that `follow.py` printed.
#[track_caller]
fn result(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_complete(output: &Output, host: &Host, data: &[u8]) {
    let said = result(output);
    assert_eq!(said["result"]["complete"], true, "{said}");
    assert_eq!(said["result"]["message"], "Merge complete!", "{said}");
    assert_eq!(said["torrent"]["totalBytes"], LEN.to_string(), "{said}");
    assert!(said["events"].as_u64().unwrap() > 0, "{said}");
    assert!(fs::read(host.downloads().join("file.bin")).unwrap() == data);
}

#[tokio::test]
async fn the_python_example_follows_a_download_over_the_unix_socket_and_tells_refusals() {
    let party = Party::new().await;
    let test = "the_python_example_follows_a_download_over_the_unix_socket_and_tells_refusals";
    let Some(example) = Example::prepare(test, party.dir.path()).await else { return };
    let data = sample(LEN, 31);
    let (_seeder, metainfo) = party.seeder("file.bin", &data).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let (unix, _) = endpoints(&leecher).await;

    let nobody = example.follow(&["--endpoint", &unix, "--torrent", "other.bin"]).await;
    assert_eq!(nobody.status.code(), Some(1), "{}", said(&nobody));
    assert!(said(&nobody).contains("no torrent to choose from"), "{}", said(&nobody));

    let output = example.follow(&["--endpoint", &unix, "--torrent", "file.bin"]).await;
    assert_complete(&output, &leecher, &data);
    assert!(said(&output).contains("started job"), "{}", said(&output));

    // Once more: everything is there already.
    let again = example.follow(&["--endpoint", &unix]).await;
    assert_complete(&again, &leecher, &data);

    let (tracker, _) = endpoints(&party.tracker).await;
    let refused = example.follow(&["--endpoint", &tracker]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let line = "FAILED_PRECONDITION (NOT_IN_ROLE)";
    assert!(said(&refused).contains(line), "{}", said(&refused));
}

#[tokio::test]
async fn the_python_example_joins_a_job_at_work_over_tcp() {
    let party = Party::new().await;
    let test = "the_python_example_joins_a_job_at_work_over_tcp";
    let Some(example) = Example::prepare(test, party.dir.path()).await else { return };
    let data = sample(LEN, 32);
    let (seeder, metainfo) = party.seeder("file.bin", &data).await;
    // Nobody to download from, yet.
    let request = v1::DisconnectTrackerRequest::default();
    seeder.peer().disconnect_tracker(request).await.unwrap();
    let leecher = party.leecher("leecher", &metainfo).await;
    let request = v1::AutoDownloadRequest::default();
    let mut first = leecher.peer().auto_download(request).await.unwrap().into_inner();
    let job = within(RUN, "the job", first.message()).await.unwrap().unwrap().job_id;

    let (_, tcp) = endpoints(&leecher).await;
    let mut command = example.command("follow.py");
    let token = fs::read_to_string(leecher.config.state_dir.join("admin.token")).unwrap();
    command.env("SHOAL_TOKEN", token.trim());
    command.args(["--endpoint", &tcp]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let joined = async {
        loop {
            match lines.next_line().await.unwrap() {
                Some(line) if line == format!("joined job {job}") => break,
                Some(_) => {}
                None => panic!("follow.py ended without joining job {job}"),
            }
        }
    };
    within(RUN, "follow.py joins the job", joined).await;

    seeder.connect_peer(leecher.addr).await;
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let output = within(RUN, "follow.py", child.wait_with_output()).await.unwrap();
    rest.await.unwrap();
    assert_complete(&output, &leecher, &data);
    assert_eq!(result(&output)["result"]["jobId"], job.to_string());
}
