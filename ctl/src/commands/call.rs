//! `shoalctl call`: any method, by the descriptors of the node. Never here: what a method means.

use std::path::Path;

use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::codegen::http::uri::PathAndQuery;

use crate::{
    api::{self, Dynamic},
    cli::{Format, api::CallArgs},
    failure::Failure,
    files::read_bounded,
    methods::{self, Knows},
    render::Place,
    session::Session,
};

/// Longest request that is read, bytes: what a node takes of a message.
const REQUEST_LEN_MAX: u64 = 17 * 1024 * 1024;

pub(super) async fn call(s: &mut Session<'_>, args: &CallArgs) -> Result<(), Failure> {
    let api = api::of_node(s).await?;
    let method = api.method(&args.method)?;
    let knows = methods::of_method(method.full_name());
    if s.format == Format::Name && !knows.has(Format::Name) {
        let name = api::spelled(&method);
        return Err(Failure::usage(format!(
            "{name} says nothing that identifies anything: it has no -o name"
        )));
    }
    if method.is_client_streaming() {
        return Err(Failure::usage(format!("{} takes a stream", api::spelled(&method))));
    }
    let request = api::read(&method.input(), &text(s, &args.request).await?)?;
    // For a person the document is as readable as it gets.
    if s.format.is_table() {
        s.format = Format::Json;
    }
    if method.is_server_streaming() {
        stream(s, &method, request, knows).await
    } else {
        unary(s, &method, request, knows).await
    }
}

async fn text(s: &mut Session<'_>, given: &str) -> Result<String, Failure> {
    if given == "-" {
        let mut text = String::new();
        while let Some(line) = s.io.read_line().await.map_err(|e| Failure::stdio(&e))? {
            text.push_str(&line);
            text.push('\n');
        }
        return Ok(text);
    }
    let Some(path) = given.strip_prefix('@').map(Path::new) else { return Ok(given.to_owned()) };
    String::from_utf8(read_bounded(path, REQUEST_LEN_MAX)?)
        .map_err(|_| Failure::invalid(format!("{} is not UTF-8", path.display())))
}

async fn unary(
    s: &mut Session<'_>,
    method: &MethodDescriptor,
    request: DynamicMessage,
    knows: Knows,
) -> Result<(), Failure> {
    let (path, codec) = way(method)?;
    let request = s.long_request(request);
    let mut client = s.any();
    let reply = s
        .patient(async {
            client.ready().await.map_err(|e| tonic::Status::from_error(e.into()))?;
            client.unary(request, path, codec).await
        })
        .await?;
    s.message(&reply, knows, Place::Alone)
}

async fn stream(
    s: &mut Session<'_>,
    method: &MethodDescriptor,
    request: DynamicMessage,
    knows: Knows,
) -> Result<(), Failure> {
    let (path, codec) = way(method)?;
    let request = s.long_request(request);
    let mut client = s.any();
    let mut stream = s
        .streaming(async {
            client.ready().await.map_err(|e| tonic::Status::from_error(e.into()))?;
            client.server_streaming(request, path, codec).await
        })
        .await?;
    while let Some(message) = s.next(&mut stream).await? {
        s.message(&message, knows, Place::Among)?;
    }
    Ok(())
}

fn way(method: &MethodDescriptor) -> Result<(PathAndQuery, Dynamic), Failure> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).map_err(|e| Failure::internal(e.to_string()))?;
    Ok((path, Dynamic { reply: method.output() }))
}
