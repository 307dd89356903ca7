//! The pusher against real nodes in this process: some complete, one dead, one that dies, Ctrl-C.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its nodes fail")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use shoal::v1::{self, job_service_client::JobServiceClient};
use shoal_node::{
    config::{NodeConfig, PeerConfig, TrackerConfig, value::ControlAddr},
    node::Node,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A source with a release, that is a tracker too, and room for targets.
struct Fleet {
    dir: TempDir,
    source: Member,
}

/// A node with its endpoint.
struct Member {
    node: Node,
    state: PathBuf,
}

impl Member {
    async fn start(config: NodeConfig) -> Self {
        let state = config.state_dir.clone();
        let node = within("start of a node", Node::start(config)).await.unwrap();
        Self { node, state }
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.state.join("shoald.sock").display())
    }

    /// Over TCP, with the token of this name.
    fn tcp(&self, token: &str) -> String {
        let addr = self.node.control().iter().find(|addr| !addr.starts_with("unix:")).unwrap();
        format!("http://{addr}={}", self.state.join(token).display())
    }

    async fn jobs(&self) -> Vec<v1::Job> {
        let channel = shoal::client::connect(&self.endpoint()).await.unwrap();
        let request = v1::ListJobsRequest::default();
        JobServiceClient::new(channel).list_jobs(request).await.unwrap().into_inner().jobs
    }
}

