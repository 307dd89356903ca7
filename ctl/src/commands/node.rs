//! `shoalctl node`. Never here: its torrents.

use std::time::Duration;

use shoal::v1;

use crate::{
    cli::node::ShutdownArgs, failure::Failure, grid::block_within, human, session::Session,
};

/// How often a node that ends is asked whether it is still there.
const ASK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn info(s: &mut Session<'_>) -> Result<(), Failure> {
    let request = s.request(v1::GetInfoRequest {});
    let reply = s.unary(s.node().get_info(request)).await?;
    s.reply(&reply, describe)
}

pub(super) async fn shutdown(s: &mut Session<'_>, args: ShutdownArgs) -> Result<(), Failure> {
    let request = s.request(v1::ShutdownRequest {});
    let reply = s.unary(s.node().shutdown(request)).await?;
    if !args.wait {
        return s.sentence(&reply, "the node ends");
    }
    while s.unary(s.node().get_info(s.request(v1::GetInfoRequest {}))).await.is_ok() {
        tokio::time::sleep(ASK_EVERY).await;
    }
    s.sentence(&reply, "the node answers no more")
}

/// Of a node that can look for peers.
fn on_or_off(info: &v1::GetInfoResponse) -> String {
    match (info.peer_address.is_empty(), info.local_discovery) {
        (true, _) => "-",
        (false, true) => "on",
        (false, false) => "off",
    }
    .to_owned()
}

fn describe(info: &v1::GetInfoResponse, width: Option<usize>) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let roles: Vec<String> =
        info.roles().map(|role| human::word(role.as_str_name(), "ROLE_")).collect();
    let lines = [
        ("version", info.version.clone()),
        ("roles", or_dash(&roles.join(" "))),
        ("peer id", or_dash(&info.peer_id)),
        ("peer address", or_dash(&info.peer_address)),
        ("local discovery", on_or_off(info)),
        ("tracker address", or_dash(&info.tracker_address)),
        ("announce url", or_dash(&info.announce_url)),
        ("udp announce url", or_dash(&info.udp_announce_url)),
        ("control", or_dash(&info.control_addresses.join(" "))),
        (
            "started",
            format!(
                "{}, {} ago",
                human::time(info.started_at.as_ref()),
                human::millis(info.uptime_ms)
            ),
        ),
        ("torrents", info.torrents.to_string()),
        ("connections", info.connections.to_string()),
        ("jobs", info.jobs.to_string()),
        ("download", human::rate(info.download_bps)),
        ("upload", human::rate(info.upload_bps)),
        ("policy", or_dash(&info.policy)),
        ("downloads", or_dash(&info.downloads_dir)),
        ("state", or_dash(&info.state_dir)),
        ("labels", human::pairs(&info.labels)),
        ("pid", info.pid.to_string()),
        ("epoch", or_dash(&info.epoch)),
    ];
    block_within(width, lines)
}
