//! `NodeService` as it is served: WatchEvents sends bytes that were encoded once for all its
//! readers, which the generated server has no place for; all else is the generated server's.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{self, Poll},
};

use bytes::{BufMut as _, Bytes};
use shoal::v1::{WatchEventsRequest, node_service_server::NodeServiceServer};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    codegen::{Service, http},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstDecoder;

use super::{Context, Encoded, watch};
use crate::rpc::serve::REQUEST_LEN_MAX;

/// The path of the method that is served here.
const WATCH_EVENTS: &str = "/shoal.v1.NodeService/WatchEvents";

/// `NodeService` on a node.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct NodeRoutes {
    context: Context,
    generated: NodeServiceServer<Context>,
}

impl NodeRoutes {
    pub(in crate::rpc) fn new(context: Context) -> Self {
        let generated = NodeServiceServer::new(context.clone());
        Self { generated: generated.max_decoding_message_size(REQUEST_LEN_MAX), context }
    }
}

impl NamedService for NodeRoutes {
    const NAME: &'static str = <NodeServiceServer<Context> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for NodeRoutes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.generated, cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != WATCH_EVENTS {
            return self.generated.call(request);
        }
        let service = Watch(self.context.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(Preencoded).max_decoding_message_size(REQUEST_LEN_MAX);
            Ok(grpc.server_streaming(service, request).await)
        })
    }
}

struct Watch(Context);

impl ServerStreamingService<WatchEventsRequest> for Watch {
    type Response = Bytes;
    type ResponseStream = Encoded;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Encoded>, Status>> + Send>>;

    fn call(&mut self, request: Request<WatchEventsRequest>) -> Self::Future {
        let context = self.0.clone();
        Box::pin(async move { Ok(Response::new(watch(&context, request.into_inner()).await?)) })
    }
}

/// Sends what is a message already.
#[derive(Clone, Copy, Debug)]
struct Preencoded;

impl Codec for Preencoded {
    type Encode = Bytes;
    type Decode = WatchEventsRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<WatchEventsRequest>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for Preencoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}
