//! The gate before every service: who calls, whether that caller may, and the end of what was opened
//! with a token that is good no longer. It sees paths and metadata. Never here: what a call does.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Response,
    body::{Body as HttpBody, Frame, SizeHint},
    header::AUTHORIZATION,
};
use tokio::time::sleep;
use tonic::{Status, body::Body, transport::server::UdsConnectInfo};
use tower::{Layer, Service};

use super::{
    access::{self, Need},
    status::{Reason, Refusal},
};
use crate::auth::{
    scope::Scope,
    tokens::{Grant, Tokens},
};

/// How long a wrong token waits for its answer. Others do not wait with it; a connection has at most
/// 200 calls at once, so it tries at most 400 tokens a second of the 2^256.
const WRONG_TOKEN_DELAY: Duration = Duration::from_millis(500);
/// A line is logged for the first refused token, then for each so many.
const LOG_EACH: u64 = 1000;
/// The call that ends tokens answers even where it ends the caller's own.
const REVOKE: &str = "/shoal.v1.AuthService/RevokeToken";

/// How a connection came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A Unix socket: the system says who is at the other end.
    Unix,
    /// A port on a loopback address.
    Loopback,
    /// A port that other machines reach.
    Beyond,
}

/// Who calls, as the services find it among a request's extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// The node's own user, or root, over the Unix socket.
    Owner,
    /// Whoever has the token of this id.
    Token(String),
}

/// The gate of one listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    tokens: Tokens,
    way: Way,
    /// Wrong tokens so far.
    wrong: Arc<AtomicU64>,
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

/// What the gate finds.
enum Entry {
    /// Without a caller: health, and reflection where it is free.
    Free,
    Owner,
    Token(Box<Grant>),
}

impl Gate {
    /// The gate of a listener of this kind.
    #[must_use]
    pub fn new(tokens: Tokens, way: Way) -> Self {
        Self { tokens, way, wrong: Arc::default() }
    }

    /// Whether this call is let in, and as whose.
    fn judge<B>(&self, request: &Request<B>) -> Result<Entry, Refusal> {
        let path = request.uri().path();
        let need = access::need(path);
        if need == Some(Need::Nothing) || (need == Some(Need::Any) && self.way != Way::Beyond) {
            return Ok(Entry::Free);
        }
        if self.way == Way::Unix && is_owner(request) {
            return need.map(|_| Entry::Owner).ok_or_else(|| unknown_method(path));
        }
        // Before anything is said of the method: strangers learn nothing of it.
        let secret = bearer(request.headers())?;
        let grant = self.tokens.check(secret, SystemTime::now()).ok_or_else(wrong_token)?;
        match need.ok_or_else(|| unknown_method(path))? {
            Need::Scope(scope) if !grant.token.scopes.allow(scope) => {
                Err(missing_scope(&grant, scope))
            }
            Need::Scope(_) | Need::Any | Need::Nothing => Ok(Entry::Token(Box::new(grant))),
        }
    }

    /// Lets a guesser wait, and tells of it now and then.
    async fn hold_up(&self, refusal: &Refusal) {
        if refusal.reason != Reason::TokenRefused {
            return;
        }
        let before = self.wrong.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(LOG_EACH) {
            tracing::warn!(count = before + 1, "a token was refused: unknown, revoked or expired");
        }
        sleep(WRONG_TOKEN_DELAY).await;
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let grant = match self.gate.judge(&request) {
            Ok(Entry::Free) => return Box::pin(self.inner.call(request)),
            Ok(Entry::Owner) => {
                request.extensions_mut().insert(Caller::Owner);
                return Box::pin(self.inner.call(request));
            }
            Ok(Entry::Token(grant)) => grant,
            Err(refusal) => {
                let gate = self.gate.clone();
                return Box::pin(async move {
                    gate.hold_up(&refusal).await;
                    Ok(Status::from(refusal).into_http())
                });
            }
        };
        request.extensions_mut().insert(Caller::Token(grant.token.id.clone()));
        // No service has a use for it.
        request.headers_mut().remove(AUTHORIZATION);
        if request.uri().path() == REVOKE {
            return Box::pin(self.inner.call(request));
        }
        let call = self.inner.call(request);
        Box::pin(async move {
            let mut end: End = Box::pin(end_of(*grant));
            let response = tokio::select! {
                biased;
                status = &mut end => return Ok(status.into_http()),
                response = call => response?,
            };
            Ok(response.map(|inner| Body::new(Guarded { inner, end: Some(end) })))
        })
    }
}

type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// The body of a reply to a caller with a token: it ends with the token.
struct Guarded {
    inner: Body,
    /// Gone once it came.
    end: Option<End>,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        if let Poll::Ready(status) = end.as_mut().poll(cx) {
            self.end = None;
            // What feeds it sees that nobody listens any more.
            self.inner = Body::empty();
            let mut trailers = HeaderMap::new();
            let told = status.add_header(&mut trailers).map(|()| Frame::trailers(trailers));
            return Poll::Ready(Some(told));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It may be less than the whole.
        SizeHint::default()
    }
}

/// The end of a token: revoked, or its time is up. Never where neither comes.
async fn end_of(grant: Grant) -> Status {
    let expires = grant.token.expires;
    let expired = async {
        match expires {
            Some(at) => sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = grant.ended.cancelled() => {}
        () = expired => {}
    }
    wrong_token().into()
}

/// Whether the node's own user, or root, is at the other end.
fn is_owner<B>(request: &Request<B>) -> bool {
    let info = request.extensions().get::<UdsConnectInfo>();
    let uid = info.and_then(|info| info.peer_cred).map(|cred| cred.uid());
    uid.is_some_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw())
}

/// The secret that a caller sent.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        let message = "a token is needed: send `authorization: Bearer TOKEN` as metadata";
        return Err(Refusal::new(Reason::TokenMissing, message));
    };
    let text = value.to_str().map_err(|_| wrong_token())?;
    let (scheme, secret) = text.split_once(' ').ok_or_else(wrong_token)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(wrong_token());
    }
    Ok(secret.trim())
}

/// The same for a token that never was, that was revoked, and whose time is up.
fn wrong_token() -> Refusal {
    Refusal::new(Reason::TokenRefused, "the token is not valid")
}

fn missing_scope(grant: &Grant, scope: Scope) -> Refusal {
    let has: Vec<_> = grant.token.scopes.iter().map(Scope::name).collect();
    let (scope, has) = (scope.name(), has.join(","));
    let message = format!("this call needs a token with the scope '{scope}'; this one has {has}");
    Refusal::new(Reason::ScopeMissing, message).with("scope", scope).with("has", has)
}

fn unknown_method(path: &str) -> Refusal {
    Refusal::new(Reason::UnknownMethod, format!("this node has no method {path}"))
}

#[cfg(test)]
mod tests;
