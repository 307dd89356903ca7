//! `shoalctl policy explain`: how one chunk would be decided. Never here: a decision.

use shoal::v1;

use super::report::diagnostic;
use crate::{
    cli::policy::ExplainArgs,
    failure::Failure,
    grid::{Column, Grid, block_within},
    human,
    session::Session,
};

pub(super) async fn explain(s: &mut Session<'_>, args: ExplainArgs) -> Result<(), Failure> {
    let request = s.request(v1::ExplainDecisionRequest {
        torrent: s.select(args.target.torrent.as_deref()),
        chunk: args.chunk.unwrap_or_default(),
    });
    let reply = s.unary(s.policy().explain_decision(request)).await?;
    s.reply(&reply, whole)
}

fn whole(reply: &v1::ExplainDecisionResponse, width: Option<usize>) -> String {
    let mut text = decision(reply, width);
    if let Some(error) = &reply.error {
        text.push_str(&diagnostic("error", error));
    }
    if reply.candidates.is_empty() {
        text.push_str("\nno peer could be asked\n");
    } else {
        text.push_str("\ncandidates:\n");
        text.push_str(&candidates(reply, width));
    }
    if !reply.left_out.is_empty() {
        text.push_str("\nleft out:\n");
        text.push_str(&left_out(&reply.left_out).render(width));
    }
    text
}

/// The answer, and what was asked.
fn decision(reply: &v1::ExplainDecisionResponse, width: Option<usize>) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let size = human::bytes(reply.size.into());
    let mut about = format!("{} (piece {}, {size})", reply.chunk, reply.piece);
    if reply.state != "missing" {
        about.push_str(&format!(
            "; its state is {}, and this is as if it were missing",
            reply.state
        ));
    }
    let known = human::count(reply.availability.into(), "peer");
    block_within(
        width,
        [
            ("chunk", about),
            ("had by", known),
            ("policy", or_dash(&reply.policy)),
            (
                "outcome",
                format!(
                    "{}, in {}",
                    human::word(reply.outcome().as_str_name(), "OUTCOME_"),
                    human::micros(reply.spent_us.into())
                ),
            ),
            ("chosen", human::address(reply.chosen.as_ref())),
            ("reason", or_dash(&reply.reason)),
            ("default", human::address(reply.default_choice.as_ref())),
        ],
    )
}

fn candidates(reply: &v1::ExplainDecisionResponse, width: Option<usize>) -> String {
    let scored = reply.candidates.iter().any(|peer| peer.score.is_some());
    let mut columns = vec![Column::Tail("  PEER")];
    if scored {
        columns.push(Column::Right("SCORE"));
    }
    columns.extend([
        Column::Right("UPLOADED"),
        Column::Right("SLOTS"),
        Column::Right("RATE"),
        Column::Right("RTT"),
        Column::Left("FAILS"),
        Column::Elastic("LABELS"),
    ]);
    let mut grid = Grid::new(columns);
    for peer in &reply.candidates {
        let mut cells =
            vec![format!("{} {}", mark(reply, peer), human::address(peer.peer.as_ref()))];
        if scored {
            cells.push(peer.score.map_or_else(|| "-".to_owned(), human::number));
        }
        cells.extend([
            format!(
                "{}{}",
                if peer.estimated { "~" } else { "" },
                human::short_bytes(peer.uploaded)
            ),
            format!("{}/{}", peer.inflight, peer.slots),
            human::short_rate(peer.rate_bps),
            short_micros(peer.rtt_us),
            fails(peer),
            human::pairs(&peer.labels),
        ]);
        grid.row(cells);
    }
    grid.render(width)
}

/// `*` for the chosen peer, `d` for whom the default policy would choose.
fn mark(reply: &v1::ExplainDecisionResponse, peer: &v1::ExplainedPeer) -> char {
    if peer.peer.is_none() {
        ' '
    } else if peer.peer == reply.chosen {
        '*'
    } else if peer.peer == reply.default_choice {
        'd'
    } else {
        ' '
    }
}

