//! Bencoding (BEP 3 §bencoding): a decoder over borrowed bytes and an encoder with sorted keys.
//!
//! The decoder is for bytes from an enemy: it does not recurse, and depth and number of values are
//! bounded. Never here: what any key means.

use std::{borrow::Cow, collections::BTreeMap};

use crate::config::{BENCODE_DEPTH_MAX, BENCODE_VALUES_MAX};

/// The most digits of a number, leading zeros among them (libtorrent's).
const DIGITS_MAX: usize = 20;

/// A decoded value, borrowing from the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A byte string: text is not promised to be UTF-8.
    Bytes(&'a [u8]),
    /// An integer.
    Int(i64),
    /// A list.
    List(Vec<Value<'a>>),
    /// A dictionary.
    Dict(Dict<'a>),
}

/// A decoded dictionary and the bytes it was decoded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dict<'a> {
    /// In order of keys, each key once.
    entries: Vec<(&'a [u8], Value<'a>)>,
    raw: &'a [u8],
}

/// Why bytes are not bencoded data, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct DecodeError {
    /// Where in the input, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with bencoded data.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The input stops within a value.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// No value begins with this byte.
    #[error("unexpected byte {0:#04x}")]
    UnexpectedByte(u8),
    /// No digits.
    #[error("malformed number")]
    MalformedNumber,
    /// The integer does not fit 64 bits.
    #[error("number out of range")]
    NumberRange,
    /// A string is said to be longer than what is left.
    #[error("string of {0} bytes reaches beyond the end")]
    StringBeyondEnd(u64),
    /// More than [`BENCODE_DEPTH_MAX`] containers within each other.
    #[error("nesting deeper than {BENCODE_DEPTH_MAX}")]
    TooDeep,
    /// More than [`BENCODE_VALUES_MAX`] values.
    #[error("more than {BENCODE_VALUES_MAX} values")]
    TooManyValues,
    /// A dictionary's key is not a string.
    #[error("dictionary key that is no string")]
    KeyNotString,
    /// A dictionary ends after a key.
    #[error("key without a value")]
    KeyWithoutValue,
    /// Something follows the value.
    #[error("trailing data")]
    TrailingData,
}

/// Decodes the one value that is the whole input.
///
/// # Errors
/// As [`decode_prefix`]; also [`DecodeErrorKind::TrailingData`].
pub fn decode(input: &[u8]) -> Result<Value<'_>, DecodeError> {
    let (value, rest) = decode_prefix(input)?;
    if rest.is_empty() {
        return Ok(value);
    }
    Err(DecodeError { offset: input.len() - rest.len(), kind: DecodeErrorKind::TrailingData })
}

/// Decodes the value that the input begins with, and returns what follows it (BEP 9 puts raw data
/// behind a dictionary). As foreign files have them, keys may be unsorted and numbers may begin with
/// zeros; of a key that is there twice the first counts, as for libtorrent.
///
/// # Errors
/// [`DecodeError`] with the offset, for anything that is not bencoded or beyond the limits.
pub fn decode_prefix(input: &[u8]) -> Result<(Value<'_>, &[u8]), DecodeError> {
    let mut decoder = Decoder { input, at: 0, values: 0 };
    let value = decoder.value()?;
    Ok((value, &input[decoder.at..]))
}

impl<'a> Value<'a> {
    /// The bytes of a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The text of a string that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The number of an integer.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(int) = self { Some(*int) } else { None }
    }

    /// The number of an integer that is not negative.
    #[must_use]
    pub fn as_unsigned(&self) -> Option<u64> {
        u64::try_from(self.as_int()?).ok()
    }

    /// The items of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<&Dict<'a>> {
        if let Self::Dict(dict) = self { Some(dict) } else { None }
    }

    /// What the decoder calls it in errors: `string`, `integer`, `list` or `dictionary`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "string",
            Self::Int(_) => "integer",
            Self::List(_) => "list",
            Self::Dict(_) => "dictionary",
        }
    }
}