impl Fleet {
    async fn new(upload_limit: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir, "source");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.tracker = Some(TrackerConfig { listen, ..TrackerConfig::default() });
        config.peer.as_mut().unwrap().upload_limit.0 = upload_limit;
        let source = Member::start(config).await;
        let fleet = Self { dir, source };
        let mut rng = fastrand::Rng::with_seed(7);
        for (name, len) in [("app", 3 << 20), ("lib/one.so", 1 << 20), ("lib/two.so", 12_345)] {
            let path = fleet.release().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = vec![0; len];
            rng.fill(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        fleet
    }

    fn release(&self) -> PathBuf {
        self.dir.path().join("release-7")
    }

    async fn target(&self, name: &str) -> Member {
        Member::start(config(&self.dir, name)).await
    }

    /// A node that was there and is not any more.
    async fn dead(&self, name: &str) -> String {
        let member = self.target(name).await;
        let endpoint = member.endpoint();
        within("end of a node", member.node.shutdown()).await;
        endpoint
    }

    fn command(&self, args: &[&str], targets: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pusher"));
        command.arg(self.release()).arg("--source").arg(self.source.endpoint()).args(args);
        for target in targets {
            command.args(["--to", target]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    async fn push(&self, args: &[&str], targets: &[&str]) -> Output {
        within("the pusher", self.command(args, targets).output()).await.unwrap()
    }

    fn assert_same(&self, target: &Member) {
        for name in ["app", "lib/one.so", "lib/two.so"] {
            let copy = target.state.join("downloads/release-7").join(name);
            assert!(fs::read(copy).unwrap() == fs::read(self.release().join(name)).unwrap());
        }
    }
}

fn config(dir: &TempDir, name: &str) -> NodeConfig {
    let mut config = NodeConfig::new(dir.path().join(name));
    let mut peer = PeerConfig::new(&config.state_dir);
    peer.listen = (Ipv4Addr::LOCALHOST, 0).into();
    config.control.push(ControlAddr::Tcp((Ipv4Addr::LOCALHOST, 0).into()));
    config.peer = Some(peer);
    config
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn report(output: &Output, code: i32) -> serde_json::Value {
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_reaches_every_node_that_lives_and_the_dead_one_is_named() {
    let fleet = Fleet::new(0).await;
    let (one, two) = (fleet.target("one").await, fleet.target("two").await);
    let dead = fleet.dead("dead").await;
    let targets = [one.endpoint(), dead.clone(), two.endpoint()];
    let targets = targets.each_ref().map(String::as_str);
    let output = fleet.push(&["--json", "--patience", "3"], &targets).await;
    let report = report(&output, 1);

    assert_eq!(report["release"]["name"], "release-7");
    let bytes = report["release"]["bytes"].as_u64().unwrap();
    assert_eq!(bytes, (4 << 20) + 12_345);
    for (index, member) in [(0, &one), (2, &two)] {
        let node = &report["nodes"][index];
        assert_eq!(node["endpoint"], member.endpoint());
        assert_eq!((&node["state"], node["bytes"].as_u64()), (&"complete".into(), Some(bytes)));
        assert!(node["seconds"].as_f64().unwrap() > 0.0, "{node}");
        let served = node["from"].as_array().unwrap().iter();
        let served = served.map(|peer| peer["bytes"].as_u64().unwrap()).sum::<u64>();
        assert!(served >= bytes, "{node}");
        fleet.assert_same(member);
    }
    let node = &report["nodes"][1];
    assert_eq!((&node["endpoint"], &node["state"]), (&dead.into(), &"failed".into()));
    assert_eq!(node["failure"]["reason"], "UNREACHABLE", "{node}");

    // Over TCP each has a token of its own; one that may only read is named with the reason.
    let (with_token, read_only) = (two.tcp("admin.token"), one.tcp("readonly.token"));
    let output = fleet.push(&["--json"], &[&with_token, &read_only]).await;
    let report = self::report(&output, 1);
    assert_eq!(report["nodes"][0]["state"], "complete", "{report}");
    assert_eq!(report["nodes"][1]["failure"]["reason"], "SCOPE_MISSING", "{report}");
    assert!(!report.to_string().contains(".token"), "{report}");

    // Again, for a person: everything is there already, and the release is taken up.
    let output = fleet.push(&[], &targets[..1]).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.contains("had everything") && out.contains("1 of 1 complete"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_the_middle_is_given_up_and_the_others_go_on() {
    let fleet = Fleet::new(2 << 20).await;
    let (one, two) = (fleet.target("one").await, fleet.target("two").await);
    let (first, second) = (one.endpoint(), two.endpoint());
    let args = ["--json", "--patience", "3"];
    let mut child = fleet.command(&args, &[&first, &second]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with(&first) {
                return;
            }
        }
        panic!("the pusher ended without a word of {first}");
    };
    within("progress", begun).await;
    within("end of a node", one.node.shutdown()).await;
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let output = within("the pusher", child.wait_with_output()).await.unwrap();
    rest.await.unwrap();
    let report = report(&output, 1);
    assert_eq!(report["nodes"][0]["state"], "failed", "{report}");
    assert_eq!(report["nodes"][1]["state"], "complete", "{report}");
    fleet.assert_same(&two);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_reports_and_leaves_the_nodes_at_work() {
    let fleet = Fleet::new(64 << 10).await;
    let one = fleet.target("one").await;
    let endpoint = one.endpoint();
    let mut child = fleet.command(&["--json"], &[&endpoint]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with(&endpoint) {
                return;
            }
        }
        panic!("the pusher ended without a word of {endpoint}");
    };
    within("progress", begun).await;
    kill_process(Pid::from_raw(child.id().unwrap() as i32).unwrap(), Signal::INT).unwrap();
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let output = within("the pusher", child.wait_with_output()).await.unwrap();
    rest.await.unwrap();
    let report = report(&output, 130);
    assert_eq!(report["nodes"][0]["state"], "interrupted", "{report}");
    let jobs = one.jobs().await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].state(), v1::JobState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_used_is_said_before_anybody_is_called() {
    let fleet = Fleet::new(0).await;
    fs::remove_dir_all(fleet.release()).unwrap();
    let output = fleet.push(&["--json"], &["unix:///nowhere/at/all.sock"]).await;
    let report = report(&output, 1);
    assert!(report["error"]["message"].as_str().unwrap().contains("release-7"), "{report}");
    assert!(report["nodes"].as_array().unwrap().is_empty());
    assert!(!Path::new("/nowhere").exists());
}
