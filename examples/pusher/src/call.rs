//! Calls that end: each has a limit, and each failure is something a program can compare.

use std::{fmt, future::Future, time::Duration};

use serde::Serialize;
use shoal::client::ConnectError;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

/// Longest time for a call that answers once.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// Why something did not happen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// The reason: a node's (`ErrorInfo.reason`), or one of ours: UNREACHABLE,
    /// UNTRUSTED, SILENT, LATE, INTERRUPTED, USAGE, INTERNAL.
    pub(crate) reason: String,
    /// For a person.
    pub(crate) message: String,
    /// Another attempt may succeed: the node is away, not unwilling.
    #[serde(skip)]
    pub(crate) passing: bool,
}

impl Failure {
    fn own(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), passing: false }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::own("USAGE", message)
    }

    pub(crate) fn silent(limit: Duration) -> Self {
        let message = format!("said nothing for {} s", limit.as_secs());
        Self { passing: true, ..Self::own("SILENT", message) }
    }

    pub(crate) fn late(limit: Duration) -> Self {
        Self::own("LATE", format!("not complete after {} s; it goes on", limit.as_secs()))
    }

    pub(crate) fn interrupted() -> Self {
        Self::own("INTERRUPTED", "interrupted; it goes on")
    }

    pub(crate) fn broken_promise(what: &str) -> Self {
        Self::own("INTERNAL", format!("the node sent no {what}"))
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let (reason, passing) = match error {
            ConnectError::Unreachable { .. } => ("UNREACHABLE", true),
            ConnectError::Untrusted { .. } => ("UNTRUSTED", false),
            ConnectError::Malformed(_)
            | ConnectError::PathTooLong(_)
            | ConnectError::File { .. }
            | ConnectError::BadToken
            | ConnectError::PlaintextToken(_)
            | ConnectError::NoTls(_)
            | ConnectError::BadCertificate(_) => ("USAGE", false),
        };
        Self { passing, ..Self::own(reason, error.to_string()) }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        use std::error::Error as _;
        // Made on this side: the connection broke, whatever the code.
        if let Some(source) = status.source() {
            let mut cause = source;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            let message = format!("the connection broke: {cause}");
            return Self { passing: true, ..Self::own("UNREACHABLE", message) };
        }
        let reason = status.get_details_error_info().map(|info| info.reason);
        // A node that is there says why: a tracker of it may be unavailable, and stay so.
        let leaves = reason.as_ref().is_none_or(|reason| reason == "SHUTTING_DOWN");
        Self {
            passing: status.code() == Code::Unavailable && leaves,
            reason: reason.unwrap_or_else(|| format!("{:?}", status.code())),
            message: status.message().to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// What a call answers within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::silent(limit)),
    }
}

/// The message that a call answers.
pub(crate) async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    Ok(within(ANSWER, call).await?.into_inner())
}
