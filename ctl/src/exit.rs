//! The exit codes of `shoalctl`, and the one table from gRPC codes to them. Never here: text.

use std::process::ExitCode;

use tonic::Code;

/// How a run of `shoalctl` ended, as the number its caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// A fault of `shoalctl` or of the node.
    Internal = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// No such torrent, chunk, peer, job or file.
    NotFound = 3,
    /// The caller may not do that.
    NotAllowed = 4,
    /// Nobody answers: the node, a tracker or a peer.
    Unreachable = 5,
    /// `--timeout` ran out.
    Deadline = 6,
    /// Understood, but the state of the node does not let it happen: something is missing, there
    /// already, full, or ended by someone else.
    Precondition = 7,
    /// An argument, a torrent or a policy is malformed.
    Invalid = 8,
    /// The node does not know this command.
    Unimplemented = 9,
    /// Ended with Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The number that a shell sees, 0-255.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The exit code for a gRPC status code.
    ///
    /// `OUT_OF_RANGE` (a revision that is no longer kept), `RESOURCE_EXHAUSTED` (a reader too slow,
    /// a limit reached), `ABORTED` and `CANCELLED` (a job ended by someone else) count as
    /// [`Exit::Precondition`]: the request was well-formed and the state of the node stood against it.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::NotFound => Self::NotFound,
            Code::PermissionDenied | Code::Unauthenticated => Self::NotAllowed,
            Code::Unavailable => Self::Unreachable,
            Code::DeadlineExceeded => Self::Deadline,
            Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled => Self::Precondition,
            Code::InvalidArgument => Self::Invalid,
            Code::Unimplemented => Self::Unimplemented,
            Code::Internal | Code::Unknown | Code::DataLoss => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_code_has_its_exit_code() {
        let table = [
            (Code::Ok, 0),
            (Code::Cancelled, 7),
            (Code::Unknown, 1),
            (Code::InvalidArgument, 8),
            (Code::DeadlineExceeded, 6),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 7),
            (Code::PermissionDenied, 4),
            (Code::ResourceExhausted, 7),
            (Code::FailedPrecondition, 7),
            (Code::Aborted, 7),
            (Code::OutOfRange, 7),
            (Code::Unimplemented, 9),
            (Code::Internal, 1),
            (Code::Unavailable, 5),
            (Code::DataLoss, 1),
            (Code::Unauthenticated, 4),
        ];
        for (number, (code, exit)) in table.into_iter().enumerate() {
            assert_eq!(code as usize, number, "a code is left out before {code:?}");
            assert_eq!(Exit::of(code).number(), exit, "{code:?}");
        }
        assert_eq!(Exit::Interrupted.number(), 130);
        assert_eq!(Exit::Usage.number(), 2);
    }
}
