//! Commands that speak to the tracker or to one peer and answer with a sentence. Never here:
//! downloads.

use shoal::v1;

use crate::{
    cli::{Target, peer::PeerArgs},
    failure::Failure,
    grid::block,
    human,
    session::Session,
};

pub(super) async fn connect_tracker(s: &mut Session<'_>, target: &Target) -> Result<(), Failure> {
    let torrent = s.select(target.torrent.as_deref());
    let request = s.request(v1::ConnectTrackerRequest { torrent });
    let reply = s.unary(s.peer().connect_tracker(request)).await?;
    s.sentence(&reply, &reply.message)
}

pub(super) async fn update_status(s: &mut Session<'_>, target: &Target) -> Result<(), Failure> {
    let torrent = s.select(target.torrent.as_deref());
    let request = s.request(v1::UpdateStatusToTrackerRequest { torrent });
    let reply = s.unary(s.peer().update_status_to_tracker(request)).await?;
    s.sentence(&reply, &reply.message)
}

pub(super) async fn disconnect_tracker(
    s: &mut Session<'_>,
    target: &Target,
) -> Result<(), Failure> {
    let torrent = s.select(target.torrent.as_deref());
    let request = s.request(v1::DisconnectTrackerRequest { torrent });
    let reply = s.unary(s.peer().disconnect_tracker(request)).await?;
    s.sentence(&reply, &reply.message)
}

pub(super) async fn quit_torrent(s: &mut Session<'_>, target: &Target) -> Result<(), Failure> {
    let torrent = s.select(target.torrent.as_deref());
    let request = s.request(v1::QuitTorrentRequest { torrent });
    let reply = s.unary(s.peer().quit_torrent(request)).await?;
    s.sentence(&reply, &reply.message)
}

pub(super) async fn connect_peer(s: &mut Session<'_>, args: &PeerArgs) -> Result<(), Failure> {
    let torrent = s.select(args.target.torrent.as_deref());
    let request = s.request(v1::ConnectPeerRequest { torrent, peer: Session::address(args) });
    let reply = s.unary(s.peer().connect_peer(request)).await?;
    s.reply(&reply, |reply, _| {
        let extensions =
            if reply.extensions.is_empty() { "-".to_owned() } else { reply.extensions.join(" ") };
        format!(
            "{}\n{}",
            reply.message,
            block([
                ("client", reply.client.clone()),
                ("peer id", reply.peer_id.clone()),
                ("chunks", reply.chunks_have.to_string()),
                ("extensions", extensions),
            ])
        )
    })
}

pub(super) async fn ping(s: &mut Session<'_>, args: &PeerArgs) -> Result<(), Failure> {
    let torrent = s.select(args.target.torrent.as_deref());
    let request = s.request(v1::PingRequest { torrent, peer: Session::address(args) });
    let reply = s.unary(s.peer().ping(request)).await?;
    s.reply(&reply, |reply, _| format!("{}\n{}\n", reply.message, ping_figures(reply)))
}

/// `round trip 740 µs`, or what is known of a peer that answers no ping.
fn ping_figures(reply: &v1::PingResponse) -> String {
    if let Some(us) = reply.round_trip_us {
        return format!("round trip {}", human::micros(us));
    }
    let latency = reply.request_latency_us.map_or_else(
        || "no request made yet".to_owned(),
        |us| format!("last request answered in {}", human::micros(us)),
    );
    let who = if reply.foreign { "a foreign client, which knows no ping" } else { "no round trip" };
    format!("{who}: last message {} ago, {latency}", human::millis(reply.last_message_age_ms))
}

pub(super) async fn disconnect_peer(s: &mut Session<'_>, args: &PeerArgs) -> Result<(), Failure> {
    let torrent = s.select(args.target.torrent.as_deref());
    let request = s.request(v1::DisconnectPeerRequest { torrent, peer: Session::address(args) });
    let reply = s.unary(s.peer().disconnect_peer(request)).await?;
    s.sentence(&reply, &reply.message)
}

pub(super) async fn check_tracker(s: &mut Session<'_>, target: &Target) -> Result<(), Failure> {
    let torrent = s.select(target.torrent.as_deref());
    let request = s.request(v1::CheckTrackerConnectedRequest { torrent });
    let reply = s.unary(s.peer().check_tracker_connected(request)).await?;
    s.reply(&reply, |reply, _| {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let ago = |ms: u64| format!("{} ago", human::millis(ms));
        let ahead = |ms: u64| format!("in {}", human::millis(ms));
        format!(
            "{}\n{}",
            reply.message,
            block([
                ("tracker", or_dash(&reply.tracker_url)),
                ("last announce", reply.last_announce_age_ms.map_or("-".to_owned(), ago)),
                ("next announce", reply.next_announce_ms.map_or("-".to_owned(), ahead)),
                ("last error", or_dash(&reply.last_error)),
            ])
        )
    })
}

pub(super) async fn check_peer(s: &mut Session<'_>, args: &PeerArgs) -> Result<(), Failure> {
    let torrent = s.select(args.target.torrent.as_deref());
    let peer = Session::address(args);
    let request = s.request(v1::CheckTargetPeerConnectedRequest { torrent, peer });
    let reply = s.unary(s.peer().check_target_peer_connected(request)).await?;
    s.reply(&reply, |reply, _| {
        let mut text = format!("{}\n", reply.message);
        if reply.connected {
            let since = human::time(reply.connected_since.as_ref());
            text.push_str(&format!("since {since}, {}\n", human::millis(reply.connected_ms)));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_peer_is_said_to_be_one() {
        let foreign = v1::PingResponse {
            last_message_age_ms: 1500,
            request_latency_us: Some(2500),
            foreign: true,
            ..v1::PingResponse::default()
        };
        let text = ping_figures(&foreign);
        assert!(text.contains("foreign") && text.contains("1.5 s ago"), "{text}");
        assert!(text.contains("2.5 ms"), "{text}");
        let own = v1::PingResponse { round_trip_us: Some(740), ..v1::PingResponse::default() };
        assert_eq!(ping_figures(&own), "round trip 740 µs");
    }
}
