//! Every call, from its first byte to its last: counted, timed, and told in a span of its own, so
//! that whatever is logged for it says which call it was for. A layer around all services, outside of
//! whatever refuses calls. Never here: what a call may do, or does.
//!
//! The names of the metrics and the spelling of codes are those of go-grpc-prometheus, so that
//! dashboards for other servers fit.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{
    Code,
    body::Body,
    codegen::http::{HeaderMap, HeaderValue, Request, Response},
    transport::server::{TcpConnectInfo, UdsConnectInfo},
};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};

/// The header with the id of a call, in requests and in responses.
pub const REQUEST_ID: &str = "x-request-id";
/// The longest id that is taken over from a caller, bytes.
const REQUEST_ID_LEN_MAX: usize = 64;
/// Upper bounds of what calls take, seconds. Among them what is promised: 10 ms, 50 ms, 100 ms.
const CALL_S: [f64; 10] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// `grpc_service` and `grpc_method`.
type Method = [(&'static str, &'static str); 2];
/// The same, and `grpc_code`.
type Ended = [(&'static str, &'static str); 3];

/// The calls of a node's control surface. Cheap to clone: clones count together.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Meters>);

/// What is counted of calls.
#[derive(Debug)]
pub struct Meters {
    /// Calls that began, by service and method.
    pub started: Family<Method, Counter>,
    /// Calls that ended, by service, method and code.
    pub handled: Family<Ended, Counter>,
    /// Seconds until the answer: all of it, or the head of a stream.
    pub seconds: Family<Method, Histogram, fn() -> Histogram>,
    /// Streams that have begun and not ended.
    pub streams: Family<Method, Gauge>,
    /// Before the number of a call in its id.
    prefix: u32,
    /// Calls so far.
    count: AtomicU64,
}

/// What is known of a method: nothing else becomes a label.
#[derive(Debug)]
struct Known {
    service: String,
    method: String,
    streams: bool,
}

/// The methods by their paths.
static METHODS: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    let sets = [
        shoal::v1::DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().flat_map(methods).collect()
});

/// What stands for every path that is no method.
static UNKNOWN: LazyLock<Known> = LazyLock::new(|| Known {
    service: "unknown".to_owned(),
    method: "unknown".to_owned(),
    streams: false,
});

/// The methods of a descriptor set; none of one that is broken, which serving refuses.
fn methods(set: &[u8]) -> Vec<(String, Known)> {
    let files = FileDescriptorSet::decode(set).unwrap_or_default().file;
    let mut methods = Vec::new();
    for file in &files {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            methods.extend(service.method.iter().map(|method| {
                let path = format!("/{name}/{}", method.name());
                let (service, streams) = (name.clone(), method.server_streaming());
                (path, Known { service, method: method.name().to_owned(), streams })
            }));
        }
    }
    methods
}

impl Known {
    fn of(path: &str) -> &'static Self {
        METHODS.get(path).unwrap_or(&UNKNOWN)
    }

    fn labels(&'static self) -> Method {
        [("grpc_service", &self.service), ("grpc_method", &self.method)]
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self(Arc::new(Meters {
            started: Family::default(),
            handled: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(CALL_S)),
            streams: Family::default(),
            prefix: fastrand::u32(..),
            count: AtomicU64::new(0),
        }))
    }
}

impl Calls {
    /// What was counted.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.0
    }

    /// The id of a call: its caller's, where it is harmless, else one of ours.
    fn id(&self, headers: &HeaderMap) -> String {
        let count = self.0.count.fetch_add(1, Ordering::Relaxed) + 1;
        let harmless =
            |id: &&str| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(harmless);
        match given.filter(|id| (1..=REQUEST_ID_LEN_MAX).contains(&id.len())) {
            Some(id) => id.to_owned(),
            None => format!("{:08x}-{count}", self.0.prefix),
        }
    }

    fn begin<B>(&self, request: &Request<B>) -> Call {
        let method = Known::of(request.uri().path());
        self.0.started.get_or_create(&method.labels()).inc();
        let id = self.id(request.headers());
        let span = tracing::info_span!(
            "call",
            service = method.service,
            method = method.method,
            peer = peer(request),
            id
        );
        let (calls, began) = (self.clone(), Instant::now());
        Call { calls, method, id, span, began, answering: false, code: None }
    }
}

