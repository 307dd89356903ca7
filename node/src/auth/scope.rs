//! What a token may be used for.

use serde::{Deserialize, Serialize};

/// One kind of use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To look.
    Read,
    /// To change torrents, connections, transfers, jobs.
    Write,
    /// To try policies and to put them in force.
    Policy,
    /// Everything, tokens and the node's end too.
    Admin,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Policy, Self::Admin];

    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Policy => "policy",
            Self::Admin => "admin",
        }
    }
}

/// Several kinds of use, each once, in the order of [`Scope::ALL`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>")]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// These, without repetition.
    #[must_use]
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Whether what needs `scope` may be done: each scope is for itself, but admin has all.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// Whether nothing may be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        Self::new(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_for_itself_and_admin_has_all() {
        for held in Scope::ALL {
            let scopes = Scopes::new([held, held]);
            assert_eq!(scopes.iter().count(), 1);
            for needed in Scope::ALL {
                let allowed = held == needed || held == Scope::Admin;
                assert_eq!(scopes.allow(needed), allowed, "{held:?} for {needed:?}");
            }
        }
        assert!(!Scopes::default().allow(Scope::Read));
    }
}
