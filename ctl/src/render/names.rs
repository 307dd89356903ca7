//! The identifiers in a message, and the list that it is of: by a path of fields. Never here: which
//! path is whose.

use std::net::{IpAddr, SocketAddr};

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::clean::clean;

/// The identifiers that `path` leads to, one a line. What is empty has no line.
pub(super) fn of(message: &DynamicMessage, path: &str) -> String {
    let mut found = Vec::new();
    for path in path.split('|') {
        let (list, field) = split(path);
        match items(message, path) {
            Some(items) => items.iter().for_each(|item| gather(item, field, &mut found)),
            None => gather(message, list, &mut found),
        }
        found.retain(|name| !name.is_empty());
        if !found.is_empty() {
            break;
        }
    }
    found.iter().map(|name| format!("{}\n", plain(name))).collect()
}

/// The items of the list that a path goes through; `None` where it goes through none.
pub(super) fn items(message: &DynamicMessage, path: &str) -> Option<Vec<DynamicMessage>> {
    let (list, _) = path.split_once("[]")?;
    let Some(Value::List(items)) = follow(message, list) else { return Some(Vec::new()) };
    Some(items.iter().filter_map(|item| item.as_message().cloned()).collect())
}

/// An identifier as a line of its own, harmless for a terminal.
pub(super) fn plain(name: &str) -> String {
    clean(name).into_owned()
}

/// The path to a list, and the one within each item.
fn split(path: &str) -> (&str, &str) {
    path.split_once("[]").map_or((path, ""), |(list, field)| (list, field.trim_start_matches('.')))
}

/// What a path of fields leads to; `None` where a message on the way is absent.
fn follow(message: &DynamicMessage, path: &str) -> Option<Value> {
    let mut value = Value::Message(message.clone());
    for field in path.split('.').filter(|field| !field.is_empty()) {
        let inner = value.as_message()?;
        let field = inner.descriptor().get_field_by_name(field)?;
        if field.supports_presence() && !inner.has_field(&field) {
            return None;
        }
        value = inner.get_field(&field).into_owned();
    }
    Some(value)
}

fn gather(message: &DynamicMessage, path: &str, found: &mut Vec<String>) {
    match follow(message, path) {
        Some(Value::List(values)) => found.extend(values.iter().map(name)),
        Some(value) => found.push(name(&value)),
        None => {}
    }
}

/// An identifier as the command line takes it.
fn name(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::Message(message) => named(message),
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_)
        | Value::List(_)
        | Value::Map(_) => String::new(),
    }
}

/// A peer by its address, a chunk by its first name or its index.
fn named(message: &DynamicMessage) -> String {
    let text = |field: &str| match message.get_field_by_name(field).as_deref() {
        Some(Value::String(text)) => text.clone(),
        Some(Value::U32(number)) => number.to_string(),
        Some(Value::List(values)) => values.first().map(name).unwrap_or_default(),
        _ => String::new(),
    };
    if message.descriptor().full_name() == "shoal.v1.ChunkStatus" {
        let first = text("names");
        return if first.is_empty() { format!("@{}", text("index")) } else { first };
    }
    let (ip, port) = (text("ip"), text("port"));
    match (ip.parse::<IpAddr>(), port.parse::<u16>()) {
        (Ok(ip), Ok(port)) => SocketAddr::new(ip, port).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use shoal::v1;

    use super::*;
    use crate::{
        methods::{ENTRIES, Knows},
        render::{Reply, dynamic, pool},
    };

    fn check<R: Reply>(reply: &R, path: &str, names: &str) {
        assert_eq!(of(&dynamic(reply).unwrap(), path), names, "{path}");
    }

    #[test]
    fn identifiers_are_found_by_their_path() {
        let at = |ip: &str| Some(v1::PeerAddress { ip: ip.to_owned(), port: 7000 });
        let conn = |ip| v1::Connection { peer: at(ip), ..v1::Connection::default() };
        let connections = vec![conn("10.0.0.2"), conn("2001:db8::1"), conn("no address")];
        let reply = v1::SeeConnectedResponse { connections, ..Default::default() };
        check(&reply, "connections[].peer", "10.0.0.2:7000\n[2001:db8::1]:7000\n");
        let chunk = |names: &[&str], index| v1::ChunkStatus {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            index,
            ..v1::ChunkStatus::default()
        };
        let chunks = vec![chunk(&["a\u{1b}.part1", "b.part1"], 0), chunk(&[], 1)];
        let reply = v1::SeeChunkStatusResponse { chunks, ..Default::default() };
        check(&reply, "chunks[]", "a\u{fffd}.part1\n@1\n");
        let job = Some(v1::Job { id: u64::MAX, ..v1::Job::default() });
        check(&v1::CancelJobResponse { job }, "job.id", "18446744073709551615\n");
        check(&v1::CancelJobResponse { job: None }, "job.id", "");
        check(&v1::GetPeerSetResponse::default(), "set.peers[].address", "");
    }

    #[test]
    fn the_second_path_is_for_where_the_first_leads_nowhere() {
        let tracker_address = "10.0.0.1:7001".to_owned();
        let mut info = v1::GetInfoResponse { tracker_address, ..Default::default() };
        check(&info, "peer_address|tracker_address", "10.0.0.1:7001\n");
        info.peer_address = "10.0.0.1:7000".to_owned();
        check(&info, "peer_address|tracker_address", "10.0.0.1:7000\n");
    }

    #[test]
    fn every_path_of_the_table_leads_to_an_identifier() {
        for entry in ENTRIES.iter().filter(|entry| !entry.method.is_empty()) {
            let Knows::Names(paths) = entry.knows else { continue };
            let (service, method) = entry.method.split_once('.').unwrap();
            let service = pool().unwrap().get_service_by_name(&format!("shoal.v1.{service}"));
            let service = service.unwrap_or_else(|| panic!("no service of {}", entry.method));
            let method = service.methods().find(|found| found.name() == method).unwrap();
            for path in paths.split('|') {
                let mut kind = Some(method.output());
                for step in path.split('.') {
                    let message = kind.take().unwrap_or_else(|| panic!("{path} goes too far"));
                    let (field, list) =
                        step.strip_suffix("[]").map_or((step, false), |field| (field, true));
                    let field = message
                        .get_field_by_name(field)
                        .unwrap_or_else(|| panic!("{}: no {step}", message.full_name()));
                    assert!(field.is_list() || !list, "{path}: {step} is no list");
                    kind = field.kind().as_message().cloned();
                }
                if let Some(kind) = kind {
                    let known = ["shoal.v1.PeerAddress", "shoal.v1.ChunkStatus"];
                    assert!(known.contains(&kind.full_name()), "{path} leads to a message");
                }
            }
        }
    }
}