/// Who calls: a process behind a Unix socket, or an address.
fn peer<B>(request: &Request<B>) -> String {
    let extensions = request.extensions();
    if let Some(unix) = extensions.get::<UdsConnectInfo>() {
        return match &unix.peer_cred {
            Some(cred) => match cred.pid() {
                Some(pid) => format!("unix:uid={},pid={pid}", cred.uid()),
                None => format!("unix:uid={}", cred.uid()),
            },
            None => "unix".to_owned(),
        };
    }
    let tcp = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    tcp.map_or_else(|| "unknown".to_owned(), |addr| addr.to_string())
}

/// A call under way. Its end is counted once, when it is dropped: one that nobody ended was
/// cancelled by its caller, or cut off.
struct Call {
    calls: Calls,
    method: &'static Known,
    id: String,
    span: Span,
    began: Instant,
    /// It is a stream whose answer has begun.
    answering: bool,
    code: Option<Code>,
}

impl Call {
    /// The head of the answer is there. One that says how the call ended is all of it.
    fn answered(&mut self, headers: &HeaderMap) {
        self.code = code_in(headers);
        if self.method.streams {
            self.observe();
            self.answering = true;
            self.meters().streams.get_or_create(&self.method.labels()).inc();
        }
    }

    fn observe(&self) {
        let took = self.began.elapsed().as_secs_f64();
        self.meters().seconds.get_or_create(&self.method.labels()).observe(took);
    }

    fn meters(&self) -> &Meters {
        &self.calls.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let labels = self.method.labels();
        if self.answering {
            self.meters().streams.get_or_create(&labels).dec();
        } else {
            self.observe();
        }
        let code = self.code.unwrap_or(Code::Cancelled);
        // What no caller is to blame for.
        let is_fault = matches!(code, Code::Internal | Code::Unknown | Code::DataLoss);
        let ([service, method], code) = (labels, name(code));
        self.meters().handled.get_or_create(&[service, method, ("grpc_code", code)]).inc();
        let duration_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let _entered = self.span.enter();
        if is_fault {
            tracing::warn!(code, duration_us, "call failed");
        } else {
            tracing::debug!(code, duration_us, "call ended");
        }
    }
}

/// The code that headers or trailers end a call with.
fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

/// A code as go-grpc-prometheus spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

impl<S> Layer<S> for Calls {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { calls: self.clone(), inner }
    }
}

/// A service whose calls are watched.
#[derive(Clone, Debug)]
pub struct Watched<S> {
    calls: Calls,
    inner: S,
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S, B> Service<Request<Body>> for Watched<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answered {
        let mut call = self.calls.begin(&request);
        let answer = self.inner.call(request).instrument(call.span.clone());
        Box::pin(async move {
            let (mut parts, body) = answer.await?.into_parts();
            call.answered(&parts.headers);
            if let Ok(id) = HeaderValue::from_str(&call.id) {
                parts.headers.insert(REQUEST_ID, id);
            }
            Ok(Response::from_parts(parts, Body::new(Answer { body, call })))
        })
    }
}

/// The body of an answer, which takes its call to the end.
struct Answer<B> {
    body: B,
    call: Call,
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<B::Data>, B::Error>>> {
        let Self { body, call } = &mut *self;
        let _entered = call.span.enter();
        let frame = Pin::new(body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    call.code = code_in(trailers);
                }
            }
            // It ended without a word, or broke: its caller sees no code either.
            Poll::Ready(None | Some(Err(_))) => {
                call.code.get_or_insert(Code::Unknown);
            }
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