/// `2`, `3 tried` where it failed this very chunk.
fn fails(peer: &v1::ExplainedPeer) -> String {
    format!("{}{}", peer.failures, if peer.tried { " tried" } else { "" })
}

/// A latency without a space; `-` where not known.
fn short_micros(us: u64) -> String {
    if us == 0 { "-".to_owned() } else { human::micros(us).replace(' ', "") }
}

fn left_out(peers: &[v1::LeftOutPeer]) -> Grid {
    let mut grid =
        Grid::new([Column::Tail("PEER"), Column::Left("WHY"), Column::Elastic("DETAIL")]);
    for peer in peers {
        grid.row([
            human::address(peer.peer.as_ref()),
            human::word(peer.why().as_str_name(), "LEFT_OUT_"),
            if peer.detail.is_empty() { "-".to_owned() } else { peer.detail.clone() },
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
    fn at(ip: &str) -> Option<v1::PeerAddress> {
        Some(v1::PeerAddress { ip: ip.to_owned(), port: 7000 })
    }

    fn candidate(ip: &str, score: Option<f64>) -> v1::ExplainedPeer {
        v1::ExplainedPeer {
            peer: at(ip),
            labels: HashMap::from([("zone".to_owned(), "a\n".to_owned())]),
            uploaded: 1 << 30,
            inflight: 3,
            slots: 64,
            rate_bps: 41 << 20,
            rtt_us: 12_300,
            failures: 12,
            tried: true,
            estimated: true,
            score,
            ..v1::ExplainedPeer::default()
        }
    }

    fn reply() -> v1::ExplainDecisionResponse {
        v1::ExplainDecisionResponse {
            chunk: "film.webm.part3".to_owned(),
            piece: 2,
            state: "missing".to_owned(),
            size: 524_288,
            availability: 3,
            policy: "near.lua".to_owned(),
            outcome: v1::Outcome::Chosen.into(),
            chosen: at("192.168.100.181"),
            reason: "in the zone".to_owned(),
            default_choice: at("192.168.100.182"),
            spent_us: 12,
            candidates: vec![
                candidate("192.168.100.181", Some(1234.5)),
                candidate("192.168.100.182", None),
            ],
            left_out: vec![v1::LeftOutPeer {
                peer: at("10.0.0.4"),
                why: v1::LeftOut::NoSlot.into(),
                detail: "4 of 4 slots are in use".to_owned(),
                ..v1::LeftOutPeer::default()
            }],
            ..v1::ExplainDecisionResponse::default()
        }
    }

    #[test]
    fn the_chosen_peer_and_the_defaults_are_marked_in_80_columns() {
        let text = whole(&reply(), Some(80));
        assert!(text.starts_with("chunk:   film.webm.part3 (piece 2, 512.0 KiB)\n"), "{text}");
        assert!(text.contains("outcome: chosen, in 12 µs\n"), "{text}");
        assert!(text.contains("\n* 192.168.100.181:7000 "), "{text}");
        assert!(text.contains("\nd 192.168.100.182:7000 "), "{text}");
        assert!(text.contains(" 12 tried  zone=a\u{fffd}\n"), "{text}");
        assert!(text.contains("10.0.0.4:7000  no slot  4 of 4 slots are in use\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn scores_have_a_column_only_where_there_are_any() {
        let mut unscored = reply();
        assert!(whole(&unscored, None).contains("SCORE"));
        unscored.candidates.iter_mut().for_each(|peer| peer.score = None);
        assert!(!whole(&unscored, None).contains("SCORE"));
        unscored.candidates.clear();
        unscored.state = "have".to_owned();
        let text = whole(&unscored, None);
        assert!(
            text.contains("no peer could be asked") && text.contains("its state is have"),
            "{text}"
        );
    }
}
