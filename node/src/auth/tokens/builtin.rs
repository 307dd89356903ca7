//! The two tokens that a node makes by itself, `admin` and `readonly`, with their secrets in files of
//! the state folder. The file leads:
//!
//! - it is missing: a new secret is made, and the old one is refused. To rotate, delete the file and
//!   start the node again.
//! - it holds another secret than the node knows: that one is taken. So an operator names one, and so
//!   the tokens of a node whose list was lost stay good.
//! - the token was revoked: the file went with it, and none is made or taken any more.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    Held, Live, OpenError, Token,
    secret::{Digest, Secret, random_id},
};
use crate::auth::{
    private_file::{self, Readers},
    scope::{Scope, Scopes},
};

/// The largest file that is read for a secret, bytes.
const LEN_MAX: u64 = 1 << 10;

/// A token that a node makes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Builtin {
    /// May do everything.
    Admin,
    /// May look.
    Readonly,
}

impl Builtin {
    pub(super) const ALL: [Self; 2] = [Self::Admin, Self::Readonly];

    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Readonly => "readonly",
        }
    }

    const fn scope(self) -> Scope {
        match self {
            Self::Admin => Scope::Admin,
            Self::Readonly => Scope::Read,
        }
    }

    /// Where its secret is.
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.token", self.name()))
    }

    /// Which of them a token is.
    pub(super) fn of(token: &Token) -> Option<Self> {
        token.file.as_ref()?;
        Self::ALL.into_iter().find(|builtin| builtin.name() == token.name)
    }

    /// Brings the token and its file together.
    pub(super) fn see_to(
        self,
        dir: &Path,
        live: &mut Live,
        now: SystemTime,
    ) -> Result<(), OpenError> {
        let path = self.path(dir);
        let known = live.tokens.iter().position(|held| Self::of(&held.token) == Some(self));
        let failed = |cause| OpenError::Io { path: path.clone(), cause };
        let digest = match private_file::read_private(&path, LEN_MAX) {
            Ok(text) => {
                let secret = Secret::parse(text.trim());
                let secret = secret.ok_or_else(|| OpenError::NoToken(path.clone()))?;
                let digest = Digest::of(secret.expose());
                if known.is_some_and(|at| live.tokens[at].digest.same(&digest)) {
                    return Ok(());
                }
                tracing::info!(path = %path.display(), "the token of this file is taken");
                digest
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Secret::random().map_err(failed)?;
                // Before the list: what fails between leaves a file whose token is taken.
                let text = format!("{}\n", secret.expose());
                private_file::replace(&path, text.as_bytes(), Readers::User).map_err(failed)?;
                Digest::of(secret.expose())
            }
            Err(cause) => return Err(failed(cause)),
        };
        if let Some(at) = known {
            live.tokens.remove(at);
        }
        let token = Token {
            id: random_id().map_err(failed)?,
            name: self.name().to_owned(),
            scopes: Scopes::new([self.scope()]),
            created: now,
            expires: None,
            file: Some(path.clone()),
        };
        live.tokens.push(Held { token, digest, ended: CancellationToken::new() });
        Ok(())
    }
}