impl<'a> Dict<'a> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Value<'a>> {
        let at = self.entries.binary_search_by(|(k, _)| (*k).cmp(key.as_ref())).ok()?;
        Some(&self.entries[at].1)
    }

    /// The entries in order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &Value<'a>)> {
        self.entries.iter().map(|(key, value)| (*key, value))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of the input that this dictionary is, from its `d` to its `e`.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    values: usize,
}

/// A container whose end has not been reached.
enum Open<'a> {
    List(Vec<Value<'a>>),
    Dict { start: usize, entries: Vec<(&'a [u8], Value<'a>)>, key: Option<&'a [u8]> },
}

impl<'a> Decoder<'a> {
    fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        let mut open: Vec<Open<'a>> = Vec::new();
        loop {
            let start = self.at;
            let value = match self.peek()? {
                opening @ (b'l' | b'd') => {
                    if open.len() == BENCODE_DEPTH_MAX {
                        return Err(self.error(DecodeErrorKind::TooDeep));
                    }
                    if matches!(open.last(), Some(Open::Dict { key: None, .. })) {
                        return Err(self.error(DecodeErrorKind::KeyNotString));
                    }
                    self.at += 1;
                    open.push(match opening {
                        b'l' => Open::List(Vec::new()),
                        _ => Open::Dict { start, entries: Vec::new(), key: None },
                    });
                    continue;
                }
                b'e' => match open.pop() {
                    None => return Err(self.error(DecodeErrorKind::UnexpectedByte(b'e'))),
                    Some(container) => self.close(container)?,
                },
                b'i' => self.integer()?,
                b'0'..=b'9' => Value::Bytes(self.string()?),
                other => return Err(self.error(DecodeErrorKind::UnexpectedByte(other))),
            };
            self.values += 1;
            if self.values > BENCODE_VALUES_MAX {
                return Err(self.error(DecodeErrorKind::TooManyValues));
            }
            match open.last_mut() {
                None => return Ok(value),
                Some(container) => container.push(value).map_err(|kind| error_at(start, kind))?,
            }
        }
    }

    /// Ends a container at the `e` under the cursor.
    fn close(&mut self, container: Open<'a>) -> Result<Value<'a>, DecodeError> {
        match container {
            Open::List(mut items) => {
                self.at += 1;
                items.shrink_to_fit();
                Ok(Value::List(items))
            }
            Open::Dict { key: Some(_), .. } => Err(self.error(DecodeErrorKind::KeyWithoutValue)),
            Open::Dict { start, mut entries, key: None } => {
                self.at += 1;
                entries.shrink_to_fit();
                if !entries.is_sorted_by(|a, b| a.0 < b.0) {
                    entries.sort_by(|a, b| a.0.cmp(b.0));
                    entries.dedup_by(|later, first| later.0 == first.0);
                }
                Ok(Value::Dict(Dict { entries, raw: &self.input[start..self.at] }))
            }
        }
    }

    /// `i<number>e`
    fn integer(&mut self) -> Result<Value<'a>, DecodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let digits = self.digits(b'e')?;
        let range = || error_at(start, DecodeErrorKind::NumberRange);
        let mut number: i64 = 0;
        for &digit in digits {
            let digit = i64::from(digit - b'0');
            let shifted = number.checked_mul(10).ok_or_else(range)?;
            let next =
                if negative { shifted.checked_sub(digit) } else { shifted.checked_add(digit) };
            number = next.ok_or_else(range)?;
        }
        Ok(Value::Int(number))
    }

    /// `<length>:<bytes>`
    fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let digits = self.digits(b':')?;
        let len = digits.iter().fold(0u64, |len, digit| {
            len.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        });
        let left = &self.input[self.at..];
        match usize::try_from(len).ok().and_then(|len| left.get(..len)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(error_at(start, DecodeErrorKind::StringBeyondEnd(len))),
        }
    }

    /// Decimal digits, and the byte that ends them, which is consumed.
    fn digits(&mut self, end: u8) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let rest = &self.input[start..];
        // A long run is not scanned to its end.
        let len = rest.iter().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
        let digits = &rest[..len];
        if len > DIGITS_MAX {
            return Err(error_at(start, DecodeErrorKind::NumberRange));
        }
        match rest.get(len) {
            None => Err(error_at(start + len, DecodeErrorKind::UnexpectedEnd)),
            Some(_) if len == 0 => Err(error_at(start, DecodeErrorKind::MalformedNumber)),
            Some(&byte) if byte != end => {
                Err(error_at(start + len, DecodeErrorKind::UnexpectedByte(byte)))
            }
            Some(_) => {
                self.at = start + len + 1;
                Ok(digits)
            }
        }
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        let byte = self.input.get(self.at).copied();
        byte.ok_or_else(|| self.error(DecodeErrorKind::UnexpectedEnd))
    }

    fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        error_at(self.at, kind)
    }
}

