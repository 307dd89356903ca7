//! `shoal.argmin` and `argmax` over a field of the candidates, in Rust over the host's own numbers.
//! Never here: lists that a script made.

use std::cmp::Ordering;

use shoal_core::policy::{Candidate, PeerView};

use crate::{sink::sanitised, suggest, vm::integer};

/// The fields of a peer.
const FIELDS: [&str; 15] = [
    "addr",
    "client",
    "downloaded",
    "estimated",
    "fail_streak",
    "failures",
    "id",
    "inflight",
    "is_seed",
    "labels",
    "rate",
    "rtt_ms",
    "slots",
    "tried",
    "uploaded",
];
/// The longest text that a message repeats, bytes.
const SHOWN_LEN_MAX: usize = 40;

/// Which end is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Least,
    Most,
}

/// The place among the open candidates, from 1, of the one at this end of a field; ties go to the
/// lowest `uploaded`, the fewest in flight, the lowest id. `name` is the function's, for messages.
///
/// # Errors
/// The field is not a number, or there is none of that name.
pub(crate) fn extreme(
    peers: &[PeerView],
    open: &[Candidate],
    (name, end): (&str, End),
    field: &[u8],
) -> Result<Option<usize>, String> {
    let Some(first) = open.first() else { return Ok(None) };
    let search = Search { peers, open, end };
    let found = match field {
        b"uploaded" => search.by(|peer| integer(peer.uploaded)),
        b"downloaded" => search.by(|peer| integer(peer.downloaded)),
        b"inflight" => search.by(|peer| peer.inflight),
        b"slots" => search.by(|peer| peer.slots),
        b"rate" => search.by(|peer| peer.rate_bps),
        b"rtt_ms" => search.by(|peer| peer.rtt_us),
        b"failures" => search.by(|peer| peer.failures),
        b"fail_streak" => search.by(|peer| peer.fail_streak),
        _ => return Err(refusal(&peers[first.peer], first.tried, name, field)),
    };
    Ok(found.map(|place| place + 1))
}

struct Search<'a> {
    peers: &'a [PeerView],
    open: &'a [Candidate],
    end: End,
}

impl Search<'_> {
    fn by<T: Ord>(&self, value: impl Fn(&PeerView) -> T) -> Option<usize> {
        let peer = |place: usize| &self.peers[self.open[place].peer];
        let before = |a: &PeerView, b: &PeerView| {
            let order = value(a).cmp(&value(b));
            let order = if self.end == End::Least { order } else { order.reverse() };
            order.then_with(|| tie(a, b))
        };
        (0..self.open.len()).min_by(|&a, &b| before(peer(a), peer(b)))
    }
}

/// How ties are broken everywhere, with the numbers that a script sees.
fn tie(a: &PeerView, b: &PeerView) -> Ordering {
    let key = |p: &PeerView| (integer(p.uploaded), p.inflight, p.id);
    key(a).cmp(&key(b))
}

fn refusal(peer: &PeerView, tried: bool, name: &str, field: &[u8]) -> String {
    let text = |text: &str| format!("'{}' (a string)", sanitised(text.as_bytes(), SHOWN_LEN_MAX));
    let boolean = |b: bool| format!("{b} (a boolean)");
    let is = match field {
        b"id" => text(&peer.id.to_string()),
        b"addr" => text(&peer.addr.to_string()),
        b"client" => text(&peer.client),
        b"tried" => boolean(tried),
        b"is_seed" => boolean(peer.is_seed),
        b"estimated" => boolean(peer.estimated),
        b"labels" => "a table".to_owned(),
        unknown => {
            let shown = sanitised(unknown, 64);
            return format!("peer has no field '{shown}'{}", suggest::hint(&shown, FIELDS));
        }
    };
    format!("{name}: the value of a peer is {is}; expected a number")
}
