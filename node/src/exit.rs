//! The exit codes of `shoald`, the same numbers as `shoalctl`'s. Never here: text.

use std::process::ExitCode;

/// How a run of `shoald` ended, as the number its caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It ended in order.
    Ok = 0,
    /// A fault of the node or of its machine.
    Internal = 1,
    /// The command line, the environment or the configuration file cannot be understood.
    Usage = 2,
    /// A file or folder that was named is not there.
    NotFound = 3,
    /// The system or the node's own rules do not allow it.
    NotAllowed = 4,
    /// Somebody that is needed does not answer.
    Unreachable = 5,
    /// Something is in use already, or a download failed.
    Precondition = 7,
    /// A torrent or a policy is malformed.
    Invalid = 8,
    /// Ended by a second signal.
    Interrupted = 130,
}

impl Exit {
    /// The number that a shell sees, 0-255.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
