//! `TrackerService`: the swarms of a node in the tracker role.

use shoal::v1::{self as api, tracker_service_server::TrackerService};
use shoal_core::{
    ids::{InfoHash, PeerId},
    tracker::registry::{
        Family, PeerKey,
        views::{PeerStatus, SwarmSummary},
    },
};
use tonic::{Request, Response, Status};

use super::{
    context::Context,
    field::address,
    message::{labels, millis},
    page::{self, List},
    select::PREFIX_LEN_MIN,
    status::{Reason, Refusal},
};
use crate::tracker::TrackerServer;

type Reply<M> = Result<Response<M>, Status>;

const SWARMS: List = List("swarms");
const PEERS: List = List("swarm peers");
/// Hashes told of a prefix that fits several.
const TOLD_MAX: usize = 20;

#[tonic::async_trait]
impl TrackerService for Context {
    async fn list_swarms(
        &self,
        request: Request<api::ListSwarmsRequest>,
    ) -> Reply<api::ListSwarmsResponse> {
        Ok(Response::new(list(self, &request.into_inner())?))
    }

    async fn get_swarm(
        &self,
        request: Request<api::GetSwarmRequest>,
    ) -> Reply<api::GetSwarmResponse> {
        Ok(Response::new(get(self, &request.into_inner())?))
    }
}

fn list(
    this: &Context,
    request: &api::ListSwarmsRequest,
) -> Result<api::ListSwarmsResponse, Refusal> {
    let tracker = this.tracker_role()?;
    let size = page::size(request.page_size)?;
    let after = match SWARMS.place(&request.page_token)? {
        None => None,
        Some(place) => Some(place.parse().map_err(|_| SWARMS.bad_token())?),
    };
    let mut swarms = tracker.swarms(after, size + 1);
    let more = swarms.len() > size;
    swarms.truncate(size);
    let next_page_token = match swarms.last() {
        Some(last) if more => SWARMS.token(&last.info_hash.to_string()),
        Some(_) | None => String::new(),
    };
    let swarms = swarms.iter().map(|summary| swarm(this, summary)).collect();
    Ok(api::ListSwarmsResponse { swarms, next_page_token })
}

fn get(this: &Context, request: &api::GetSwarmRequest) -> Result<api::GetSwarmResponse, Refusal> {
    let tracker = this.tracker_role()?;
    let size = page::size(request.page_size)?;
    let after = match PEERS.place(&request.page_token)? {
        None => None,
        Some(place) => Some(peer_key(&place).ok_or_else(|| PEERS.bad_token())?),
    };
    let info_hash = select(tracker, &request.info_hash)?;
    let view = tracker.swarm(info_hash, after, size);
    let view = view.ok_or_else(|| unknown(&request.info_hash))?;
    let next = view.next.map(|key| PEERS.token(&place(key)));
    Ok(api::GetSwarmResponse {
        swarm: Some(swarm(this, &view.summary)),
        peers: view.peers.iter().map(peer).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

/// The swarm of an info hash, of a prefix of at least four digits, or the only one.
pub(super) fn select(tracker: &TrackerServer, selector: &str) -> Result<InfoHash, Refusal> {
    if let Ok(info_hash) = selector.parse() {
        return Ok(info_hash);
    }
    let digits = selector.to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !selector.is_empty() && (!is_hex || !(PREFIX_LEN_MIN..=40).contains(&digits.len())) {
        let fault = format!("'{selector}' is no info hash and no prefix of 4 digits or more");
        return Err(Refusal::field("info_hash", fault));
    }
    let mut fits = tracker.swarms(before(&digits), TOLD_MAX + 1);
    fits.retain(|swarm| swarm.info_hash.to_string().starts_with(&digits));
    match fits[..] {
        [only] => Ok(only.info_hash),
        [] if selector.is_empty() => {
            Err(Refusal::new(Reason::NoTorrent, "the tracker has no swarm yet"))
        }
        [] => Err(unknown(selector)),
        _ => {
            let hashes: Vec<_> =
                fits.iter().take(TOLD_MAX).map(|swarm| swarm.info_hash.to_string()).collect();
            let hashes = hashes.join(", ");
            let message = format!("several swarms fit; select one: {hashes}");
            Err(Refusal::new(Reason::SeveralTorrents, message).with("info_hashes", hashes))
        }
    }
}

/// The hash right before the first that begins with these digits; none where that is the first of
/// all.
fn before(digits: &str) -> Option<InfoHash> {
    let InfoHash(mut bytes) = format!("{digits:0<40}").parse().ok()?;
    for byte in bytes.iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            return Some(InfoHash(bytes));
        }
    }
    None
}

fn unknown(selector: &str) -> Refusal {
    Refusal::new(Reason::UnknownSwarm, format!("nobody is in a swarm '{selector}' here"))
}

fn swarm(this: &Context, summary: &SwarmSummary) -> api::Swarm {
    api::Swarm {
        info_hash: summary.info_hash.to_string(),
        seeders: summary.complete,
        leechers: summary.incomplete,
        completed: summary.downloaded.into(),
        listed: this.only.as_ref().is_some_and(|only| only.contains(&summary.info_hash)),
    }
}

fn peer(status: &PeerStatus) -> api::SwarmPeer {
    let shoal = status.up.is_some();
    api::SwarmPeer {
        entry: Some(api::PeerSetEntry {
            address: Some(address(status.addr)),
            peer_id: status.id.to_string(),
            chunks_have: status.have_count,
            bitfield: Vec::new(),
            downloaded_bytes: status.down,
            uploaded_bytes: status.up,
            left_bytes: Some(status.left),
            labels: labels(&status.labels),
            is_self: false,
        }),
        age_ms: millis(status.age),
        shoal,
        client: status.id.client(),
    }
}

fn place(key: PeerKey) -> String {
    let family = match key.family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    format!("{family} {}", key.id)
}

fn peer_key(place: &str) -> Option<PeerKey> {
    let (family, id) = place.split_once(' ')?;
    let family = match family {
        "4" => Family::V4,
        "6" => Family::V6,
        _ => return None,
    };
    Some(PeerKey { id: id.parse::<PeerId>().ok()?, family })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_right_before_the_first_that_fits() {
        let hash = |digits: &str| Some(format!("{digits:0<40}").parse().unwrap());
        assert_eq!(before(""), None);
        assert_eq!(before("0000"), None);
        assert_eq!(before("abcd"), Some(format!("abcc{:f<36}", "").parse().unwrap()));
        assert!(before("abc") < hash("abc"));
    }

    #[test]
    fn places_read_as_they_are_written() {
        for family in [Family::V4, Family::V6] {
            let key = PeerKey { id: PeerId([7; 20]), family };
            assert_eq!(peer_key(&place(key)), Some(key));
        }
        assert_eq!(peer_key("5 00"), None);
    }
}
