//! How each node did, for a person and for a program.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use shoal::v1;

use crate::{args::Args, call::Failure, source::Release};

/// How a push went.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Absent where the source failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Pushed>,
    /// Why nothing was distributed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// Time from the first call of a target to the end.
    pub(crate) seconds: f64,
    /// In the order of the command line.
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Serialize)]
struct Pushed {
    name: String,
    info_hash: String,
    bytes: u64,
}

/// How one node did.
#[derive(Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) endpoint: String,
    state: State,
    /// Time from the first call of a target to its end.
    seconds: f64,
    /// Verified bytes of the release that it has.
    pub(crate) bytes: u64,
    /// Who served how much of it, most first.
    from: Vec<Served>,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Still at work.
    Pending,
    /// It has everything, verified and merged.
    Complete,
    /// It refused, or was away for too long, or the time is up.
    Failed,
    /// Ctrl-C: it goes on.
    Interrupted,
}

#[derive(Debug, Serialize)]
struct Served {
    peer: String,
    chunks: u32,
    bytes: u64,
}

impl Report {
    pub(crate) fn new(args: &Args, release: &Release) -> Self {
        let pushed = Pushed {
            name: release.name.clone(),
            info_hash: release.info_hash.clone(),
            bytes: release.bytes,
        };
        let nodes = args.targets.iter().map(|place| Node::new(&place.endpoint)).collect();
        Self { release: Some(pushed), error: None, seconds: 0.0, nodes }
    }

    /// Nothing was distributed.
    pub(crate) fn of_failed_source(args: &Args, failure: Failure) -> Self {
        let message = format!("{}: {}", args.source.endpoint, failure.message);
        let error = Some(Failure { message, ..failure });
        Self { release: None, error, seconds: 0.0, nodes: Vec::new() }
    }

    /// Ends every node that is still at work.
    pub(crate) fn unfinished(&mut self, state: State, after: Duration, failure: &Failure) {
        for node in self.nodes.iter_mut().filter(|node| node.state == State::Pending) {
            node.failed(after, failure.clone());
            node.state = state;
        }
    }

    pub(crate) fn exit(&self) -> ExitCode {
        let any = |state| self.nodes.iter().any(|node| node.state == state);
        if any(State::Interrupted) {
            ExitCode::from(130)
        } else if self.error.is_some() || any(State::Failed) || any(State::Pending) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    pub(crate) fn json(&self) -> String {
        // Strings and numbers: nothing in it can fail to be written.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }

    pub(crate) fn table(&self) -> String {
        if let Some(error) = &self.error {
            return format!("nothing was distributed: {error}\n");
        }
        let mut rows = vec![["NODE", "STATE", "SECONDS", "BYTES", "FROM"].map(str::to_owned)];
        rows.extend(self.nodes.iter().map(Node::row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths = [0, 1, 2, 3].map(|column| width(column).unwrap_or(0));
        let mut text = String::new();
        for [node, state, seconds, bytes, from] in &rows {
            let [a, b, c, d] = widths;
            let line = format!("{node:<a$}  {state:<b$}  {seconds:>c$}  {bytes:>d$}  {from}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let complete = self.nodes.iter().filter(|node| node.state == State::Complete).count();
        let all = self.nodes.len();
        text.push_str(&format!("{complete} of {all} complete in {:.1} s\n", self.seconds));
        text
    }
}

impl Node {
    fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            state: State::Pending,
            seconds: 0.0,
            bytes: 0,
            from: Vec::new(),
            failure: None,
        }
    }

    pub(crate) fn complete(&mut self, after: Duration, done: v1::AutoDownloadResponse) {
        self.state = State::Complete;
        self.seconds = after.as_secs_f64();
        self.bytes = done.progress.unwrap_or_default().done_bytes;
        let served = done.served_by.into_iter().map(|served| {
            let peer = served.peer.unwrap_or_default();
            Served { peer: address(&peer), chunks: served.chunks, bytes: served.bytes }
        });
        self.from = served.collect();
        self.from.sort_by_key(|served| std::cmp::Reverse(served.bytes));
    }

    pub(crate) fn failed(&mut self, after: Duration, failure: Failure) {
        self.state = State::Failed;
        self.seconds = after.as_secs_f64();
        self.failure = Some(failure);
    }

    fn row(&self) -> [String; 5] {
        let state = match self.state {
            State::Pending => "pending",
            State::Complete => "complete",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
        };
        let from = match &self.failure {
            Some(failure) => failure.to_string(),
            None if self.from.is_empty() => "had everything".to_owned(),
            None => {
                let each = self.from.iter();
                let each = each.map(|served| format!("{} {}", served.peer, served.bytes));
                each.collect::<Vec<_>>().join(", ")
            }
        };
        let endpoint = self.endpoint.clone();
        let seconds = format!("{:.1}", self.seconds);
        [endpoint, state.to_owned(), seconds, self.bytes.to_string(), from]
    }
}

fn address(peer: &v1::PeerAddress) -> String {
    if peer.ip.contains(':') {
        format!("[{}]:{}", peer.ip, peer.port)
    } else {
        format!("{}:{}", peer.ip, peer.port)
    }
}
