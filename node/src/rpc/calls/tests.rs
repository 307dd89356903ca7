//! How calls end, and how each end is counted.

use std::collections::VecDeque;

use http_body_util::BodyExt as _;
use hyper::body::Frame;

use super::*;

const UNARY: &str = "/shoal.v1.NodeService/GetInfo";
const STREAM: &str = "/shoal.v1.NodeService/WatchEvents";

/// A service that answers with this head and these frames.
#[derive(Clone, Default)]
struct Fake {
    status: Option<&'static str>,
    frames: Vec<Option<&'static str>>,
    hangs: bool,
}

/// Frames: data, or trailers with a status.
struct Frames(VecDeque<Option<&'static str>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.0.pop_front().map(|frame| match frame {
            None => Frame::data(Bytes::from_static(b"data")),
            Some(status) => Frame::trailers(with_status(status)),
        });
        Poll::Ready(frame.map(Ok))
    }
}

fn with_status(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))])
}

impl Service<Request<Body>> for Fake {
    type Response = Response<Frames>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if this.hangs {
                std::future::pending::<()>().await;
            }
            let mut response = Response::new(Frames(this.frames.into()));
            *response.headers_mut() = this.status.map(with_status).unwrap_or_default();
            Ok(response)
        })
    }
}

fn request(path: &str, id: Option<&str>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    if let Some(id) = id {
        request.headers_mut().insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
    }
    request
}

fn handled(calls: &Calls, path: &str, code: &'static str) -> u64 {
    let [service, method] = Known::of(path).labels();
    let ended = calls.meters().handled.get(&[service, method, ("grpc_code", code)]);
    ended.map_or(0, |counter| counter.get())
}

fn open(calls: &Calls, path: &str) -> i64 {
    calls.meters().streams.get_or_create(&Known::of(path).labels()).get()
}

/// Calls, reads to the end, and says how it was counted.
async fn check(path: &str, fake: Fake, code: &'static str) {
    let calls = Calls::default();
    let mut service = calls.layer(fake);
    let response = service.call(request(path, None)).await.unwrap();
    // The end of the body, whatever it is.
    let _ = response.into_body().collect().await;
    assert_eq!(handled(&calls, path, code), 1, "{path} {code}");
    assert_eq!(open(&calls, path), 0);
}

#[tokio::test]
async fn a_call_is_counted_by_the_code_that_ends_it() {
    let frames = |status| Fake { frames: vec![None, Some(status)], ..Fake::default() };
    check(UNARY, frames("0"), "OK").await;
    check(STREAM, frames("8"), "ResourceExhausted").await;
    let refused = Fake { status: Some("16"), ..Fake::default() };
    check(UNARY, refused.clone(), "Unauthenticated").await;
    check(STREAM, refused, "Unauthenticated").await;
    check(UNARY, Fake { frames: vec![None], ..Fake::default() }, "Unknown").await;
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_before_and_behind_the_head() {
    let calls = Calls::default();
    let mut hangs = calls.layer(Fake { hangs: true, ..Fake::default() });
    drop(hangs.call(request(UNARY, None)));
    assert_eq!(handled(&calls, UNARY, "Canceled"), 1);
    let mut streams = calls.layer(Fake { frames: vec![None; 9], ..Fake::default() });
    let mut body = streams.call(request(STREAM, None)).await.unwrap().into_body();
    assert!(body.frame().await.is_some());
    assert_eq!(open(&calls, STREAM), 1);
    drop(body);
    assert_eq!((open(&calls, STREAM), handled(&calls, STREAM, "Canceled")), (0, 1));
}

#[tokio::test]
async fn what_is_no_method_is_one_label_whatever_it_is() {
    let calls = Calls::default();
    let mut service = calls.layer(Fake { status: Some("12"), ..Fake::default() });
    for path in ["/", "/shoal.v1.NodeService/Nothing", "/x/y", "/shoal.v1.NodeService/GetInfo/"] {
        drop(service.call(request(path, None)).await.unwrap());
    }
    assert_eq!(handled(&calls, "/x/y", "Unimplemented"), 4);
    assert_eq!(Known::of("/x/y").service, "unknown");
}

#[tokio::test]
async fn an_id_is_the_callers_where_it_is_harmless_and_unique_else() {
    let calls = Calls::default();
    let mut service = calls.layer(Fake::default());
    let mut id = async |given: Option<&str>| {
        let response = service.call(request(UNARY, given)).await.unwrap();
        response.headers()[REQUEST_ID].to_str().unwrap().to_owned()
    };
    assert_eq!(id(Some("deploy-7:a.b_c")).await, "deploy-7:a.b_c");
    let long = "x".repeat(REQUEST_ID_LEN_MAX + 1);
    let mut given = std::collections::BTreeSet::new();
    for bad in [None, Some(""), Some("a b"), Some("a\tb"), Some("é"), Some("{}"), Some(&long)] {
        let made = id(bad).await;
        assert_ne!(Some(made.as_str()), bad);
        assert!(given.insert(made.clone()), "{made} was given twice");
    }
    let most = "x".repeat(REQUEST_ID_LEN_MAX);
    assert_eq!(id(Some(&most)).await, most);
}

#[test]
fn every_method_of_the_api_is_known_by_its_path() {
    let known = |path: &str| METHODS.get(path).map(|known| known.streams);
    assert_eq!(known(UNARY), Some(false));
    assert_eq!(known(STREAM), Some(true));
    assert_eq!(known("/grpc.health.v1.Health/Check"), Some(false));
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_eq!(known(reflection), Some(true));
    let set = FileDescriptorSet::decode(shoal::v1::DESCRIPTOR_SET).unwrap();
    let ours = set.file.iter().flat_map(|file| &file.service).map(|service| service.method.len());
    let found = METHODS.keys().filter(|path| path.starts_with("/shoal.v1."));
    assert_eq!(found.count(), ours.sum::<usize>());
}
