//! The listeners of the control surface: Unix sockets that only the node's user and group reach,
//! and TCP. Bound first and served later. Never here: a service, or who is let in.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use shoal::client::SOCKET_PATH_LEN_MAX;

use crate::config::value::ControlAddr;

/// A listener that nobody serves yet.
#[derive(Debug)]
pub enum Bound {
    /// A Unix socket.
    Unix(UnixListener, SocketFile),
    /// A TCP port.
    Tcp(TcpListener, SocketAddr),
}

/// The file of a Unix socket: removed when this is dropped, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Why a control address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path does not fit into a socket address.
    #[error(
        "socket path '{}' is {} bytes, above the system's {SOCKET_PATH_LEN_MAX}; choose a shorter \
         --control or --state-dir",
        .0.display(),
        .0.as_os_str().len()
    )]
    PathTooLong(PathBuf),
    /// Another node answers there.
    #[error("another node serves {0}; choose another --control or --state-dir")]
    InUse(ControlAddr),
    /// Something that is no socket stands there.
    #[error("{} exists and is no socket; it is left alone", .0.display())]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("cannot listen on {addr}: {cause}")]
    System {
        /// Where.
        addr: ControlAddr,
        /// What the system said.
        cause: io::Error,
    },
}

impl Bound {
    /// Listens on `addr`, with the folder of a socket made where it is missing (0700) and a socket
    /// that nobody serves any more replaced.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(addr: &ControlAddr) -> Result<Self, BindError> {
        match addr {
            ControlAddr::Unix(path) => bind_unix(path),
            ControlAddr::Tcp(addr) => bind_tcp(*addr),
        }
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn addr(&self) -> ControlAddr {
        match self {
            Self::Unix(_, file) => ControlAddr::Unix(file.path.clone()),
            Self::Tcp(_, addr) => ControlAddr::Tcp(*addr),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // Nobody is left to be told that it failed; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_unix(path: &Path) -> Result<Bound, BindError> {
    if path.as_os_str().len() > SOCKET_PATH_LEN_MAX {
        return Err(BindError::PathTooLong(path.to_owned()));
    }
    let addr = || ControlAddr::Unix(path.to_owned());
    let system = |cause| BindError::System { addr: addr(), cause };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(system)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(BindError::InUse(addr())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(system)?;
            }
            Err(error) => return Err(system(error)),
        },
    }
    let listener = UnixListener::bind(path).map_err(|cause| refused(addr(), cause))?;
    let inode = fs::symlink_metadata(path).map_err(system)?.ino();
    let file = SocketFile { path: path.to_owned(), inode };
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(system)?;
    listener.set_nonblocking(true).map_err(system)?;
    Ok(Bound::Unix(listener, file))
}

fn bind_tcp(addr: SocketAddr) -> Result<Bound, BindError> {
    let system = |cause| refused(ControlAddr::Tcp(addr), cause);
    let listener = TcpListener::bind(addr).map_err(system)?;
    listener.set_nonblocking(true).map_err(system)?;
    let bound = listener.local_addr().map_err(system)?;
    Ok(Bound::Tcp(listener, bound))
}

fn refused(addr: ControlAddr, cause: io::Error) -> BindError {
    if cause.kind() == io::ErrorKind::AddrInUse {
        return BindError::InUse(addr);
    }
    BindError::System { addr, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(name: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        (dir, path)
    }

    #[test]
    fn a_socket_is_made_for_user_and_group_and_removed_in_the_end() {
        let (_dir, path) = socket("new/s.sock");
        let bound = Bound::bind(&ControlAddr::Unix(path.clone())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o700));
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_served_socket_is_left_alone_and_a_stale_one_replaced() {
        let (_dir, path) = socket("s.sock");
        let addr = ControlAddr::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap());
        let first = Bound::bind(&addr).unwrap();
        assert!(matches!(Bound::bind(&addr), Err(BindError::InUse(_))));
        assert!(UnixStream::connect(&path).is_ok(), "the first still listens");
        drop(first);
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let (_dir, path) = socket("s.sock");
        fs::write(&path, "mine").unwrap();
        let refused = Bound::bind(&ControlAddr::Unix(path.clone()));
        assert!(matches!(refused, Err(BindError::NoSocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_tcp_port_in_use_is_named() {
        let bound = Bound::bind(&ControlAddr::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let taken = Bound::bind(&bound.addr()).unwrap_err().to_string();
        assert!(taken.contains(&bound.addr().to_string()), "{taken}");
    }
}
