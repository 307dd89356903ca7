//! `shoalctl events`: a line for each thing that happens. Never here: a summary of them.

use shoal::v1::{self, watch_events_response::Item};

use crate::{clean::clean, cli::node::EventsArgs, failure::Failure, human, session::Session};

pub(super) async fn follow(s: &mut Session<'_>, args: &EventsArgs) -> Result<(), Failure> {
    let kinds = args.kinds.iter().map(|&kind| v1::EventKind::from(kind).into()).collect();
    let request = s.long_request(v1::WatchEventsRequest {
        torrent: s.select(args.target.torrent.as_deref()),
        kinds,
        after_revision: args.after,
        epoch: args.epoch.clone().unwrap_or_default(),
    });
    let mut stream = s.streaming(s.node().watch_events(request)).await?;
    loop {
        let message = match (s.next(&mut stream).await, &s.interrupt_note) {
            (Ok(Some(message)), _) => message,
            (Ok(None), _) => break,
            (Err(failure), Some(note)) => return Err(failure.with_hint(note.as_str())),
            (Err(failure), None) => return Err(failure),
        };
        s.interrupt_note = Some(format!(
            "shoalctl events --after {} --epoch {} takes up here",
            message.revision,
            clean(&message.epoch)
        ));
        show(s, &message)?;
    }
    Err(Failure::internal("the node ended the stream of events"))
}

fn show(s: &mut Session<'_>, message: &v1::WatchEventsResponse) -> Result<(), Failure> {
    if !s.format.is_table() {
        return s.step(message);
    }
    match &message.item {
        Some(Item::Snapshot(snapshot)) => {
            s.say(&format!(
                "at revision {}: {}, {} running{}",
                message.revision,
                human::count(snapshot.torrents.len() as u64, "torrent"),
                human::count(snapshot.jobs.len() as u64, "job"),
                if snapshot.more { ", and more" } else { "" },
            ));
            Ok(())
        }
        Some(Item::Event(event)) => s.write(&line(event)),
        Some(Item::Idle(_)) | None => Ok(()),
    }
}

/// `2026-05-04T10:20:30Z  chunk   verified   0123456789ab  3 chunks verified`.
fn line(event: &v1::Event) -> String {
    format!(
        "{}  {:<7}  {:<15}  {:<12}  {}\n",
        human::time(event.at.as_ref()),
        human::word(event.kind().as_str_name(), "EVENT_KIND_"),
        clean(&event.what),
        human::short_id(&event.info_hash),
        clean(&event.message),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_clean_line() {
        let event = v1::Event {
            kind: v1::EventKind::Peer.into(),
            at: Some(prost_types::Timestamp { seconds: 1_777_890_030, nanos: 5 }),
            info_hash: "0123456789abcdef".to_owned(),
            message: "peer\n\x1b[1m connected".to_owned(),
            what: "connected".to_owned(),
            detail: None,
        };
        assert_eq!(
            line(&event),
            "2026-05-04T10:20:30Z  peer     connected        0123456789ab  peer\u{fffd}\u{fffd}[1m connected\n"
        );
    }
}
