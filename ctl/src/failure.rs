//! Why a command failed, with its exit code and both its written forms. Never here: recovery.

use std::{collections::BTreeMap, error::Error as _, io, path::Path, time::Duration};

use serde_json::json;
use shoal::client::ConnectError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    clean::{clean, clean_lines, escape_json},
    exit::Exit,
};

/// Keys of an error's metadata that hold a whole report, several lines long.
const REPORT_KEYS: [&str; 3] = ["report", "diagnostics", "traceback"];

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read standard output has gone; there is nobody to tell.
    Closed,
    /// Something to say.
    Report(Box<Report>),
}

/// What there is to say about a failure.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) exit: Exit,
    /// A name of gRPC's: `NOT_FOUND`.
    code: &'static str,
    /// What programs compare: the node's reason, or one of `shoalctl`'s own.
    reason: String,
    message: String,
    hint: Option<String>,
    metadata: BTreeMap<String, String>,
    /// Field and description.
    violations: Vec<(String, String)>,
}

impl Failure {
    fn local(exit: Exit, code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self::Report(Box::new(Report {
            exit,
            code: code_name(code),
            reason: reason.to_owned(),
            message: message.into(),
            hint: None,
            metadata: BTreeMap::new(),
            violations: Vec::new(),
        }))
    }

