//! What holds for every method, by walking the descriptor: pages, details of errors, deadlines,
//! callers that go away. Never here: what a method does.

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    MethodDescriptor, Value,
};
use shoal::{client::Connection, v1};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};
use tonic_types::StatusExt as _;

use crate::harness::{CHUNK, Host, PATIENCE, Party, metainfo, refusal, sample, within};

/// Replies with a list that no page ends, and what bounds it.
const BOUNDED: [(&str, &str); 5] = [
    ("GetPolicyResponse", "policies of torrents: 1 000"),
    ("ValidatePolicyResponse", "what one script has, which is 256 KiB at most"),
    ("ExplainDecisionResponse", "peers of one decision: the connections of a torrent"),
    ("TestPolicyResponse", "what the file itself has"),
    ("BenchPolicyResponse", "one a count of candidates"),
];

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(v1::DESCRIPTOR_SET).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "shoal.v1");
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn is_paged(method: &MethodDescriptor) -> bool {
    method.output().get_field_by_name("next_page_token").is_some()
}

#[test]
fn every_list_has_pages() {
    let bounded: BTreeMap<_, _> = BOUNDED.into();
    for method in methods() {
        let (name, input, output) = (method.full_name(), method.input(), method.output());
        let is = |message: &MessageDescriptor, field: &str, kind: Kind| {
            message.get_field_by_name(field).is_some_and(|field| field.kind() == kind)
        };
        let named = method.name().starts_with("List");
        let lists =
            |field: &FieldDescriptor| field.is_list() && matches!(field.kind(), Kind::Message(_));
        let lists = !method.is_server_streaming() && output.fields().any(|field| lists(&field));
        if named || (lists && !bounded.contains_key(output.name())) {
            assert!(is(&output, "next_page_token", Kind::String), "{name}: its list has no pages");
        }
        if is_paged(&method) {
            assert!(is(&input, "page_size", Kind::Uint32), "{name}: no page_size");
            assert!(is(&input, "page_token", Kind::String), "{name}: no page_token");
        }
    }
}

/// A node in each role, with a torrent.
struct Nodes {
    party: Party,
    leecher: Host,
}

impl Nodes {
    async fn start() -> Self {
        let party = Party::new().await;
        let url = party.announce_url().await;
        let file = metainfo("file1.webm", &sample(3 * CHUNK as usize, 1), CHUNK, &[&url]);
        let leecher = party.leecher("leecher", &file).await;
        leecher.connect_tracker().await;
        Self { party, leecher }
    }

