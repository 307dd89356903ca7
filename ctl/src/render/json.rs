//! Canonical proto JSON of a message. Never here: where it goes.

use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::{Serialize, Serializer};

use crate::clean::escape_json;

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Indented, over several lines.
    Pretty,
    /// One line.
    Line,
}

/// A message in canonical proto JSON: names in lowerCamelCase, 64-bit integers as strings, default
/// values included.
pub(crate) struct Canonical<'a>(pub(crate) &'a DynamicMessage);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let options =
            SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(true);
        self.0.serialize_with_options(serializer, &options)
    }
}

/// A JSON document with a line feed behind it, harmless for a terminal.
///
/// # Errors
/// A message that JSON cannot hold.
pub(super) fn text(document: &impl Serialize, layout: Layout) -> Result<String, String> {
    let text = match layout {
        Layout::Pretty => serde_json::to_string_pretty(document),
        Layout::Line => serde_json::to_string(document),
    };
    let text = text.map_err(|e| format!("the reply has no JSON form: {e}"))?;
    Ok(format!("{}\n", escape_json(&text)))
}

#[cfg(test)]
mod tests {
    use shoal::v1;

    use super::*;
    use crate::render::{Reply, dynamic};

    fn json<R: Reply>(reply: &R, layout: Layout) -> String {
        text(&Canonical(&dynamic(reply).unwrap()), layout).unwrap()
    }

    #[test]
    fn json_is_canonical() {
        let reply = v1::AddTorrentResponse {
            torrent: Some(v1::Torrent {
                info_hash: "ab".repeat(20),
                name: "phim tài liệu".to_owned(),
                state: v1::TorrentState::DiskFull.into(),
                total_bytes: u64::MAX,
                ..v1::Torrent::default()
            }),
            already: false,
        };
        let json: serde_json::Value = serde_json::from_str(&json(&reply, Layout::Pretty)).unwrap();
        assert_eq!(json["already"], false);
        assert_eq!(json["torrent"]["totalBytes"], "18446744073709551615");
        assert_eq!(json["torrent"]["state"], "TORRENT_STATE_DISK_FULL");
        assert_eq!(json["torrent"]["name"], "phim tài liệu");
        assert_eq!(json["torrent"]["chunks"], 0);
        assert_eq!(json["torrent"]["downloadedBytes"], "0");
    }

    #[test]
    fn bytes_are_base64_times_are_text_and_lines_are_single() {
        let reply = v1::CreateTorrentResponse {
            metainfo: b"d4:infode".to_vec(),
            ..v1::CreateTorrentResponse::default()
        };
        let text = json(&reply, Layout::Line);
        assert!(text.contains("\"metainfo\":\"ZDQ6aW5mb2Rl\""), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        let info = v1::GetInfoResponse {
            started_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            ..v1::GetInfoResponse::default()
        };
        let text = json(&info, Layout::Line);
        assert!(text.contains("\"startedAt\":\"1970-01-01T00:00:00Z\""), "{text}");
    }
}
