//! What holds for every call, whoever answers it: its deadline is honoured, and an error carries an
//! `ErrorInfo`, also one that the gRPC library or a standard service makes by itself. A layer around
//! all services. Never here: what a method does.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service, http},
};
use tower::Layer;

use super::status::{Reason, Refusal};

/// Where a caller says how long it waits.
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// Where an error has its details.
const DETAILS_HEADER: &str = "grpc-status-details-bin";
/// So much before the caller's deadline a call is given up: the library's own timer, which has
/// another code and no details for it, rings at the deadline itself.
const AHEAD: Duration = Duration::from_millis(2);

/// Makes the services around which it is laid complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompleteLayer;

/// Services that are complete.
#[derive(Clone, Debug)]
pub(super) struct Complete<S>(S);

impl<S> Layer<S> for CompleteLayer {
    type Service = Complete<S>;

    fn layer(&self, services: S) -> Complete<S> {
        Complete(services)
    }
}

impl<S, B> Service<http::Request<B>> for Complete<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let limit =
            request.headers().get(TIMEOUT_HEADER).and_then(|value| limit(value.to_str().ok()?));
        let call = self.0.call(request);
        Box::pin(async move {
            let response = match limit {
                None => call.await?,
                Some(limit) => match timeout(limit.saturating_sub(AHEAD), call).await {
                    Ok(response) => response?,
                    Err(_) => return Ok(late(limit).into_http()),
                },
            };
            Ok(with_info(response))
        })
    }
}

/// What `grpc-timeout` says: at most eight digits and a unit.
fn limit(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn late(limit: Duration) -> Status {
    let message = format!("no answer within {limit:?}; what was asked for may still be done");
    Refusal::new(Reason::DeadlineExceeded, message).into()
}

/// An error at the head of a response, with an `ErrorInfo` where it has no details.
fn with_info(response: http::Response<Body>) -> http::Response<Body> {
    let headers = response.headers();
    if headers.contains_key(DETAILS_HEADER) {
        return response;
    }
    let Some(status) = Status::from_header_map(headers) else { return response };
    let reason = match status.code() {
        Code::Ok => return response,
        Code::Unimplemented => Reason::UnknownMethod,
        Code::OutOfRange => Reason::RequestTooLarge,
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        // Of the service of health: it is asked for a service by name.
        Code::NotFound => Reason::UnknownService,
        Code::InvalidArgument => Reason::BadArgument,
        // No method here fails so without details: the request could not be read.
        Code::Cancelled
        | Code::Unknown
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Reason::Internal,
    };
    let info = Status::from(Refusal::new(reason, status.message()));
    Status::with_details(status.code(), status.message(), info.details().to_vec().into())
        .into_http()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("123456789S", None),
            ("5é", None),
            ("5D", None),
        ] {
            assert_eq!(limit(text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_without_details_gets_them_and_keeps_its_code_and_message() {
        let status =
            |response: http::Response<Body>| Status::from_header_map(response.headers()).unwrap();
        let plain = Status::unimplemented("no such method").into_http();
        let complete = status(with_info(plain));
        assert_eq!((complete.code(), complete.message()), (Code::Unimplemented, "no such method"));
        let details = complete.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("shoal", "UNKNOWN_METHOD"));
        let ours = Status::from(Refusal::not_in_role("peer"));
        let again = status(with_info(ours.into_http()));
        assert_eq!(again.get_error_details().error_info().unwrap().reason, "NOT_IN_ROLE");
    }
}