    fn of(&self, method: &MethodDescriptor) -> &Host {
        match method.parent_service().name() {
            "TrackerService" => &self.party.tracker,
            _ => &self.leecher,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_its_limits() {
    let nodes = Nodes::start().await;
    for method in methods().iter().filter(|method| is_paged(method)) {
        let node = nodes.of(method);
        for (field, value) in
            [("page_size", Value::U32(1001)), ("page_token", Value::String("zz".to_owned()))]
        {
            let mut request = DynamicMessage::new(method.input());
            request.set_field_by_name(field, value);
            let name = method.full_name();
            let refused = first(node.channel(), method, request.encode_to_vec()).await;
            let refused = refused.expect_err(name);
            let details = refused.get_error_details();
            let named = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
            assert_eq!(
                (refused.code(), named.as_deref()),
                (Code::InvalidArgument, Some(field)),
                "{name}"
            );
        }
    }
}

/// Simulations and benchmarks take their time with any request; their own tests have their errors.
const SLOW: [&str; 2] = ["BenchPolicy", "TestPolicy"];

#[tokio::test(flavor = "multi_thread")]
async fn every_error_says_why_to_a_program() {
    let nodes = Nodes::start().await;
    let empty = nodes.party.peer("empty").await;
    let methods = methods();
    let asked = methods.iter().filter(|method| method.name() != "Shutdown");
    let mut errors = 0;
    for method in asked.filter(|method| !SLOW.contains(&method.name())) {
        let nonsense = nonsense(&method.input(), 3).encode_to_vec();
        for request in [Vec::new(), nonsense, vec![0xff]] {
            for node in [&nodes.party.tracker, &empty, &nodes.leecher] {
                if let Err(status) = first(node.channel(), method, request.clone()).await {
                    // Panics where there is none of ours.
                    let (_, reason, message) = refusal(&status);
                    assert!(!reason.is_empty() && !message.is_empty(), "{status:?}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 3 * methods.len(), "only {errors} errors of {} methods", methods.len());
    let path = PathAndQuery::from_static("/shoal.v1.NodeService/Swim");
    let refused = call(empty.channel(), path, Vec::new()).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "UNKNOWN_METHOD");
    let path = PathAndQuery::from_static("/shoal.v1.SwimService/Swim");
    let refused = call(empty.channel(), path, Vec::new()).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "UNKNOWN_METHOD");
    let path = PathAndQuery::from_static("/shoal.v1.NodeService/GetInfo");
    let refused = call(empty.channel(), path, vec![0; 18 << 20]).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "REQUEST_TOO_LARGE");
}

/// A message whose fields hold what nobody means.
fn nonsense(message: &MessageDescriptor, depth: u8) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let value = match field.kind() {
            Kind::String => Value::String("\u{1}nonsense".to_owned()),
            Kind::Bytes => Value::Bytes(vec![0xff; 3].into()),
            Kind::Bool => Value::Bool(true),
            Kind::Enum(_) => Value::EnumNumber(999),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::MAX),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::MAX),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::MIN),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::MIN),
            Kind::Float => Value::F32(f32::NAN),
            Kind::Double => Value::F64(f64::NAN),
            Kind::Message(_) if depth == 0 => continue,
            Kind::Message(inner) => Value::Message(nonsense(&inner, depth - 1)),
        };
        let value = if field.is_map() {
            let value = Value::String("\u{1}nonsense".to_owned());
            Value::Map([(MapKey::String("\u{1}".to_owned()), value)].into())
        } else if field.is_list() {
            Value::List(vec![value])
        } else {
            value
        };
        // A map of anything but texts stays empty.
        let _ = filled.try_set_field(&field, value);
    }
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_does_not_wait_for_is_done_or_not_and_never_half() {
    let party = Party::new().await;
    let peer = party.peer("peer").await;
    for n in 0..40_u64 {
        let file = metainfo(&format!("{n}.bin"), &sample(CHUNK as usize, n), CHUNK, &[]);
        // Goes away at some moment from before the call is sent to after it was answered.
        let _ = tokio::time::timeout(Duration::from_micros(n * n * 5), peer.add(&file)).await;
        if n.is_multiple_of(2) {
            let torrent = format!("{n}.bin");
            let mut torrents = peer.torrents();
            let pause = torrents.pause_torrent(v1::PauseTorrentRequest { torrent });
            let _ = tokio::time::timeout(Duration::from_micros(n * n * 5), pause).await;
        }
        // Whatever became of it, doing it again is harmless, and it works as any other.
        let again = peer.add(&file).await.unwrap();
        let torrent = again.info_hash;
        let request = v1::PauseTorrentRequest { torrent: torrent.clone() };
        match peer.torrents().pause_torrent(request).await {
            Ok(paused) => {
                let state = paused.into_inner().torrent.unwrap().state();
                assert_eq!(state, v1::TorrentState::Paused);
            }
            Err(already) => assert_eq!(refusal(&already).1, "PAUSED"),
        }
        let request = v1::ResumeTorrentRequest { torrent: torrent.clone() };
        peer.torrents().resume_torrent(request).await.unwrap();
        let request = v1::RemoveTorrentRequest { torrent, delete_data: true };
        peer.torrents().remove_torrent(request).await.unwrap();
    }
    let list = peer.torrents().list_torrents(v1::ListTorrentsRequest::default()).await.unwrap();
    assert_eq!(list.into_inner().torrents, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn making_again_what_is_there_changes_nothing_and_says_so() {
    let party = Party::new().await;
    let (seeder, file) = party.seeder("file1.webm", &sample(3 * CHUNK as usize, 2)).await;
    let leecher = party.leecher("leecher", &file).await;
    let source = v1::add_torrent_request::Source::Metainfo(file.clone());
    let request = v1::AddTorrentRequest { source: Some(source), ..Default::default() };
    let again = leecher.torrents().add_torrent(request).await.unwrap().into_inner();
    assert!(again.already);
    let path = party.dir.path().join("data/file1.webm");
    let created = seeder.create(&path, &[party.announce_url().await]).await;
    assert_eq!(created, file, "the same torrent");
    assert!(!leecher.connect_peer(seeder.addr).await.already);
    assert!(leecher.connect_peer(seeder.addr).await.already);
    let info_hash = leecher.torrent().await.info_hash;
    let link = format!("magnet:?xt=urn:btih:{info_hash}&x.pe={}", seeder.addr);
    let source = v1::add_torrent_request::Source::Magnet(link);
    let request = v1::AddTorrentRequest { source: Some(source), ..Default::default() };
    let again = leecher.torrents().add_torrent(request).await.unwrap().into_inner();
    assert!(again.already);
    let list = leecher.torrents().list_torrents(v1::ListTorrentsRequest::default()).await.unwrap();
    assert_eq!(list.into_inner().torrents.len(), 1);
}

/// The first reply of a method, whether it streams or not.
async fn first(
    channel: Connection,
    method: &MethodDescriptor,
    request: Vec<u8>,
) -> Result<Option<Vec<u8>>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    within(PATIENCE, method.full_name(), call(channel, path.parse().unwrap(), request)).await
}

async fn call(
    channel: Connection,
    path: PathAndQuery,
    request: Vec<u8>,
) -> Result<Option<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(1 << 25);
    grpc.ready().await.unwrap();
    let reply = grpc.server_streaming(Request::new(request), path, Raw).await?;
    reply.into_inner().message().await
}

/// Messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(into, &message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use prost::bytes::Buf as _;
        Ok(Some(from.copy_to_bytes(from.remaining()).into()))
    }
}
