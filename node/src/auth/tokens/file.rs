//! `tokens.json`: what survives a restart. Replaced as a whole, readable by the node's user alone.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{OpenError, Token, builtin::Builtin, secret::Digest};
use crate::auth::{
    private_file::{self, Readers},
    scope::Scopes,
};

/// The largest list that is read, bytes: [`TOKENS_MAX`](super::TOKENS_MAX) tokens take a third.
const LEN_MAX: u64 = 1 << 20;
/// The form of the file.
const VERSION: u32 = 1;

/// All of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) version: u32,
    pub(super) tokens: Vec<Record>,
    pub(super) retired: Vec<Builtin>,
}

/// A token in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    id: String,
    name: String,
    pub(super) sha256: Digest,
    scopes: Scopes,
    /// Since the epoch of Unix.
    created_ms: u64,
    expires_ms: Option<u64>,
    /// Set for the tokens that the node made by itself.
    builtin: Option<Builtin>,
}

impl Default for Stored {
    fn default() -> Self {
        Self { version: VERSION, tokens: Vec::new(), retired: Vec::new() }
    }
}

impl Record {
    pub(super) fn of(token: &Token, sha256: Digest) -> Self {
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            sha256,
            scopes: token.scopes.clone(),
            created_ms: millis(token.created),
            expires_ms: token.expires.map(millis),
            builtin: Builtin::of(token),
        }
    }

    pub(super) fn token(self, dir: &Path) -> Token {
        Token {
            id: self.id,
            name: self.name,
            scopes: self.scopes,
            created: time(self.created_ms),
            expires: self.expires_ms.map(time),
            file: self.builtin.map(|builtin| builtin.path(dir)),
        }
    }
}

/// Where the file is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("tokens.json")
}

/// Reads the file; none where there is none.
pub(super) fn read(dir: &Path) -> Result<Option<Stored>, OpenError> {
    let path = path(dir);
    let malformed = |cause: String| OpenError::Malformed { path: path.clone(), cause };
    let text = match private_file::read_private(&path, LEN_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(OpenError::Io { path, cause }),
    };
    let stored: Stored =
        serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if stored.version != VERSION {
        return Err(malformed(format!("version {} is not {VERSION}", stored.version)));
    }
    Ok(Some(stored))
}

/// Replaces the file.
pub(super) fn write(dir: &Path, stored: &Stored) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(stored)?;
    text.push('\n');
    private_file::replace(&path(dir), text.as_bytes(), Readers::User)
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(ms: u64) -> SystemTime {
    // A time beyond what the system can tell comes as late as it can.
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}
