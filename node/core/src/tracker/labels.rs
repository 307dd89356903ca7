//! Operator labels as announces carry them: a bencoded dictionary of strings, bounded. Never here:
//! what a label means.

use crate::{
    bencode::{self, DecodeError, Dict, Item},
    config::{LABEL_LEN_MAX, LABELS_MAX},
    policy::Labels,
};

/// The longest encoding of labels within their bounds, bytes: each string has at most two digits of
/// length and a colon.
pub const ENCODED_LEN_MAX: usize = 2 + LABELS_MAX * 2 * (LABEL_LEN_MAX + 3);

/// Why bytes are no labels.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LabelsError {
    /// They are not bencoded.
    #[error("not bencoded: {0}")]
    NotBencoded(DecodeError),
    /// They are another value.
    #[error("a {0}, not a dictionary")]
    NotDictionary(&'static str),
    /// There are more than [`LABELS_MAX`].
    #[error("{0} labels, above {LABELS_MAX}")]
    TooMany(usize),
    /// A key or a value is longer than [`LABEL_LEN_MAX`].
    #[error("a key or value of {0} bytes, above {LABEL_LEN_MAX}")]
    TooLong(usize),
    /// A key or a value is not UTF-8, or a value is no string.
    #[error("a key or value that is not text")]
    NotText,
}

/// The bencoded dictionary of labels.
#[must_use]
pub fn encode(labels: &Labels) -> Vec<u8> {
    let entries = labels.iter().map(|(key, value)| (key.as_str(), Item::from(value)));
    Item::dict(entries).encode()
}

/// Reads the bencoded dictionary of labels.
///
/// # Errors
/// Anything but a dictionary of strings within the bounds.
pub fn decode(bytes: &[u8]) -> Result<Labels, LabelsError> {
    let value = bencode::decode(bytes).map_err(LabelsError::NotBencoded)?;
    from_dict(value.as_dict().ok_or(LabelsError::NotDictionary(value.type_name()))?)
}

/// Reads labels from a decoded dictionary.
///
/// # Errors
/// As [`decode`].
pub fn from_dict(dict: &Dict<'_>) -> Result<Labels, LabelsError> {
    if dict.len() > LABELS_MAX {
        return Err(LabelsError::TooMany(dict.len()));
    }
    let text = |bytes: &[u8]| {
        if bytes.len() > LABEL_LEN_MAX {
            return Err(LabelsError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| LabelsError::NotText)?;
        Ok(text.to_owned())
    };
    let entries = dict.iter().map(|(key, value)| {
        let value = value.as_bytes().ok_or(LabelsError::NotText)?;
        Ok((text(key)?, text(value)?))
    });
    entries.collect()
}

/// Whether labels are few and short enough to be announced.
#[must_use]
pub fn are_bounded(labels: &Labels) -> bool {
    let mut strings = labels.iter().flat_map(|(key, value)| [key, value]);
    labels.len() <= LABELS_MAX && strings.all(|text| text.len() <= LABEL_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize, len: usize) -> Labels {
        let key = |i: usize| format!("{i:0len$}");
        (0..count).map(|i| (key(i), "v".repeat(len))).collect()
    }

    #[test]
    fn labels_at_their_bounds_pass_and_above_them_do_not() {
        for (count, len, expected) in [
            (0, 2, Ok(())),
            (LABELS_MAX - 1, LABEL_LEN_MAX - 1, Ok(())),
            (LABELS_MAX, LABEL_LEN_MAX, Ok(())),
            (LABELS_MAX + 1, LABEL_LEN_MAX, Err(LabelsError::TooMany(LABELS_MAX + 1))),
            (LABELS_MAX, LABEL_LEN_MAX + 1, Err(LabelsError::TooLong(LABEL_LEN_MAX + 1))),
        ] {
            let labels = labels(count, len);
            let bytes = encode(&labels);
            assert_eq!(decode(&bytes), expected.clone().map(|()| labels.clone()));
            assert_eq!(are_bounded(&labels), expected.is_ok());
            assert!(expected.is_err() || bytes.len() <= ENCODED_LEN_MAX);
        }
        assert_eq!(encode(&labels(LABELS_MAX, LABEL_LEN_MAX)).len(), ENCODED_LEN_MAX);
    }

    #[test]
    fn what_is_no_dictionary_of_text_is_refused() {
        assert_eq!(decode(b"le"), Err(LabelsError::NotDictionary("list")));
        assert_eq!(decode(b"d1:ai1ee"), Err(LabelsError::NotText));
        assert_eq!(decode(b"d1:a1:\xffe"), Err(LabelsError::NotText));
        assert!(matches!(decode(b"d1:a"), Err(LabelsError::NotBencoded(_))));
    }
}
