//! A connection that sends its token with every call.

use std::task::{Context, Poll};

use tonic::{
    body::Body,
    codegen::http::{HeaderValue, Request, header::AUTHORIZATION},
    transport::{Channel, channel::ResponseFuture},
};
use tower::Service;

/// A connection to a node, and the token that goes with each call. Cheap to clone; clones share the
/// connection. It is restored by itself where it breaks.
///
/// Generated clients take it: `PeerServiceClient::new(connection.clone())`.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    /// Marked as sensitive: neither logs nor `Debug` show it.
    authorization: Option<HeaderValue>,
}

impl Connection {
    pub(super) fn new(channel: Channel, authorization: Option<HeaderValue>) -> Self {
        Self { channel, authorization }
    }

    /// The connection without its token.
    #[must_use]
    pub fn into_channel(self) -> Channel {
        self.channel
    }
}

/// A connection without a token: for a Unix socket of one's own.
impl From<Channel> for Connection {
    fn from(channel: Channel) -> Self {
        Self::new(channel, None)
    }
}

impl Service<Request<Body>> for Connection {
    type Response = <Channel as Service<Request<Body>>>::Response;
    type Error = <Channel as Service<Request<Body>>>::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.channel.call(request)
    }
}