    /// The command line is wrong in a way that only shows while it is carried out.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::local(Exit::Usage, Code::InvalidArgument, "USAGE", message)
    }

    /// A local file that no node would take.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::local(Exit::Invalid, Code::InvalidArgument, "INVALID_FILE", message)
    }

    /// Something is there already.
    pub(crate) fn already_exists(message: impl Into<String>) -> Self {
        Self::local(Exit::Precondition, Code::AlreadyExists, "ALREADY_EXISTS", message)
    }

    /// The metadata of a magnet link makes no torrent.
    pub(crate) fn metadata(message: impl Into<String>) -> Self {
        Self::local(Exit::Precondition, Code::FailedPrecondition, "METADATA_FAILED", message)
    }

    /// A policy that no node would put in force.
    pub(crate) fn bad_policy(message: impl Into<String>) -> Self {
        Self::local(Exit::Invalid, Code::InvalidArgument, "BAD_POLICY", message)
    }

    /// Tests ran, and not all of them held; or none was there.
    pub(crate) fn tests_failed(message: impl Into<String>) -> Self {
        Self::local(Exit::Precondition, Code::FailedPrecondition, "TESTS_FAILED", message)
    }

    /// A simulation came to its end, and something did not hold.
    pub(crate) fn does_not_hold(message: impl Into<String>) -> Self {
        Self::local(Exit::Precondition, Code::FailedPrecondition, "DOES_NOT_HOLD", message)
    }

    /// A local file that is not there.
    pub(crate) fn no_file(message: impl Into<String>) -> Self {
        Self::local(Exit::NotFound, Code::NotFound, "LOCAL_FILE", message)
    }

    /// No context of that name.
    pub(crate) fn no_context(message: impl Into<String>) -> Self {
        Self::local(Exit::NotFound, Code::NotFound, "NO_CONTEXT", message)
    }

    /// The API has nothing of that name.
    pub(crate) fn no_symbol(message: impl Into<String>) -> Self {
        Self::local(Exit::NotFound, Code::NotFound, "UNKNOWN_SYMBOL", message)
    }

    /// A request that is not in the form of its message.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::local(Exit::Invalid, Code::InvalidArgument, "BAD_REQUEST", message)
    }

    /// No job of that id.
    pub(crate) fn no_job(message: impl Into<String>) -> Self {
        Self::local(Exit::NotFound, Code::NotFound, "UNKNOWN_JOB", message)
    }

    /// A job that was waited for did not end well.
    pub(crate) fn job_failed(message: impl Into<String>) -> Self {
        Self::local(Exit::Precondition, Code::FailedPrecondition, "JOB_FAILED", message)
    }

    /// The node, or this program, broke a promise.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::local(Exit::Internal, Code::Internal, "INTERNAL", message)
    }

    /// `--timeout` ran out.
    pub(crate) fn deadline(timeout: Duration) -> Self {
        let message = format!("no answer within {timeout:?}");
        Self::local(Exit::Deadline, Code::DeadlineExceeded, "DEADLINE", message)
    }

    /// Ctrl-C; `note` says what goes on without us.
    pub(crate) fn interrupted(note: Option<&str>) -> Self {
        let message =
            note.map_or_else(|| "interrupted".to_owned(), |n| format!("interrupted; {n}"));
        Self::local(Exit::Interrupted, Code::Cancelled, "INTERRUPTED", message)
    }

    /// A local file could not be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let kind = error.kind();
        let (exit, code) = if kind == io::ErrorKind::NotFound {
            (Exit::NotFound, Code::NotFound)
        } else if kind == io::ErrorKind::PermissionDenied {
            (Exit::NotAllowed, Code::PermissionDenied)
        } else if kind == io::ErrorKind::AlreadyExists {
            (Exit::Precondition, Code::AlreadyExists)
        } else {
            (Exit::Internal, Code::Internal)
        };
        Self::local(exit, code, "LOCAL_FILE", format!("{}: {error}", path.display()))
    }

    /// Standard input, output or error failed.
    pub(crate) fn stdio(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::local(Exit::Internal, Code::Internal, "LOCAL_FILE", format!("terminal: {error}"))
    }

    /// There is no channel to the node.
    pub(crate) fn connect(error: &ConnectError) -> Self {
        match error {
            ConnectError::Malformed(_)
            | ConnectError::PathTooLong(_)
            | ConnectError::BadToken
            | ConnectError::NoTls(_) => Self::usage(error.to_string()),
            ConnectError::File { path, cause } => Self::file(path, cause),
            ConnectError::BadCertificate(_) => Self::invalid(error.to_string()),
            ConnectError::PlaintextToken(_) => Self::local(
                Exit::NotAllowed,
                Code::PermissionDenied,
                "PLAINTEXT_TOKEN",
                error.to_string(),
            ),
            ConnectError::Untrusted { .. } => Self::untrusted(error.to_string()),
            ConnectError::Unreachable { .. } => Self::unreachable(error.to_string()),
        }
    }

    fn untrusted(message: String) -> Self {
        Self::local(Exit::NotAllowed, Code::Unauthenticated, "UNTRUSTED", message).with_hint(
            "--ca names the authority of the node's certificate, --cert and --key a certificate of yours",
        )
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: String) -> Self {
        Self::local(Exit::Unreachable, Code::Unavailable, "UNREACHABLE", message)
            .with_hint("is shoald running there? --endpoint or SHOAL_ENDPOINT names its address")
    }

    /// What a call answered. A status made on this side, by a connection that broke, counts as
    /// unreachable whatever its code.
    pub(crate) fn status(status: &Status) -> Self {
        if let Some(source) = status.source() {
            let mut cause = source;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            let message = format!("the connection to the node broke: {cause}");
            // With TLS 1.3 a node refuses a certificate behind the handshake, in this library's words.
            if message.contains("received fatal alert") {
                return Self::untrusted(message);
            }
            return Self::unreachable(message);
        }
        let details = status.get_error_details();
        let info = details.error_info();
        let metadata: BTreeMap<String, String> =
            info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default();
        let violations = details.bad_request().map(|bad| &bad.field_violations[..]).unwrap_or(&[]);
        let message = if status.message().is_empty() {
            status.code().description().to_owned()
        } else {
            status.message().to_owned()
        };
        // Not twice, where the message names it already.
        let near = metadata.get("suggestion").filter(|near| !message.contains(near.as_str()));
        let hint = near.map(|near| format!("did you mean '{near}'?"));
        let hint =
            hint.or_else(|| hint_of(info.map(|info| info.reason.as_str())).map(str::to_owned));
        Self::Report(Box::new(Report {
            exit: Exit::of(status.code()),
            code: code_name(status.code()),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message,
            hint,
            metadata,
            violations: violations
                .iter()
                .map(|violation| (violation.field.clone(), violation.description.clone()))
                .collect(),
        }))
    }

    /// Whether this is the reason that programs compare.
    pub(crate) fn is(&self, reason: &str) -> bool {
        matches!(self, Self::Report(report) if report.reason == reason)
    }

    /// Whether the node knows no such method.
    pub(crate) fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Report(report) if report.exit == Exit::Unimplemented)
    }

    /// Whether nobody answers.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Report(report) if report.exit == Exit::Unreachable)
    }

    /// With a line that says what to do.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Report(report) = &mut self {
            report.hint = Some(hint.into());
        }
        self
    }

    /// With a line that says what to do where something was not found and nothing else is advised.
    pub(crate) fn or_where(mut self, hint: &str) -> Self {
        if let Self::Report(report) = &mut self
            && report.exit == Exit::NotFound
        {
            report.hint.get_or_insert_with(|| hint.to_owned());
        }
        self
    }
}

