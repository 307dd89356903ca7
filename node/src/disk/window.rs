//! Hashing what files hold, through a small buffer that each thread keeps: what was just read is
//! still in the core's own cache when it is hashed, and memory does not grow with pieces.
//!
//! Never here: which bytes make a piece.

use std::{cell::RefCell, fs::File, io, num::NonZero, os::unix::fs::FileExt};

use rustix::fs::Advice;
use sha1::{Digest, Sha1};

/// Bytes read at once: large enough that the system call costs nothing, and with its source half
/// of a common second-level cache.
const WINDOW_LEN: usize = 256 * 1024;
/// Where the buffer begins: kernels copy faster between pages than across them.
const PAGE_LEN: usize = 4096;

thread_local! {
    static WINDOW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hashes a range of a file.
///
/// # Errors
/// The system's; [`io::ErrorKind::UnexpectedEof`] where the file ends before the range does.
pub(super) fn hash_range(
    hash: &mut Sha1,
    file: &File,
    mut offset: u64,
    len: u64,
) -> io::Result<()> {
    let mut left = len;
    WINDOW.with_borrow_mut(|window| {
        window.resize(WINDOW_LEN + PAGE_LEN, 0);
        let from = window.as_ptr().align_offset(PAGE_LEN).min(PAGE_LEN);
        let window = &mut window[from..from + WINDOW_LEN];
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(WINDOW_LEN).min(WINDOW_LEN);
            file.read_exact_at(&mut window[..now], offset)?;
            hash.update(&window[..now]);
            offset += now as u64;
            left -= now as u64;
        }
        Ok(())
    })
}

/// Hashes so many zeros: padding.
pub(super) fn hash_zeros(hash: &mut Sha1, len: u64) {
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PAGE_LEN).min(PAGE_LEN);
        hash.update(&[0; PAGE_LEN][..now]);
        left -= now as u64;
    }
}

/// Lets the disk begin to read a range, and returns at once. Where it will not, the reads
/// themselves will find out why.
pub(super) fn read_ahead(file: &File, offset: u64, len: u64) {
    let _ = rustix::fs::fadvise(file, offset, NonZero::new(len), Advice::WillNeed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::hash_parts;

    #[test]
    fn a_range_of_a_file_hashes_as_its_bytes() {
        let bytes: Vec<u8> = (0..=250).cycle().take(2 * WINDOW_LEN + 77).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        for (from, to) in [(0, 0), (0, 1), (5, WINDOW_LEN), (3, bytes.len()), (0, bytes.len())] {
            let mut hash = Sha1::new();
            hash_range(&mut hash, &file, from as u64, (to - from) as u64).unwrap();
            let hash: [u8; 20] = hash.finalize().into();
            assert_eq!(hash, hash_parts(&[&bytes[from..to]]), "{from}..{to}");
        }
        let beyond = hash_range(&mut Sha1::new(), &file, 1, bytes.len() as u64).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn zeros_hash_as_zeros() {
        for len in [0, 1, PAGE_LEN, 3 * PAGE_LEN + 1] {
            let mut hash = Sha1::new();
            hash_zeros(&mut hash, len as u64);
            let hash: [u8; 20] = hash.finalize().into();
            assert_eq!(hash, hash_parts(&[&vec![0; len]]), "{len}");
        }
    }
}
