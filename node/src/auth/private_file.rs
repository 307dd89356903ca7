//! Small files that are put in place whole or not at all, and those that are nobody else's.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readers {
    /// Its user: 0600.
    User,
    /// Everybody: 0644.
    All,
}

/// Puts a file in place, synced.
pub(super) fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Made with 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    if readers == Readers::All {
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Reads a file of at most `len_max` bytes.
pub(super) fn read(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    if found.len() > len_max {
        return Err(io::Error::other(format!("{} bytes, above {len_max}", found.len())));
    }
    fs::read(path)
}

/// Reads a text that is nobody else's, and sees to it that it is so.
pub(super) fn read_private(path: &Path, len_max: u64) -> io::Result<String> {
    if readable_by_others(path)? {
        tracing::warn!(path = %path.display(), "others could read it; it is closed to them");
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    let bytes = read(path, len_max)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("is not UTF-8"))
}

/// Whether group or others have any right to it.
pub(super) fn readable_by_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}
