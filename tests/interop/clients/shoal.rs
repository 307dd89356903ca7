//! Our own nodes, as programs of their own, spoken to over their Unix sockets: those work across
//! network namespaces.

use std::{fs, ops::Deref, path::Path};

use super::Client;
use crate::{
    binaries::Program,
    harness::{Host, until},
    net::Place,
};

/// Where our tracker listens.
pub const TRACKER_PORT: u16 = 7001;
/// Where our peers do.
const PEER_PORT: u16 = 7000;

/// A node. Killed where it is dropped.
pub struct Node {
    host: Host,
    client: Client,
}

impl Node {
    /// Starts a peer with its state in `state`.
    pub async fn peer(shoald: &Program, place: &Place, state: &Path) -> Self {
        Self::start(shoald, place, state, ("peer", PEER_PORT), &[]).await
    }

    /// Starts a peer that downloads a torrent and goes on serving it.
    pub async fn leech(shoald: &Program, place: &Place, state: &Path, torrent: &Path) -> Self {
        let args = ["--torrent", torrent.to_str().unwrap(), "--auto-download"];
        Self::start(shoald, place, state, ("peer", PEER_PORT), &args).await
    }

    /// Starts a tracker with its state in `state`.
    pub async fn tracker(shoald: &Program, place: &Place, state: &Path) -> Self {
        Self::start(shoald, place, state, ("tracker", TRACKER_PORT), &[]).await
    }

    async fn start(
        shoald: &Program,
        place: &Place,
        state: &Path,
        (role, port): (&str, u16),
        args: &[&str],
    ) -> Self {
        fs::create_dir_all(state).unwrap();
        let ready = state.join("ready.json");
        let mut command = place.command(shoald.path(), state);
        command.arg(role).args(["--listen", &format!("{}:{port}", place.ip)]);
        command.args(["--log", "info,shoal_node=debug"]);
        command.arg("--state-dir").arg(state).arg("--ready-file").arg(&ready);
        command.args(args);
        let mut client = Client::start(command, &state.join("log"));
        until("the ready file", async || {
            client.must_run();
            fs::read(&ready).ok()
        })
        .await;
        Self { host: Host::attach(state).await, client }
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        self.client.said()
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(self) {
        self.client.kill().await;
    }
}

impl Deref for Node {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}
