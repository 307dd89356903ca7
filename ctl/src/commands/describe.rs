//! `shoalctl describe`: services, methods, messages and their fields, for a person or a program. Never
//! here: where descriptors are from.

use std::io::Write as _;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};
use serde_json::{Value, json};

use crate::{
    api::{self, Api, Symbol, comment},
    cli::{Format, api::DescribeArgs},
    failure::Failure,
    grid::{Column, Grid, wrap},
    io::Io,
    methods,
    session::{Session, Shown},
};

/// Columns of a description that is no terminal's.
const WIDTH_DEFAULT: usize = 100;

/// How far the text of a comment stands to the right.
const INDENT: &str = "    ";

pub(super) async fn describe(s: &mut Session<'_>, args: &DescribeArgs) -> Result<(), Failure> {
    let api = if args.built_in { Api::built_in()? } else { api::of_node(s).await? };
    let shown = shown(&api, args, s.width())?;
    s.say(if api.by_node {
        "as the node describes itself; comments are those of this shoalctl"
    } else {
        "as this shoalctl knows it"
    });
    shown.write(s.io, s.format)
}

/// The same where no node is reached.
pub(crate) fn built_in(io: &mut Io, format: Format, args: &DescribeArgs) -> Result<(), Failure> {
    let shown = shown(&Api::built_in()?, args, None)?;
    if format.is_table() {
        // Where nobody listens, the description is written all the same.
        let _ = writeln!(io.stderr, "no node answers: as this shoalctl knows it");
    }
    shown.write(io, format)
}

fn shown(api: &Api, args: &DescribeArgs, width: Option<usize>) -> Result<Shown, Failure> {
    let Some(name) = &args.name else { return Ok(services(api, width)) };
    let symbol = api.symbol(name)?;
    if args.template {
        let message = match &symbol {
            Symbol::Method(method) => method.input(),
            Symbol::Message(message) => message.clone(),
            Symbol::Service(_) | Symbol::Enum(_) => {
                return Err(Failure::usage(format!("'{name}' is neither a method nor a message")));
            }
        };
        let text = api::template(&message);
        let value = serde_json::from_str(&text).map_err(|e| Failure::internal(e.to_string()))?;
        let names = vec![message.full_name().to_owned()];
        return Ok(Shown { value, list: "", names, text });
    }
    let width = width.unwrap_or(WIDTH_DEFAULT);
    Ok(match symbol {
        Symbol::Service(it) => service(&it, width),
        Symbol::Method(it) => method(&it, width),
        Symbol::Message(it) => message(&it, width),
        Symbol::Enum(it) => kind(&it, width),
    })
}

fn services(api: &Api, width: Option<usize>) -> Shown {
    let services = api.services();
    let mut text = String::new();
    for service in &services {
        let mut grid = Grid::new([Column::Left("METHOD"), Column::Elastic("")]);
        for method in service.methods() {
            grid.row([method.name().to_owned(), comment(method.full_name()).to_owned()]);
        }
        let rows = grid.render(width.map(|width| width.saturating_sub(2)));
        text.push_str(&format!("{}\n", service.full_name()));
        for row in rows.lines().skip(1) {
            text.push_str(&format!("  {row}\n"));
        }
    }
    Shown {
        value: json!({ "services": services.iter().map(service_value).collect::<Vec<_>>() }),
        list: "/services",
        names: services.iter().map(|service| service.full_name().to_owned()).collect(),
        text,
    }
}

fn service(service: &ServiceDescriptor, width: usize) -> Shown {
    let mut text = titled("service", service.full_name(), width);
    for method in service.methods() {
        text.push_str(&format!("\n{}\n", signature(&method)));
        text.push_str(&explained(comment(method.full_name()), width));
    }
    Shown {
        value: service_value(service),
        list: "/methods",
        names: service.methods().map(|method| api::spelled(&method)).collect(),
        text,
    }
}

fn method(method: &MethodDescriptor, width: usize) -> Shown {
    let mut text = format!("{}\n", signature(method));
    text.push_str(&explained(comment(method.full_name()), width));
    if let Some(command) = methods::command_of(method.full_name()) {
        text.push_str(&format!("\ncommand: shoalctl {command}\n"));
    }
    for side in [method.input(), method.output()] {
        text.push_str(&format!("\n{}", message_text(&side, width)));
    }
    let mut value = method_value(method);
    value["input"] = message_value(&method.input());
    value["output"] = message_value(&method.output());
    Shown { value, list: "", names: vec![api::spelled(method)], text }
}

fn message(message: &MessageDescriptor, width: usize) -> Shown {
    Shown {
        value: message_value(message),
        list: "/fields",
        names: message.fields().map(|field| field.json_name().to_owned()).collect(),
        text: message_text(message, width),
    }
}

