//! Why a node did not start: one line that names the thing and what to do, and the exit code.

use std::{io, net::SocketAddr, path::PathBuf};

use shoal_core::{magnet::MagnetError, metainfo::MetainfoError, session::command::CommandError};

use crate::{
    auth::{tls::TlsError, tokens::OpenError},
    config::ConfigError,
    disk::StoreError,
    exit::Exit,
    rpc::{
        socket::BindError,
        status::{Reason, Refusal},
    },
    session::{
        self,
        handle::{AddError, SetPolicyError},
    },
    tracker,
};

/// Why a node did not start. Nothing was left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The control surface cannot listen.
    #[error(transparent)]
    Control(#[from] BindError),
    /// TLS cannot be spoken with these files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens of the node cannot be had.
    #[error(transparent)]
    Tokens(#[from] OpenError),
    /// Metrics cannot be told.
    #[error("--metrics {addr}: {cause}")]
    Metrics {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// A file or folder that the configuration names cannot be used.
    #[error("{what} {}: {cause}{}", path.display(), hint(what))]
    File {
        /// What it is for, as `--torrent`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file that the configuration names is no torrent that can be used.
    #[error("{what} {}: {cause}", path.display())]
    Metainfo {
        /// What it is for, as `--torrent`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        cause: MetainfoError,
    },
    /// A magnet link that is none, or that cannot be followed.
    #[error("--torrent magnet link: {0}")]
    Magnet(MagnetError),
    /// A magnet link was not taken in.
    #[error("--torrent {name}: {cause}")]
    AddMagnet {
        /// Its name.
        name: String,
        /// Why.
        cause: AddError,
    },
    /// A torrent was not taken in.
    #[error("{what} {}: {cause}", path.display())]
    Add {
        /// What it is for, as `--seed`.
        what: &'static str,
        /// Its metainfo file.
        path: PathBuf,
        /// Why.
        cause: AddError,
    },
    /// The policy is unknown, or failed a check: the report of it.
    #[error("--policy {name}: {}{}", .cause.message, report(.cause))]
    Policy {
        /// As the configuration names it.
        name: String,
        /// Why.
        cause: Box<Refusal>,
    },
    /// The tracker did not start.
    #[error("tracker: {0}; is another tracker running? --listen takes another address")]
    Tracker(#[from] tracker::StartError),
    /// The session did not start.
    #[error("{}", session_text(.0))]
    Session(#[from] session::StartError),
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
}

impl StartError {
    pub(super) fn policy(name: String, error: SetPolicyError) -> Self {
        Self::Policy { name, cause: Box::new(error.into()) }
    }

    /// With which code the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::Control(error) => match error {
                BindError::PathTooLong(_) => Exit::Usage,
                BindError::InUse(_) | BindError::NoSocket(_) => Exit::Precondition,
                BindError::System { cause, .. } => of_io(cause),
            },
            Self::Tls(TlsError::Io { cause, .. })
            | Self::Tokens(OpenError::Io { cause, .. })
            | Self::Metrics { cause, .. }
            | Self::File { cause, .. } => of_io(cause),
            Self::Tls(
                TlsError::Malformed { .. }
                | TlsError::NotInForce { .. }
                | TlsError::OtherKey { .. },
            )
            | Self::Tokens(OpenError::Malformed { .. } | OpenError::NoToken(_)) => Exit::Invalid,
            Self::Metainfo { .. } | Self::Magnet(_) => Exit::Invalid,
            Self::AddMagnet { cause: AddError::Command(CommandError::NoSource), .. } => {
                Exit::Invalid
            }
            Self::Add { cause, .. } | Self::AddMagnet { cause, .. } => match cause {
                AddError::Metainfo(_) | AddError::Files(_) => Exit::Invalid,
                AddError::Seed { .. } | AddError::Command(_) => Exit::Precondition,
                AddError::Disk(_) => Exit::Internal,
            },
            Self::Policy { cause, .. } if cause.reason == Reason::UnknownPolicy => Exit::NotFound,
            Self::Policy { cause, .. } if cause.reason == Reason::PolicyNotSaved => Exit::Internal,
            Self::Policy { .. } => Exit::Invalid,
            Self::Tracker(
                tracker::StartError::Listen { source, .. }
                | tracker::StartError::ListenUdp { source, .. }
                | tracker::StartError::Run { source, .. },
            ) => of_io(source),
            Self::Session(error) => of_session(error),
            Self::Threads(_) => Exit::Internal,
        }
    }
}

/// What to do about a file or folder that cannot be used.
fn hint(what: &str) -> &'static str {
    match what {
        "--downloads" | "--state-dir" => "; name a folder in which this node can write",
        _ => "",
    }
}

/// The rest of a policy's report, below the line that says what is wrong.
fn report(refusal: &Refusal) -> String {
    refusal.metadata.get("report").map(|report| format!("\n{report}")).unwrap_or_default()
}

fn session_text(error: &session::StartError) -> String {
    let hint = match error {
        session::StartError::Store(StoreError::InUse { .. }) => {
            "; end that node, or choose another --state-dir"
        }
        session::StartError::Listen { .. } => "; is another peer running? --listen takes another",
        session::StartError::Folder { .. } => "; make it writable, or choose another --downloads",
        session::StartError::Store(_)
        | session::StartError::Announcer(_)
        | session::StartError::WebSeeds(_)
        | session::StartError::Threads(_) => "",
    };
    format!("{error}{hint}")
}

fn of_session(error: &session::StartError) -> Exit {
    match error {
        session::StartError::Store(StoreError::InUse { .. }) => Exit::Precondition,
        session::StartError::Store(StoreError::Io { source, .. })
        | session::StartError::Folder { source, .. }
        | session::StartError::Listen { source, .. } => of_io(source),
        session::StartError::Store(StoreError::Database { .. } | StoreError::Corrupt { .. })
        | session::StartError::Announcer(_)
        | session::StartError::WebSeeds(_)
        | session::StartError::Threads(_) => Exit::Internal,
    }
}

fn of_io(error: &io::Error) -> Exit {
    let table = [
        (io::ErrorKind::NotFound, Exit::NotFound),
        (io::ErrorKind::PermissionDenied, Exit::NotAllowed),
        (io::ErrorKind::ReadOnlyFilesystem, Exit::NotAllowed),
        (io::ErrorKind::NotADirectory, Exit::Invalid),
        (io::ErrorKind::IsADirectory, Exit::Invalid),
        (io::ErrorKind::InvalidFilename, Exit::Invalid),
        (io::ErrorKind::AddrInUse, Exit::Precondition),
        (io::ErrorKind::AddrNotAvailable, Exit::Precondition),
        (io::ErrorKind::AlreadyExists, Exit::Precondition),
    ];
    let found = table.into_iter().find(|(kind, _)| *kind == error.kind());
    found.map_or(Exit::Internal, |(_, exit)| exit)
}
