//! `shoalctl policy trace`: a line for each decision. Never here: which decisions the node keeps.

use shoal::v1;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    clean::clean,
    cli::policy::TraceArgs,
    failure::Failure,
    grid::{shorten, shorten_head},
    human,
    session::Session,
};

pub(super) async fn trace(s: &mut Session<'_>, args: &TraceArgs) -> Result<(), Failure> {
    let torrent = Some(s.select(args.torrent.as_deref())).filter(|torrent| !torrent.is_empty());
    let request = s.long_request(v1::WatchDecisionsRequest { torrent, follow: args.follow });
    let mut stream = s.streaming(s.policy().watch_decisions(request)).await?;
    let mut lines: Option<Lines> = None;
    while let Some(message) = s.next(&mut stream).await? {
        if !s.format.is_table() {
            s.step(&message)?;
            continue;
        }
        if message.skipped > 0 {
            s.say(&format!("{} left out", human::count(message.skipped, "decision")));
        }
        if message.decisions.is_empty() {
            continue;
        }
        let mut text = String::new();
        let lines = lines.get_or_insert_with(|| {
            let lines = Lines::fitting(&message.decisions, s.width());
            text.push_str(&lines.title());
            lines
        });
        for decision in &message.decisions {
            text.push_str(&lines.line(decision));
        }
        s.write(&text)?;
    }
    if args.follow {
        return Err(Failure::internal("the node ended the stream of decisions"));
    }
    if lines.is_none() {
        s.say("no decision yet");
    }
    Ok(())
}

/// Columns of the time and the outcome, and at least of the number of candidates and the time spent.
const TIME: usize = 8;
const OUTCOME: usize = 9;
const OF: usize = 3;
const SPENT: usize = 4;

/// What stands between two columns.
const GAP: &str = "  ";

/// Fewest columns of a chunk's name and of a reason.
const FLEXIBLE_MIN: usize = 8;

/// Fewest and most columns of an address on a terminal.
const PEER_MIN: usize = 15;
const PEER_MAX: usize = 21;

/// The shape of lines that stand under one another although they come one by one: it is that of the
/// first decisions.
struct Lines {
    chunk: usize,
    peer: usize,
    /// Room for the reason; `None` where nothing is cut.
    reason: Option<usize>,
}

impl Lines {
    fn fitting(decisions: &[v1::Decision], width: Option<usize>) -> Self {
        let widest = |cell: fn(&v1::Decision) -> String, title: &str| {
            decisions.iter().map(|d| cell(d).width()).max().unwrap_or(0).max(title.len())
        };
        let chunk = widest(|decision| decision.chunk.clone(), "CHUNK");
        let peer = widest(|decision| human::address(decision.chosen.as_ref()), "PEER");
        let Some(width) = width else { return Self { chunk, peer, reason: None } };
        // Those to come may be longer.
        let (chunk, peer) = (chunk + 2, peer.clamp(PEER_MIN, PEER_MAX));
        let fixed = TIME + OUTCOME + peer + OF + SPENT + 6 * GAP.len();
        let room = width.saturating_sub(fixed).max(2 * FLEXIBLE_MIN);
        let chunk = chunk.min(room - FLEXIBLE_MIN).min(room * 2 / 3);
        Self { chunk, peer, reason: Some(room - chunk) }
    }

    fn title(&self) -> String {
        self.join(["TIME", "CHUNK", "OUTCOME", "PEER", "OF", "US", "REASON"].map(str::to_owned))
    }

    fn line(&self, decision: &v1::Decision) -> String {
        let at = human::time(decision.at.as_ref());
        let time = at.split_once('T').map_or(at.as_str(), |(_, time)| time.trim_end_matches('Z'));
        self.join([
            time.to_owned(),
            decision.chunk.clone(),
            human::word(decision.outcome().as_str_name(), "OUTCOME_"),
            human::address(decision.chosen.as_ref()),
            decision.candidates.to_string(),
            decision.spent_us.to_string(),
            decision.reason.clone(),
        ])
    }

    fn join(&self, cells: [String; 7]) -> String {
        let [time, mut chunk, outcome, mut peer, of, spent, mut reason] =
            cells.map(|cell| clean(&cell).into_owned());
        if let Some(room) = self.reason {
            chunk = shorten_head(&chunk, self.chunk);
            peer = shorten_head(&peer, self.peer);
            reason = shorten(&reason, room);
        }
        let line = [
            padded(&time, TIME),
            padded(&chunk, self.chunk),
            padded(&outcome, OUTCOME),
            padded(&peer, self.peer),
            format!("{of:>OF$}"),
            format!("{spent:>SPENT$}"),
            reason,
        ]
        .join(GAP);
        format!("{}\n", line.trim_end())
    }
}

/// `text` with spaces behind it; a wide character counts twice.
fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(chunk: &str, reason: &str) -> v1::Decision {
        v1::Decision {
            at: Some(prost_types::Timestamp { seconds: 1_777_890_030, nanos: 5 }),
            chunk: chunk.to_owned(),
            candidates: 41,
            outcome: v1::Outcome::Chosen.into(),
            chosen: Some(v1::PeerAddress { ip: "10.0.0.2".to_owned(), port: 7000 }),
            reason: reason.to_owned(),
            spent_us: 12,
            ..v1::Decision::default()
        }
    }

    #[test]
    fn decisions_stand_under_their_titles() {
        let first = [decision("film.part3", "near"), decision("film.part12", "")];
        let lines = Lines::fitting(&first, None);
        assert_eq!(
            lines.title(),
            "TIME      CHUNK        OUTCOME    PEER            OF    US  REASON\n"
        );
        assert_eq!(
            lines.line(&first[0]),
            "10:20:30  film.part3   chosen     10.0.0.2:7000   41    12  near\n"
        );
        let native = v1::Decision { chosen: None, at: None, ..decision("a", "b\nc") };
        assert_eq!(
            lines.line(&native),
            "-         a            chosen     -               41    12  b\u{fffd}c\n"
        );
    }

    #[test]
    fn lines_fit_a_terminal_and_a_chunk_keeps_its_end() {
        let long = decision(&"tài liệu ".repeat(9), &"because ".repeat(20));
        let chunk = decision("a film with a long name.webm.part118", "in the zone");
        for width in [80, 120] {
            let lines = Lines::fitting(&[long.clone(), chunk.clone()], Some(width));
            for decision in [&long, &chunk] {
                let line = lines.line(decision);
                assert!(line.trim_end().width() <= width, "{line}");
            }
            assert!(lines.line(&chunk).contains(".part118 "), "{}", lines.line(&chunk));
        }
    }

    #[test]
    fn an_address_has_room_though_the_first_decisions_chose_nobody() {
        let nobody = v1::Decision { chosen: None, ..decision("film.part9", "") };
        let lines = Lines::fitting(&[nobody], Some(80));
        let line = lines.line(&decision("film.part118", "in the zone"));
        assert!(line.contains("film.part118 "), "{line}");
        assert!(line.contains(" 10.0.0.2:7000 ") && line.contains("in the zone"), "{line}");
    }
}
