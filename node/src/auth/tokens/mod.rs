//! The tokens of a node: made, looked up by their secret, revoked. In memory as hashes, and in
//! `tokens.json` of the state folder, which is replaced as a whole. Never here: who is asked for one.
//!
//! - [`secret`]: secrets and their hashes
//! - `file`: what is on disk
//! - `builtin`: the two tokens that a node makes by itself

mod builtin;
mod file;
pub mod secret;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use tokio_util::sync::CancellationToken;

use super::scope::Scopes;
use builtin::Builtin;
use file::{Record, Stored};
use secret::{Digest, Secret};

/// The most tokens of a node. A call looks at all of them, which takes some ten microseconds then.
pub const TOKENS_MAX: usize = 1000;
/// The longest name of a token, bytes.
pub const NAME_LEN_MAX: usize = 64;
/// What every id begins with, and no name.
pub const ID_PREFIX: &str = "tok_";

/// The tokens of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Held while the file is written, so that two writers do not lose each other's work. Whoever
    /// only looks does not wait for it.
    writing: Mutex<()>,
    live: RwLock<Live>,
}

/// What is in force.
#[derive(Clone, Debug, Default)]
struct Live {
    tokens: Vec<Held>,
    /// Builtin tokens that were revoked: they do not come back by themselves.
    retired: Vec<Builtin>,
}

/// A token in force, and the end of it.
#[derive(Clone, Debug)]
struct Held {
    token: Token,
    digest: Digest,
    ended: CancellationToken,
}

/// A token, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Unique on this node.
    pub id: String,
    /// Unique on this node, as long as it has not expired.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it was made.
    pub created: SystemTime,
    /// From when on it is refused.
    pub expires: Option<SystemTime>,
    /// The file that holds its secret, of a token that the node made by itself.
    pub file: Option<PathBuf>,
}

/// What a secret is good for.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose secret it is.
    pub token: Token,
    /// Cancelled when the token is revoked.
    pub ended: CancellationToken,
}

/// A token to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// How it is called.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// From when on it is refused.
    pub expires: Option<SystemTime>,
}

/// Why the tokens of a node cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The list of tokens holds something else.
    #[error("{}: {cause}; delete it, and every token but the two of the node is forgotten", path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A token's file holds none.
    #[error("{} holds no token; delete it, and the node makes a new one", .0.display())]
    NoToken(PathBuf),
}

