//! Canonical proto JSON of every message, through the descriptor set. Never here: where it goes.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use shoal::v1;

/// A message that a node sends, by its name in the descriptor set.
pub(crate) trait Reply: Message {
    /// The full name, `shoal.v1.PingResponse`.
    const NAME: &'static str;
}

macro_rules! replies {
    ($($name:ident)*) => {
        $(impl Reply for v1::$name {
            const NAME: &'static str = concat!("shoal.v1.", stringify!($name));
        })*

        /// The names of every reply that can be shown.
        #[cfg(test)]
        pub(crate) const REPLIES: &[&str] = &[$(v1::$name::NAME),*];
    };
}

replies! {
    ConnectTrackerResponse GetPeerSetResponse UpdateStatusToTrackerResponse
    DisconnectTrackerResponse QuitTorrentResponse ConnectPeerResponse PingResponse
    RequestDownloadResponse DisconnectPeerResponse CheckTrackerConnectedResponse
    CheckTargetPeerConnectedResponse SeeThisPeerInfoResponse SeePeerSetResponse
    SeeConnectedResponse SeeChunkStatusResponse MergeChunksResponse AutoDownloadResponse
    CreateTorrentResponse AddTorrentResponse ListTorrentsResponse GetTorrentResponse
    VerifyTorrentResponse PauseTorrentResponse ResumeTorrentResponse RemoveTorrentResponse
    SelectFilesResponse ListJobsResponse CancelJobResponse
    ListSwarmsResponse GetSwarmResponse
    GetInfoResponse WatchEventsResponse ShutdownResponse GetSettingsResponse
    UpdateSettingsResponse
    ValidatePolicyResponse SetPolicyResponse GetPolicyResponse ResetPolicyResponse
    ListPoliciesResponse ExplainDecisionResponse WatchDecisionsResponse TestPolicyResponse
    BenchPolicyResponse SimulatePolicyResponse
    CreateTokenResponse ListTokensResponse RevokeTokenResponse
}

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Indented, over several lines.
    Pretty,
    /// One line.
    Line,
}

/// The canonical proto JSON of a reply: names in lowerCamelCase, 64-bit integers as strings, default
/// values included.
///
/// # Errors
/// A message that JSON cannot hold, such as a time beyond the year 9999.
pub(crate) fn document<R: Reply>(reply: &R, layout: Layout) -> Result<String, String> {
    let pool = POOL.as_ref().map_err(Clone::clone)?;
    let kind = pool
        .get_message_by_name(R::NAME)
        .ok_or_else(|| format!("{} is not in the descriptor set", R::NAME))?;
    let message = DynamicMessage::decode(kind, reply.encode_to_vec().as_slice())
        .map_err(|e| format!("{} does not decode: {e}", R::NAME))?;
    let options =
        SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(true);
    let mut bytes = Vec::new();
    let done = match layout {
        Layout::Pretty => message
            .serialize_with_options(&mut serde_json::Serializer::pretty(&mut bytes), &options),
        Layout::Line => {
            message.serialize_with_options(&mut serde_json::Serializer::new(&mut bytes), &options)
        }
    };
    done.map_err(|e| format!("{} has no JSON form: {e}", R::NAME))?;
    String::from_utf8(bytes).map_err(|e| format!("{} has no JSON form: {e}", R::NAME))
}

static POOL: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    DescriptorPool::decode(v1::DESCRIPTOR_SET).map_err(|e| format!("descriptor set: {e}"))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_of_every_method_has_a_name() {
        let pool = POOL.as_ref().unwrap();
        let mut outputs: Vec<String> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| method.output().full_name().to_owned())
            .collect();
        let mut named: Vec<String> = REPLIES.iter().map(|&name| name.to_owned()).collect();
        outputs.sort();
        named.sort();
        assert_eq!(outputs, named);
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
        let text = document(&reply, Layout::Pretty).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
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
        let text = document(&reply, Layout::Line).unwrap();
        assert!(text.contains("\"metainfo\":\"ZDQ6aW5mb2Rl\""), "{text}");
        assert!(!text.contains('\n'));
        let info = v1::GetInfoResponse {
            started_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            ..v1::GetInfoResponse::default()
        };
        let text = document(&info, Layout::Line).unwrap();
        assert!(text.contains("\"startedAt\":\"1970-01-01T00:00:00Z\""), "{text}");
    }
}
