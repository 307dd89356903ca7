//! The options behind an announce (BEP 41): bytes of a type, a length and data. The only one known
//! is the path of the announce URL with its query, in pieces of at most 255 bytes.

use super::PacketError;

/// No more options.
const END: u8 = 0;
/// Nothing, one byte long.
const NOTHING: u8 = 1;
/// A piece of path and query.
const URL_DATA: u8 = 2;
/// The longest data of one option, bytes: its length is one byte.
const DATA_LEN_MAX: usize = 255;
/// The longest path and query that is sent, bytes: so much fits one packet everywhere, behind 98
/// bytes of announce and with 2 more for each 255.
pub const URL_DATA_LEN_MAX: usize = 1024;

/// Appends path and query of an announce URL; nothing where they are empty. What is longer than
/// [`URL_DATA_LEN_MAX`] is for the caller to refuse.
pub fn write_url_data(url_data: &[u8], out: &mut Vec<u8>) {
    for data in url_data.chunks(DATA_LEN_MAX) {
        out.extend([URL_DATA, u8::try_from(data.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(data);
    }
    if !url_data.is_empty() {
        out.push(END);
    }
}

/// The path and query among the options, empty where there is none. Options of other types are
/// skipped.
///
/// # Errors
/// [`PacketError::Option`] for one that is cut off.
pub fn read_url_data(options: &[u8]) -> Result<Vec<u8>, PacketError> {
    let mut url_data = Vec::new();
    each(options, |kind, data| {
        if kind == URL_DATA {
            url_data.extend_from_slice(data);
        }
    })?;
    Ok(url_data)
}

/// Whether options can be read.
///
/// # Errors
/// As [`read_url_data`].
pub fn check(options: &[u8]) -> Result<(), PacketError> {
    each(options, |_, _| {})
}

/// Calls with type and data of each option.
fn each(options: &[u8], mut call: impl FnMut(u8, &[u8])) -> Result<(), PacketError> {
    let mut rest = options;
    while let [kind, after @ ..] = rest {
        let kind = *kind;
        match kind {
            END => break,
            NOTHING => rest = after,
            _ => {
                let (&len, after) = after.split_first().ok_or(PacketError::Option { kind })?;
                let split = after.split_at_checked(usize::from(len));
                let (data, after) = split.ok_or(PacketError::Option { kind })?;
                call(kind, data);
                rest = after;
            }
        }
    }
    Ok(())
}