/// Why a token was not made or not revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its name cannot be one.
    #[error(
        "'{0}' is no name: 1-{NAME_LEN_MAX} letters, digits, '.', '_' and '-', not beginning with {ID_PREFIX}"
    )]
    BadName(String),
    /// It could be used for nothing.
    #[error("a token without a scope could do nothing")]
    NoScope,
    /// It would be refused at once.
    #[error("that time has passed")]
    Expired,
    /// Another is called so.
    #[error("a token is called {0} already; revoke it first")]
    Exists(String),
    /// There are too many.
    #[error("{TOKENS_MAX} tokens are the most; revoke some first")]
    TooMany,
    /// None has this id or name.
    #[error("no token has the id or the name '{0}'")]
    Unknown(String),
    /// The system gave no randomness, or did not take the file.
    #[error("nothing was changed: {}: {cause}", path.display())]
    NotSaved {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The token is refused, but its end is not on disk.
    #[error("{name} is refused until the node's next start only: {}: {cause}", path.display())]
    RevokedNotSaved {
        /// The token's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl Token {
    /// Whether it is refused at this time.
    #[must_use]
    pub fn expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Tokens {
    /// Reads the tokens of the node whose state is in `dir`, and sees to it that the two tokens of
    /// the node are there with their files. Touches the disk: blocks.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: &Path, now: SystemTime) -> Result<Self, OpenError> {
        let stored = file::read(dir)?;
        let mut live = Live::of(dir, stored.unwrap_or_default(), now);
        for builtin in Builtin::ALL {
            if !live.retired.contains(&builtin) {
                builtin.see_to(dir, &mut live, now)?;
            }
        }
        let failed = |cause| OpenError::Io { path: file::path(dir), cause };
        file::write(dir, &live.stored()).map_err(failed)?;
        let inner = Inner { dir: dir.to_owned(), writing: Mutex::new(()), live: RwLock::new(live) };
        Ok(Self(Arc::new(inner)))
    }

    /// What a secret is good for; none for one that is unknown, revoked or expired, and nothing tells
    /// these apart. Every token is looked at, whichever fits: the time tells nothing either.
    #[must_use]
    pub fn check(&self, secret: &str, now: SystemTime) -> Option<Grant> {
        let digest = Digest::of(secret);
        let live = self.look();
        let mut found = None;
        for held in &live.tokens {
            if held.digest.same(&digest) {
                found = Some(held);
            }
        }
        let held = found.filter(|held| !held.token.expired(now))?;
        Some(Grant { token: held.token.clone(), ended: held.ended.clone() })
    }

    /// Every token, in order of name, then of id.
    #[must_use]
    pub fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<_> = self.look().tokens.iter().map(|held| held.token.clone()).collect();
        tokens.sort_unstable_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        tokens
    }

    /// Makes a token and returns it with its secret, which is kept nowhere. Touches the disk: blocks.
    ///
    /// # Errors
    /// [`TokenError`]; nothing was changed then.
    pub fn create(&self, new: NewToken, now: SystemTime) -> Result<(Token, Secret), TokenError> {
        check_name(&new.name)?;
        if new.scopes.is_empty() {
            return Err(TokenError::NoScope);
        }
        if new.expires.is_some_and(|expires| expires <= now) {
            return Err(TokenError::Expired);
        }
        let not_saved = |cause| TokenError::NotSaved { path: file::path(&self.0.dir), cause };
        let _writing = self.write_alone();
        let mut live = self.look().clone();
        live.tokens.retain(|held| !held.token.expired(now));
        if live.tokens.iter().any(|held| held.token.name == new.name) {
            return Err(TokenError::Exists(new.name));
        }
        if live.tokens.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let secret = Secret::random().map_err(not_saved)?;
        let NewToken { name, scopes, expires } = new;
        let id = secret::random_id().map_err(not_saved)?;
        let token = Token { id, name, scopes, created: now, expires, file: None };
        let digest = Digest::of(secret.expose());
        let held = Held { token: token.clone(), digest, ended: CancellationToken::new() };
        live.tokens.push(held);
        file::write(&self.0.dir, &live.stored()).map_err(not_saved)?;
        *self.change() = live;
        Ok((token, secret))
    }

    /// Ends the token of this id or name: it is refused when this returns, and what was opened with it
    /// is told. Touches the disk: blocks.
    ///
    /// # Errors
    /// [`TokenError::Unknown`]; [`TokenError::RevokedNotSaved`], where it is refused all the same.
    pub fn revoke(&self, which: &str) -> Result<Token, TokenError> {
        let _writing = self.write_alone();
        let (held, stored) = {
            let mut live = self.change();
            let by = |fits: &dyn Fn(&Token) -> bool| {
                live.tokens.iter().position(|held| fits(&held.token))
            };
            let at = by(&|token| token.id == which).or_else(|| by(&|token| token.name == which));
            let at = at.ok_or_else(|| TokenError::Unknown(which.to_owned()))?;
            let held = live.tokens.remove(at);
            if let Some(builtin) = Builtin::of(&held.token) {
                live.retired.push(builtin);
            }
            (held, live.stored())
        };
        held.ended.cancel();
        let token = held.token;
        if let Some(path) = &token.file
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // It is good for nothing any more.
            tracing::warn!(path = %path.display(), %error, "the file of a revoked token stays");
        }
        file::write(&self.0.dir, &stored).map_err(|cause| TokenError::RevokedNotSaved {
            name: token.name.clone(),
            path: file::path(&self.0.dir),
            cause,
        })?;
        Ok(token)
    }

    // What a lock guards is whole between any two statements: one that panicked left it so.

    fn look(&self) -> RwLockReadGuard<'_, Live> {
        self.0.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Live> {
        self.0.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_alone(&self) -> MutexGuard<'_, ()> {
        self.0.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// What was stored, without what has expired.
    fn of(dir: &Path, stored: Stored, now: SystemTime) -> Self {
        let Stored { tokens, retired, .. } = stored;
        let held = |record: Record| {
            let (digest, ended) = (record.sha256, CancellationToken::new());
            Held { token: record.token(dir), digest, ended }
        };
        let tokens = tokens.into_iter().map(held).filter(|held| !held.token.expired(now));
        Self { tokens: tokens.collect(), retired }
    }

    fn stored(&self) -> Stored {
        let records = self.tokens.iter().map(|held| Record::of(&held.token, held.digest));
        Stored { tokens: records.collect(), retired: self.retired.clone(), ..Stored::default() }
    }
}

fn check_name(name: &str) -> Result<(), TokenError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(plain);
    if !fits || name.starts_with(ID_PREFIX) {
        return Err(TokenError::BadName(name.to_owned()));
    }
    Ok(())
}
