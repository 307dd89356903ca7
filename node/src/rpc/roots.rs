//! Which paths of this machine a caller may share from: the node's own user, over the Unix socket, any;
//! whoever has a token those below the share roots, symbolic links resolved on both sides.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::status::{Reason, Refusal};

/// Who shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// The node's own user, or root, over the Unix socket: it can read these files anyway.
    Owner,
    /// Whoever has a token.
    Token,
}

/// The folders, and files, from which may be shared with a token.
#[derive(Clone, Debug, Default)]
pub struct ShareRoots(Vec<PathBuf>);

impl ShareRoots {
    /// These roots; they need not exist yet.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self(roots)
    }

    /// The path without links, where the caller may share it. Touches the disk: blocks.
    ///
    /// # Errors
    /// A refusal of a `field` that is no absolute path, `PATH_NOT_SHARED`, `PATH_NOT_FOUND` or
    /// `BAD_PATH`. With a token nothing is told of what lies outside the roots.
    pub fn resolve(&self, field: &'static str, path: &str, via: Via) -> Result<PathBuf, Refusal> {
        if path.is_empty() {
            return Err(Refusal::field(field, "is empty"));
        }
        let asked = Path::new(path);
        if !asked.is_absolute() || path.contains('\0') {
            return Err(Refusal::field(field, format!("'{path}' is no absolute path on the node")));
        }
        let real = fs::canonicalize(asked);
        if via == Via::Token && !self.holds(real.as_deref().unwrap_or(asked)) {
            return Err(self.not_shared(path));
        }
        real.map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                let message = format!("{field}: nothing is at {path}");
                return Refusal::new(Reason::PathNotFound, message).with("path", path);
            }
            Refusal::new(Reason::BadPath, format!("{field}: {path}: {error}"))
                .with("path", path)
                .with("cause", error)
        })
    }

    fn holds(&self, path: &Path) -> bool {
        // A path with `..` in it that could not be resolved lies nowhere.
        let plain = path.components().all(|part| part != std::path::Component::ParentDir);
        plain
            && self
                .0
                .iter()
                .any(|root| path.starts_with(fs::canonicalize(root).as_deref().unwrap_or(root)))
    }

    fn not_shared(&self, path: &str) -> Refusal {
        let roots: Vec<_> = self.0.iter().map(|root| root.display().to_string()).collect();
        let roots = roots.join(", ");
        let message = format!(
            "{path} is in none of the share roots ({roots}); start the node with --share-root, or \
             call over its Unix socket"
        );
        Refusal::new(Reason::PathNotShared, message).with("path", path).with("roots", roots)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn reason(result: Result<PathBuf, Refusal>) -> &'static str {
        result.unwrap_err().reason.name()
    }

    #[test]
    fn with_a_token_only_what_really_lies_below_a_root_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (root, other) = (base.join("root"), base.join("root2"));
        for folder in [&root, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
        symlink(other.join("file"), root.join("out")).unwrap();
        symlink(&root, base.join("link")).unwrap();
        let roots = ShareRoots::new(vec![base.join("link"), base.join("later")]);
        let token = |path: &Path| roots.resolve("path", path.to_str().unwrap(), Via::Token);

        assert_eq!(token(&root.join("file")).unwrap(), root.join("file"));
        assert_eq!(token(&base.join("link/file")).unwrap(), root.join("file"), "a root by a link");
        assert_eq!(token(&root).unwrap(), root, "the root itself");
        assert_eq!(reason(token(&other.join("file"))), "PATH_NOT_SHARED", "a like-named neighbour");
        assert_eq!(reason(token(&root.join("out"))), "PATH_NOT_SHARED", "a link out of the root");
        assert_eq!(reason(token(&root.join("../root2/file"))), "PATH_NOT_SHARED");
        assert_eq!(reason(token(&root.join("none"))), "PATH_NOT_FOUND");
        assert_eq!(reason(token(&root.join("../../none"))), "PATH_NOT_SHARED");
        assert_eq!(
            reason(token(&other.join("none"))),
            "PATH_NOT_SHARED",
            "not even that it is absent"
        );
    }

    #[test]
    fn the_owner_shares_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().canonicalize().unwrap().join("file");
        fs::write(&file, "x").unwrap();
        let roots = ShareRoots::default();
        let owner = |path: &str| roots.resolve("path", path, Via::Owner);
        assert_eq!(owner(file.to_str().unwrap()).unwrap(), file);
        assert_eq!(reason(owner("/nowhere/at/all")), "PATH_NOT_FOUND");
        for bad in ["", "relative", "/a\0b"] {
            assert_eq!(reason(owner(bad)), "BAD_ARGUMENT", "{bad:?}");
        }
    }
}
