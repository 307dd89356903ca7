//! Who is let in, by way, method and scope; what the refused are told; and how streams end.

use std::collections::BTreeSet;

use http_body_util::BodyExt as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::auth::{scope::Scopes, tokens::NewToken};

/// Answers every call with the caller that it was told of, and a body that never ends.
#[derive(Clone)]
struct Open;

struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Pending
    }
}

impl Service<Request<Body>> for Open {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(!request.headers().contains_key(AUTHORIZATION), "secrets stay at the gate");
        let mut response = Response::new(Body::new(Endless));
        if let Some(caller) = request.extensions().get::<Caller>() {
            response.extensions_mut().insert(caller.clone());
        }
        std::future::ready(Ok(response))
    }
}

struct House {
    _dir: tempfile::TempDir,
    tokens: Tokens,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path(), SystemTime::now()).unwrap();
        Self { _dir: dir, tokens }
    }

    fn token(&self, name: &str, scopes: &[Scope]) -> String {
        let scopes = Scopes::new(scopes.iter().copied());
        let new = NewToken { name: name.to_owned(), scopes, expires: None };
        let (_, secret) = self.tokens.create(new, SystemTime::now()).unwrap();
        secret.expose().to_owned()
    }

    async fn call(&self, way: Way, path: &str, authorization: Option<&str>) -> Response<Body> {
        let mut request = Request::builder().uri(format!("http://localhost{path}"));
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Body::empty()).unwrap();
        let gate = Gate::new(self.tokens.clone(), way);
        gate.layer(Open).call(request).await.unwrap()
    }

    /// Code and reason of a refusal; none where the call was let in.
    async fn refused(
        &self,
        way: Way,
        path: &str,
        authorization: Option<&str>,
    ) -> Option<(Code, String, String)> {
        let response = self.call(way, path, authorization).await;
        let status = Status::from_header_map(response.headers())?;
        let details = status.get_error_details();
        let reason = details.error_info().unwrap().reason.clone();
        Some((status.code(), reason, status.message().to_owned()))
    }
}

fn path(method: &str) -> String {
    format!("/shoal.v1.{method}")
}

#[tokio::test]
async fn each_method_is_refused_with_too_small_a_scope_and_open_with_its_own() {
    let house = House::new();
    let all =
        Scope::ALL.map(|scope| (scope, house.token(&format!("a-{}", scope.name()), &[scope])));
    for (method, needed) in access::METHODS {
        for (held, secret) in &all {
            let bearer = format!("Bearer {secret}");
            let refused = house.refused(Way::Loopback, &path(method), Some(&bearer)).await;
            if held == needed || *held == Scope::Admin {
                assert_eq!(refused, None, "{method} with {held:?}");
                continue;
            }
            let (code, reason, message) = refused.unwrap();
            assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));
            assert!(message.contains(&format!("'{}'", needed.name())), "{message}");
        }
        let (code, reason, _) = house.refused(Way::Loopback, &path(method), None).await.unwrap();
        assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "TOKEN_MISSING"), "{method}");
    }
}

#[tokio::test]
async fn wrong_tokens_learn_nothing_and_wait() {
    let house = Arc::new(House::new());
    let revoked = house.token("old", &[Scope::Read]);
    house.tokens.revoke("old").unwrap();
    let wrong = [
        format!("Bearer {revoked}"),
        format!("Bearer shoal_{}", "0".repeat(64)),
        "Bearer x".to_owned(),
        "Bearer ".to_owned(),
        "Basic YTpi".to_owned(),
        "token".to_owned(),
    ];
    let mut calls = tokio::task::JoinSet::new();
    for authorization in wrong {
        for method in ["/shoal.v1.NodeService/GetInfo", "/shoal.v1.NodeService/None"] {
            let (house, authorization) = (house.clone(), authorization.clone());
            calls.spawn(async move {
                let before = tokio::time::Instant::now();
                let refused = house.refused(Way::Beyond, method, Some(&authorization)).await;
                assert!(before.elapsed() >= WRONG_TOKEN_DELAY, "{authorization}");
                refused.unwrap()
            });
        }
    }
    let answers: BTreeSet<_> = calls
        .join_all()
        .await
        .into_iter()
        .map(|(code, reason, message)| (i32::from(code), reason, message))
        .collect();
    let told = (i32::from(Code::Unauthenticated), "TOKEN_REFUSED".to_owned());
    let told = (told.0, told.1, "the token is not valid".to_owned());
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [told]);
}

#[tokio::test]
async fn health_is_free_and_reflection_on_this_machine() {
    let house = House::new();
    let token = format!("bearer {}", house.token("any", &[Scope::Policy]));
    let health = "/grpc.health.v1.Health/Check";
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for way in [Way::Unix, Way::Loopback, Way::Beyond] {
        assert_eq!(house.refused(way, health, None).await, None);
        let refused = house.refused(way, reflection, None).await;
        assert_eq!(refused.is_some(), way == Way::Beyond, "{refused:?}");
    }
    assert_eq!(house.refused(Way::Beyond, reflection, Some(&token)).await, None);
}

#[tokio::test]
async fn a_method_out_of_the_table_is_closed_to_everybody() {
    let house = House::new();
    let admin = format!("Bearer {}", house.token("root", &[Scope::Admin]));
    let (code, reason, _) =
        house.refused(Way::Loopback, "/shoal.v1.NodeService/Own", Some(&admin)).await.unwrap();
    assert_eq!((code, reason.as_str()), (Code::Unimplemented, "UNKNOWN_METHOD"));
}

#[tokio::test]
async fn over_a_unix_socket_only_its_peer_makes_an_owner() {
    let house = House::new();
    // No credentials: whoever it is has to have a token.
    let (code, ..) = house.refused(Way::Unix, &path("NodeService/GetInfo"), None).await.unwrap();
    assert_eq!(code, Code::Unauthenticated);
    let bearer = format!("Bearer {}", house.token("ci", &[Scope::Read]));
    let response = house.call(Way::Unix, &path("NodeService/GetInfo"), Some(&bearer)).await;
    let caller = response.extensions().get::<Caller>();
    assert!(matches!(caller, Some(Caller::Token(id)) if id.starts_with("tok_")), "{caller:?}");
}

async fn end(mut body: Body) -> Code {
    let frame = body.frame().await.unwrap().unwrap();
    assert!(body.frame().await.is_none(), "nothing follows");
    Status::from_header_map(frame.trailers_ref().unwrap()).unwrap().code()
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked() {
    let house = House::new();
    let bearer = format!("Bearer {}", house.token("ci", &[Scope::Read]));
    let method = path("NodeService/WatchEvents");
    let response = house.call(Way::Beyond, &method, Some(&bearer)).await;
    let ended = tokio::spawn(end(response.into_body()));
    tokio::task::yield_now().await;
    assert!(!ended.is_finished());
    house.tokens.revoke("ci").unwrap();
    assert_eq!(ended.await.unwrap(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_stream_ends_when_the_time_of_its_token_is_up() {
    let house = House::new();
    let at = SystemTime::now() + Duration::from_millis(300);
    let expires = Some(at);
    let scopes = Scopes::new([Scope::Read]);
    let new = NewToken { name: "hour".to_owned(), scopes, expires };
    let (_, secret) = house.tokens.create(new, SystemTime::now()).unwrap();
    let bearer = format!("Bearer {}", secret.expose());
    let response = house.call(Way::Beyond, &path("NodeService/WatchEvents"), Some(&bearer)).await;
    assert_eq!(end(response.into_body()).await, Code::Unauthenticated);
    assert!(SystemTime::now() >= at, "not before its time");
}
