//! Local files, read within a limit and written whole. Never here: which file.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{failure::Failure, human};

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// It stays, and that is an error.
    Stays,
    /// It is replaced.
    Replaced,
}

/// A whole local file of at most `len_max` bytes.
///
/// # Errors
/// The file cannot be read, or is longer.
pub(crate) fn read_bounded(path: &Path, len_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: &io::Error| Failure::file(path, e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed(&e))?;
    file.take(len_max + 1).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    if bytes.len() as u64 > len_max {
        return Err(Failure::invalid(format!(
            "{} is longer than {}",
            path.display(),
            human::bytes(len_max)
        )));
    }
    Ok(bytes)
}

/// Writes a file whole or not at all.
///
/// # Errors
/// It cannot be written, or is there and stays.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], there: There) -> Result<(), Failure> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let written = File::create_new(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        // A link refuses a name that exists; a rename replaces it.
        .and_then(|()| match there {
            There::Replaced => fs::rename(&partial, path),
            There::Stays => fs::hard_link(&partial, path),
        });
    // After a rename there is nothing left to remove.
    let _ = fs::remove_file(&partial);
    written.map_err(|e| Failure::file(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.torrent");
        write_whole(&path, b"one", There::Stays).unwrap();
        assert!(write_whole(&path, b"two", There::Stays).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_whole(&path, b"three", There::Replaced).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a partial file was left");
    }

    #[test]
    fn a_file_over_its_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [0; 8]).unwrap();
        assert_eq!(read_bounded(&path, 9).unwrap().len(), 8);
        assert_eq!(read_bounded(&path, 8).unwrap().len(), 8);
        assert!(read_bounded(&path, 7).is_err());
    }
}
