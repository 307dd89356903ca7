//! Files that are watched for changes: by the system's notices and, because editors rename and
//! containers lose notices, by looking at the content every so often. What is told is a content that
//! differs from the one before; bursts are told once. Never here: what becomes of it.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use sha1::{Digest, Sha1};

/// A change is told once nothing more changed for this long (policy.md §4).
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// The content is looked at this often, whatever the system says.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a watched file holds: its bytes, or why they cannot be read.
pub type Content = Result<Vec<u8>, String>;

/// A watched file. Ends when it is dropped.
#[derive(Debug)]
pub struct FileWatch {
    /// The thread ends when this end of its channel is gone.
    _hold: SyncSender<Wake>,
}

enum Wake {
    Changed,
}

impl FileWatch {
    /// Watches `path`, whose content was `known` when it was read last; at most `len_max` bytes of
    /// it are read. `tell` is called on a thread of the watch.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin(
        path: PathBuf,
        known: &[u8],
        len_max: u64,
        tell: impl Fn(Content) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        // A channel of its own: the sender of the notices lives as long as the thread itself.
        let (hold, held) = sync_channel::<Wake>(1);
        let known = Sha1::digest(known).into();
        let watched = Watched { path, known, len_max };
        std::thread::Builder::new().name("policy-file".into()).spawn(move || {
            let notices = notices(&watched.path, wake);
            watched.run(&woken, &held, tell);
            drop(notices);
        })?;
        Ok(Self { _hold: hold })
    }
}

struct Watched {
    path: PathBuf,
    known: [u8; 20],
    len_max: u64,
}

impl Watched {
    fn run(mut self, woken: &Receiver<Wake>, held: &Receiver<Wake>, tell: impl Fn(Content)) {
        let mut failing = false;
        loop {
            let changed = match woken.recv_timeout(LOOK_EVERY) {
                Ok(Wake::Changed) => true,
                Err(RecvTimeoutError::Timeout) => false,
                // No notices on this system: the look by the clock is all there is.
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(LOOK_EVERY);
                    false
                }
            };
            if is_gone(held) {
                return;
            }
            while changed && woken.recv_timeout(SETTLED_AFTER).is_ok() {}
            match self.look() {
                Ok(None) => {}
                Ok(Some(content)) => {
                    failing = false;
                    tell(Ok(content));
                }
                // A file that is away for a moment, as editors have it, is told once.
                Err(cause) => {
                    if !std::mem::replace(&mut failing, true) {
                        tell(Err(cause));
                    }
                }
            }
        }
    }

    /// The content, where it is another one.
    fn look(&mut self) -> Result<Option<Vec<u8>>, String> {
        let content = read(&self.path, self.len_max).map_err(|error| error.to_string())?;
        let hash: [u8; 20] = Sha1::digest(&content).into();
        if hash == self.known {
            return Ok(None);
        }
        self.known = hash;
        Ok(Some(content))
    }
}

/// Whether the other end is gone.
fn is_gone(held: &Receiver<Wake>) -> bool {
    matches!(held.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
}

/// At most a byte more than `len_max`, so that a longer file is seen to be.
fn read(path: &Path, len_max: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(len_max.saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}

/// The system's notices of the file's folder: an editor that renames leaves the file's own watch
/// with a file that is gone. None where the system gives none.
fn notices(path: &Path, wake: SyncSender<Wake>) -> Option<notify::RecommendedWatcher> {
    let folder = path.parent()?.to_owned();
    let name = path.file_name()?.to_owned();
    let ours = move |event: &notify::Event| {
        event.paths.iter().any(|path| path.file_name() == Some(&name)) || event.need_rescan()
    };
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // One that waits is enough.
        if event.is_ok_and(|event| ours(&event) && !event.kind.is_access()) {
            let _ = wake.try_send(Wake::Changed);
        }
    });
    let mut watcher = watcher.inspect_err(|error| tracing::debug!(%error, "no notices")).ok()?;
    let watched = watcher.watch(&folder, RecursiveMode::NonRecursive);
    watched.inspect_err(|error| tracing::debug!(%error, "no notices")).ok()?;
    Some(watcher)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn watched(dir: &Path) -> (FileWatch, Receiver<Content>, PathBuf) {
        let path = dir.join("near.lua");
        std::fs::write(&path, "first").unwrap();
        let (tell, told) = channel();
        let tell = move |content| tell.send(content).unwrap_or_default();
        (FileWatch::begin(path.clone(), b"first", 16, tell).unwrap(), told, path)
    }

    #[test]
    fn a_change_is_told_once_whether_written_or_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let (_watch, told, path) = watched(dir.path());
        std::fs::write(&path, "second").unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(b"second".to_vec())));
        let other = dir.path().join("near.lua~");
        std::fs::write(&other, "third").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(b"third".to_vec())));
        std::fs::write(&path, "third").unwrap();
        std::fs::write(dir.path().join("other.lua"), "x").unwrap();
        assert!(told.recv_timeout(LOOK_EVERY * 2).is_err(), "nothing changed");
    }

    #[test]
    fn a_file_that_is_gone_is_told_once_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (_watch, told, path) = watched(dir.path());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(told.recv_timeout(PATIENCE), Ok(Err(_))));
        std::fs::write(&path, "again").unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(b"again".to_vec())));
    }

    #[test]
    fn a_longer_file_is_read_a_byte_beyond_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let (_watch, told, path) = watched(dir.path());
        std::fs::write(&path, [b'x'; 100]).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().map(|content| content.len()), Ok(17));
    }
}
