//! The floor: the least that any verified transfer over TCP does. One side only calls sendfile; the
//! other reads whole pieces, and on a second thread hashes and writes them. No protocol, no tracker,
//! no check of the hash against anything: whatever a client does besides shows as its distance to
//! this. Never here: timing it.

use std::{
    fs::{self, File},
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, bail};
use sha1::{Digest as _, Sha1};

/// Pieces on their way from the socket to the file at once. More do not make it faster.
const PIECES_IN_FLIGHT: usize = 16;
/// The most that Linux sends with one call, bytes: `MAX_RW_COUNT`, rounded down.
const SEND_LEN_MAX: u64 = 1 << 30;

/// Serves `file` to every connection on a free port of `ip`, whose address it writes to `ready_file`.
/// Ends by being ended.
///
/// # Errors
/// The file cannot be opened, or nothing can listen.
pub(crate) fn send(ip: Ipv4Addr, file: &Path, ready_file: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind((ip, 0))?;
    let part = ready_file.with_extension("part");
    fs::write(&part, listener.local_addr()?.to_string())?;
    fs::rename(&part, ready_file)?;
    loop {
        let (stream, _) = listener.accept()?;
        let file = File::open(file).with_context(|| file.display().to_string())?;
        thread::spawn(move || send_all(&stream, &file));
    }
}

/// # Errors
/// The file is shorter than it was, or the other side is gone.
fn send_all(stream: &TcpStream, file: &File) -> anyhow::Result<()> {
    let len = file.metadata()?.len();
    let mut offset = 0;
    while offset < len {
        let now = usize::try_from((len - offset).min(SEND_LEN_MAX))?;
        if rustix::fs::sendfile(stream, file, Some(&mut offset), now)? == 0 {
            bail!("the file ended at {offset} of {len} bytes");
        }
    }
    Ok(())
}

/// Receives `len` bytes from `addr` into the new file `copy`.
///
/// # Errors
/// The connection ends early, or the file cannot be written.
pub(crate) fn receive(
    addr: SocketAddr,
    copy: &Path,
    len: u64,
    piece_len: u32,
) -> anyhow::Result<()> {
    let file = File::create_new(copy).with_context(|| copy.display().to_string())?;
    file.set_len(len)?;
    let mut stream = TcpStream::connect(addr)?;
    let (to_file, pieces) = mpsc::sync_channel::<(u64, Vec<u8>)>(PIECES_IN_FLIGHT);
    let (to_socket, spare) = mpsc::channel();
    for _ in 0..PIECES_IN_FLIGHT {
        to_socket.send(vec![0; piece_len as usize])?;
    }
    thread::scope(|scope| {
        let writer = scope.spawn(move || -> std::io::Result<()> {
            for (offset, piece) in pieces {
                std::hint::black_box(Sha1::digest(&piece));
                file.write_all_at(&piece, offset)?;
                if to_socket.send(piece).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let read = read_pieces(&mut stream, len, piece_len, &spare, &to_file);
        drop(to_file);
        match writer.join() {
            Ok(written) => written.context("writing")?,
            Err(_) => bail!("the writer panicked"),
        }
        read
    })
}

fn read_pieces(
    stream: &mut TcpStream,
    len: u64,
    piece_len: u32,
    spare: &mpsc::Receiver<Vec<u8>>,
    to_file: &mpsc::SyncSender<(u64, Vec<u8>)>,
) -> anyhow::Result<()> {
    let mut offset = 0;
    while offset < len {
        // The writer ends early only with an error of its own.
        let mut piece = spare.recv().context("the writer ended")?;
        let now = u64::from(piece_len).min(len - offset);
        piece.truncate(usize::try_from(now)?);
        stream.read_exact(&mut piece).with_context(|| format!("at {offset} of {len} bytes"))?;
        to_file.send((offset, piece)).context("the writer ended")?;
        offset += now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(len: u64, expected: u64) -> anyhow::Result<bool> {
        let dir = tempfile::tempdir()?;
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        fs::write(&from, &bytes)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        thread::scope(|scope| {
            scope.spawn(|| send_all(&listener.accept()?.0, &File::open(&from)?));
            receive(addr, &to, expected, 16_384)
        })?;
        Ok(fs::read(&to)? == bytes)
    }

    #[test]
    fn a_copy_is_the_source_whatever_the_last_piece() {
        for len in [1, 16_383, 16_384, 16_385, 3_000_001] {
            assert!(transfer(len, len).unwrap(), "{len} bytes");
        }
    }

    #[test]
    fn a_source_that_ends_early_is_an_error() {
        let error = transfer(100_000, 100_001).unwrap_err();
        assert!(error.to_string().contains("at 98304 of 100001"), "{error:#}");
    }
}