fn kind(kind: &EnumDescriptor, width: usize) -> Shown {
    let mut text = titled("enum", kind.full_name(), width);
    for value in kind.values() {
        text.push_str(&format!("\n{} = {}\n", value.name(), value.number()));
        text.push_str(&explained(comment(value.full_name()), width));
    }
    let values = kind.values().map(|value| {
        json!({
            "name": value.name(),
            "number": value.number(),
            "comment": comment(value.full_name()),
        })
    });
    let values: Vec<Value> = values.collect();
    Shown {
        value: json!({
            "kind": "enum",
            "name": kind.full_name(),
            "comment": comment(kind.full_name()),
            "values": values,
        }),
        list: "/values",
        names: kind.values().map(|value| value.name().to_owned()).collect(),
        text,
    }
}

fn message_text(message: &MessageDescriptor, width: usize) -> String {
    let mut text = titled("message", message.full_name(), width);
    if message.fields().len() == 0 {
        text.push_str("  has no fields\n");
    }
    for field in message.fields() {
        text.push_str(&format!("  {}: {}\n", field.json_name(), type_of(&field)));
        text.push_str(&explained(comment(field.full_name()), width));
    }
    text
}

fn titled(what: &str, full_name: &str, width: usize) -> String {
    format!("{what} {full_name}\n{}", explained(comment(full_name), width))
}

/// A comment below what it is on, further right.
fn explained(comment: &str, width: usize) -> String {
    if comment.is_empty() {
        return String::new();
    }
    let room = width.saturating_sub(INDENT.len()).max(20);
    wrap(comment, room).iter().map(|line| format!("{INDENT}{line}\n")).collect()
}

/// `rpc NodeService/WatchEvents(WatchEventsRequest) returns (stream WatchEventsResponse)`.
fn signature(method: &MethodDescriptor) -> String {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    format!(
        "rpc {}({}{}) returns ({}{})",
        api::spelled(method),
        stream(method.is_client_streaming()),
        method.input().name(),
        stream(method.is_server_streaming()),
        method.output().name(),
    )
}

/// The kind of a field's values: `string`, `repeated Torrent`, `map<string, string>`.
fn type_of(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let key = kind_name(&entry.map_entry_key_field().kind());
        return format!("map<{key}, {}>", kind_name(&entry.map_entry_value_field().kind()));
    }
    let name = kind_name(&field.kind());
    match field.containing_oneof() {
        Some(oneof) if oneof.is_synthetic() => format!("optional {name}"),
        Some(oneof) => format!("{name}, one of {}", oneof.name()),
        None if field.is_list() => format!("repeated {name}"),
        None => name,
    }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => short(message.full_name()),
        Kind::Enum(kind) => short(kind.full_name()),
        Kind::Double => "double".to_owned(),
        Kind::Float => "float".to_owned(),
        Kind::Int32 => "int32".to_owned(),
        Kind::Int64 => "int64".to_owned(),
        Kind::Uint32 => "uint32".to_owned(),
        Kind::Uint64 => "uint64".to_owned(),
        Kind::Sint32 => "sint32".to_owned(),
        Kind::Sint64 => "sint64".to_owned(),
        Kind::Fixed32 => "fixed32".to_owned(),
        Kind::Fixed64 => "fixed64".to_owned(),
        Kind::Sfixed32 => "sfixed32".to_owned(),
        Kind::Sfixed64 => "sfixed64".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
    }
}

/// Without the package, where it is shoal's.
fn short(full_name: &str) -> String {
    let prefix = format!("{}.", api::PACKAGE);
    full_name.strip_prefix(&prefix).unwrap_or(full_name).to_owned()
}

fn service_value(service: &ServiceDescriptor) -> Value {
    json!({
        "kind": "service",
        "name": service.full_name(),
        "comment": comment(service.full_name()),
        "methods": service.methods().map(|method| method_value(&method)).collect::<Vec<_>>(),
    })
}

fn method_value(method: &MethodDescriptor) -> Value {
    json!({
        "kind": "method",
        "name": method.full_name(),
        "comment": comment(method.full_name()),
        "command": methods::command_of(method.full_name()),
        "request": method.input().full_name(),
        "reply": method.output().full_name(),
        "clientStreaming": method.is_client_streaming(),
        "serverStreaming": method.is_server_streaming(),
    })
}

fn message_value(message: &MessageDescriptor) -> Value {
    let field = |field: FieldDescriptor| {
        json!({
            "name": field.json_name(),
            "number": field.number(),
            "type": type_of(&field),
            "comment": comment(field.full_name()),
        })
    };
    json!({
        "kind": "message",
        "name": message.full_name(),
        "comment": comment(message.full_name()),
        "fields": message.fields().map(field).collect::<Vec<_>>(),
    })
}
