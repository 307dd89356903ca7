//! Descriptors of a node, by gRPC server reflection. Never here: what they say.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use shoal::client::{Connection, REPLY_LEN_MAX};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::Api;
use crate::{failure::Failure, session::Session};

/// Most files that a node may describe itself by.
const FILES_MAX: usize = 256;

/// The API as the node describes it, or, where it does not, as this program knows it.
///
/// # Errors
/// The node cannot be reached, or refuses to answer; its descriptors contradict each other.
pub(crate) async fn of_node(s: &Session<'_>) -> Result<Api, Failure> {
    let mut client =
        ServerReflectionClient::new(s.connection()).max_decoding_message_size(REPLY_LEN_MAX);
    let files = s.unary(async { files(&mut client).await.map(tonic::Response::new) }).await;
    let files = match files {
        Ok(files) => files,
        Err(failure) if failure.is_unimplemented() => return Api::built_in(),
        Err(failure) => return Err(failure),
    };
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files.into_values())
        .map_err(|e| Failure::internal(format!("the node's descriptors: {e}")))?;
    Ok(Api { pool, by_node: true })
}

type Client = ServerReflectionClient<Connection>;

/// The files of every service, and those that they import.
async fn files(client: &mut Client) -> Result<BTreeMap<String, FileDescriptorProto>, Status> {
    let mut services = Vec::new();
    for answer in ask(client, vec![MessageRequest::ListServices(String::new())]).await? {
        if let MessageResponse::ListServicesResponse(list) = answer {
            services.extend(list.service.into_iter().map(|service| service.name));
        }
    }
    let mut files = BTreeMap::new();
    let mut asked: Vec<MessageRequest> =
        services.into_iter().map(MessageRequest::FileContainingSymbol).collect();
    while !asked.is_empty() {
        for answer in ask(client, std::mem::take(&mut asked)).await? {
            if let MessageResponse::FileDescriptorResponse(found) = answer {
                for bytes in found.file_descriptor_proto {
                    let file = FileDescriptorProto::decode(bytes.as_slice())
                        .map_err(|e| Status::internal(format!("a descriptor: {e}")))?;
                    files.insert(file.name().to_owned(), file);
                }
            }
        }
        if files.len() > FILES_MAX {
            return Err(Status::resource_exhausted("the node describes itself by too many files"));
        }
        let missing = files.values().flat_map(|file: &FileDescriptorProto| &file.dependency);
        let missing = missing.filter(|name| !files.contains_key(*name)).cloned();
        let missing: std::collections::BTreeSet<String> = missing.collect();
        asked = missing.into_iter().map(MessageRequest::FileByFilename).collect();
    }
    Ok(files)
}

/// An answer to each of the requests.
async fn ask(
    client: &mut Client,
    requests: Vec<MessageRequest>,
) -> Result<Vec<MessageResponse>, Status> {
    let count = requests.len();
    let requests = requests.into_iter().map(|request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    });
    let requests: Vec<_> = requests.collect();
    let reply = client.server_reflection_info(tokio_stream::iter(requests)).await?;
    let mut stream = reply.into_inner();
    let mut answers = Vec::new();
    while answers.len() < count {
        let Some(message) = stream.message().await? else { break };
        match message.message_response {
            Some(MessageResponse::ErrorResponse(error)) => {
                return Err(Status::new(Code::from_i32(error.error_code), error.error_message));
            }
            Some(answer) => answers.push(answer),
            None => {}
        }
    }
    if answers.len() < count {
        return Err(Status::internal("the node ended the stream of descriptors"));
    }
    Ok(answers)
}