impl<'a> Open<'a> {
    fn push(&mut self, value: Value<'a>) -> Result<(), DecodeErrorKind> {
        match self {
            Self::List(items) => items.push(value),
            Self::Dict { entries, key, .. } => match key.take() {
                Some(key) => entries.push((key, value)),
                None => *key = Some(value.as_bytes().ok_or(DecodeErrorKind::KeyNotString)?),
            },
        }
        Ok(())
    }
}

fn error_at(offset: usize, kind: DecodeErrorKind) -> DecodeError {
    DecodeError { offset, kind }
}

/// A value to be encoded. Dictionaries sort their keys by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
    /// An integer.
    Int(i64),
    /// A list.
    List(Vec<Item<'a>>),
    /// A dictionary.
    Dict(BTreeMap<Cow<'a, [u8]>, Item<'a>>),
    /// Bytes that are bencoded already.
    Raw(Cow<'a, [u8]>),
}

impl<'a> Item<'a> {
    /// A dictionary of these entries; of an equal key the last one counts.
    pub fn dict<K: Into<Cow<'a, str>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, item)| (str_bytes(key.into()), item));
        Self::Dict(entries.collect())
    }

    /// A list of these items.
    pub fn list<I: Into<Self>>(items: impl IntoIterator<Item = I>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// Appends the encoding to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => encode_bytes(bytes, out),
            Self::Int(int) => encode_int(*int, out),
            Self::Raw(raw) => out.extend_from_slice(raw),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.encode_into(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, item) in entries {
                    encode_bytes(key, out);
                    item.encode_into(out);
                }
                out.push(b'e');
            }
        }
    }

    /// The encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

/// Appends a byte string to `out`, for those who write by hand.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Appends an integer to `out`, for those who write by hand.
pub fn encode_int(int: i64, out: &mut Vec<u8>) {
    out.push(b'i');
    out.extend_from_slice(int.to_string().as_bytes());
    out.push(b'e');
}

fn str_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

impl From<i64> for Item<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for Item<'_> {
    fn from(int: u32) -> Self {
        Self::Int(i64::from(int))
    }
}

impl From<u64> for Item<'_> {
    /// Numbers beyond 63 bits are written as the largest that other decoders take.
    fn from(int: u64) -> Self {
        Self::Int(i64::try_from(int).unwrap_or(i64::MAX))
    }
}

impl<'a> From<&'a [u8]> for Item<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Item<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for Item<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Vec<u8>> for Item<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl From<String> for Item<'_> {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl<'a> From<&Value<'a>> for Item<'a> {
    /// Encodes to the same bytes where the original had sorted keys.
    fn from(value: &Value<'a>) -> Self {
        match value {
            Value::Bytes(bytes) => Self::from(*bytes),
            Value::Int(int) => Self::Int(*int),
            Value::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Dict(dict) => Self::Dict(
                dict.iter().map(|(key, value)| (Cow::Borrowed(key), Self::from(value))).collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
