//! Whether bytes of a file are in the page cache, and bringing them there on a blocking thread, so
//! that no socket task waits for a disk.

use std::{fs::File, io::IoSliceMut, ops::Range, os::unix::fs::FileExt, sync::Arc};

use rustix::{
    fs::{Advice, fadvise, fstatfs},
    io::{ReadWriteFlags, preadv2},
};

/// One probe finds one page; the system reads files ahead in windows of 128 KiB and more.
const PROBE_STRIDE: u64 = 64 * 1024;
/// What a blocking thread reads ahead of a cold range, bytes.
const AHEAD_LEN: u64 = 4 * 1024 * 1024;
/// The `f_type` of a tmpfs, whose pages are never on a disk.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Whether sendfile of this range would find its pages in memory. `false` also where the file
/// system cannot tell.
pub(super) fn is_warm(file: &File, range: &Range<u64>) -> bool {
    let mut at = range.start;
    loop {
        let mut byte = [0];
        let found = preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
        match found {
            // An end of file is for sendfile to find.
            Ok(_) => {}
            Err(_) => return false,
        }
        let last = range.end.saturating_sub(1);
        if at >= last {
            return true;
        }
        at = (at + PROBE_STRIDE).min(last);
    }
}

/// Brings the range into the page cache, and begins to read what follows it. Blocks; what cannot be
/// read is for sendfile to find.
pub(super) fn bring(file: &Arc<File>, range: &Range<u64>) {
    let ahead = std::num::NonZeroU64::new(AHEAD_LEN.max(range.end - range.start));
    // Advice that is not taken costs speed, nothing else.
    let _ = fadvise(file, range.start, ahead, Advice::WillNeed);
    let mut scratch = vec![0; PROBE_STRIDE as usize];
    let mut at = range.start;
    while at < range.end {
        let want = (range.end - at).min(PROBE_STRIDE) as usize;
        match file.read_at(&mut scratch[..want], at) {
            Ok(0) | Err(_) => return,
            Ok(got) => at += got as u64,
        }
    }
}

/// Whether the file has no disk under it, so that it needs no probe.
pub(super) fn is_tmpfs(file: &File) -> bool {
    fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_was_brought_is_warm() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 300_000]).unwrap();
        let file = Arc::new(file);
        bring(&file, &(10..300_000));
        // Where a file system cannot tell, nothing is taken to be warm.
        let mut byte = [0];
        let probe = &mut [IoSliceMut::new(&mut byte)];
        let tells = preadv2(&file, probe, 0, ReadWriteFlags::NOWAIT) != Err(Errno::OPNOTSUPP);
        assert_eq!(is_warm(&file, &(10..300_000)), tells);
        bring(&file, &(299_999..400_000));
    }
}