impl Report {
    /// For a person: the message in a line, then what was wrong with which field, then a hint.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("shoalctl: {}\n", clean(&self.message));
        for (field, description) in &self.violations {
            if !self.message.contains(description) {
                text.push_str(&format!("  {}: {}\n", clean(field), clean(description)));
            }
        }
        for report in REPORT_KEYS.iter().filter_map(|&key| self.metadata.get(key)) {
            for line in clean_lines(report).lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {}\n", clean(hint)));
        }
        text
    }

    /// For a program: one object on one line.
    pub(crate) fn json(&self) -> String {
        let violations: Vec<_> = self
            .violations
            .iter()
            .map(|(field, description)| json!({ "field": field, "description": description }))
            .collect();
        let object = json!({
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "metadata": self.metadata,
            "violations": violations,
        });
        format!("{}\n", escape_json(&object.to_string()))
    }
}

/// What to do about a refusal, where it is for this side to do.
fn hint_of(reason: Option<&str>) -> Option<&'static str> {
    match reason? {
        "TOKEN_MISSING" => Some(
            "--token-file or SHOAL_TOKEN_FILE names one; the node keeps its own in admin.token and \
             readonly.token of its state folder",
        ),
        "TOKEN_REFUSED" => {
            Some("over its Unix socket the node lists its tokens: shoalctl token list")
        }
        "SCOPE_MISSING" => {
            Some("shoalctl token create NAME --scope … makes another, with an admin token")
        }
        _ => None,
    }
}

/// The report of a command line that clap refused, for `-o json`.
pub(crate) fn usage_json(message: &str) -> String {
    match Failure::usage(message) {
        Failure::Report(report) => report.json(),
        Failure::Closed => String::new(),
    }
}

const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn report(failure: Failure) -> Report {
        match failure {
            Failure::Report(report) => *report,
            Failure::Closed => panic!("nothing to say"),
        }
    }

    #[test]
    fn a_suggestion_that_the_message_names_is_no_hint() {
        let metadata = HashMap::from([("suggestion".to_owned(), "a.mkv".to_owned())]);
        let details = ErrorDetails::with_error_info("UNKNOWN_FILE", "shoal", metadata);
        let message = "unknown file \"a.mk\"; the nearest is \"a.mkv\"";
        let status = Status::with_error_details(Code::NotFound, message, details);
        assert_eq!(report(Failure::status(&status)).text(), format!("shoalctl: {message}\n"));
    }

    #[test]
    fn a_status_becomes_a_line_a_hint_and_an_exit_code() {
        let metadata = HashMap::from([("suggestion".to_owned(), "file1.webm.part3".to_owned())]);
        let details = ErrorDetails::with_error_info("NO_SUCH_CHUNK", "shoal", metadata);
        let status = Status::with_error_details(Code::NotFound, "no chunk 'a\x1b[2J'", details);
        let report = report(Failure::status(&status));
        assert_eq!(report.exit, Exit::NotFound);
        assert_eq!(
            report.text(),
            "shoalctl: no chunk 'a\u{fffd}[2J'\nhint: did you mean 'file1.webm.part3'?\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["code"], "NOT_FOUND");
        assert_eq!(json["reason"], "NO_SUCH_CHUNK");
        assert_eq!(json["metadata"]["suggestion"], "file1.webm.part3");
        assert_eq!(json["violations"], json!([]));
        assert_eq!(report.json().lines().count(), 1);
    }

    #[test]
    fn violations_name_their_fields() {
        let mut details = ErrorDetails::with_bad_request_violation("peer.port", "0 is no port");
        details.set_error_info("INVALID", "shoal", HashMap::<String, String>::new());
        let status = Status::with_error_details(Code::InvalidArgument, "bad request", details);
        let report = report(Failure::status(&status));
        assert_eq!(report.exit, Exit::Invalid);
        assert_eq!(report.text(), "shoalctl: bad request\n  peer.port: 0 is no port\n");
        assert!(report.json().contains("\"field\":\"peer.port\""));
    }

    #[test]
    fn a_status_without_words_or_details_still_says_something() {
        let report = report(Failure::status(&Status::new(Code::Unimplemented, "")));
        assert_eq!(report.exit, Exit::Unimplemented);
        assert!(report.text().len() > "shoalctl: \n".len());
    }

    #[test]
    fn a_broken_connection_is_unreachable_whatever_its_code() {
        let error = io::Error::new(io::ErrorKind::NotFound, "no such socket");
        let report = report(Failure::status(&Status::from_error(Box::new(error))));
        assert_eq!(report.exit, Exit::Unreachable);
        assert!(report.text().contains("no such socket"));
    }

    #[test]
    fn a_broken_pipe_is_silent() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::stdio(&error), Failure::Closed));
    }
}
