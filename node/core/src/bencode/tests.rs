//! What the decoder takes and refuses, and that the encoder agrees with it.

use proptest::prelude::*;

use super::*;
use crate::fuzzing;

fn refused(input: &[u8], offset: usize, kind: DecodeErrorKind) {
    let shown = String::from_utf8_lossy(input);
    assert_eq!(decode(input), Err(DecodeError { offset, kind }), "{shown}");
}

#[test]
fn values_are_read() {
    assert_eq!(decode(b"4:spam"), Ok(Value::Bytes(b"spam")));
    assert_eq!(decode(b"0:"), Ok(Value::Bytes(b"")));
    assert_eq!(decode(b"i0e"), Ok(Value::Int(0)));
    assert_eq!(decode(b"i-3e"), Ok(Value::Int(-3)));
    assert_eq!(decode(b"i9223372036854775807e"), Ok(Value::Int(i64::MAX)));
    assert_eq!(decode(b"i-9223372036854775808e"), Ok(Value::Int(i64::MIN)));
    assert_eq!(decode(b"l1:ai1ee"), Ok(Value::List(vec![Value::Bytes(b"a"), Value::Int(1)])));
    assert_eq!(decode(b"de").unwrap().as_dict().unwrap().len(), 0);
}

#[test]
fn a_dictionary_keeps_the_bytes_it_was_read_from() {
    let value = decode(b"d1:ai1e4:infod1:bi2e1:ai3eee").unwrap();
    let info = value.as_dict().unwrap().get("info").unwrap().as_dict().unwrap();
    assert_eq!(info.raw(), b"d1:bi2e1:ai3ee");
    assert_eq!(info.get("a"), Some(&Value::Int(3)));
    assert_eq!(info.get("c"), None);
}

#[test]
fn numbers_are_digits() {
    for input in ["ie", "i-e", "i+1e", "i 1e", "i1 e", "i0x1e", "i--1e", ":a", "-1:a", "1 :a"] {
        assert!(decode(input.as_bytes()).is_err(), "{input}");
    }
    refused(b"ie", 1, DecodeErrorKind::MalformedNumber);
    refused(b"i9223372036854775808e", 0, DecodeErrorKind::NumberRange);
    refused(b"i-9223372036854775809e", 0, DecodeErrorKind::NumberRange);
    refused(b"i1x", 2, DecodeErrorKind::UnexpectedByte(b'x'));
    refused(&[b'1'; 1000], 0, DecodeErrorKind::NumberRange);
}

#[test]
fn numbers_may_begin_with_zeros() {
    for (input, number) in [("i01e", 1), ("i00e", 0), ("i-01e", -1), ("i-0e", 0)] {
        assert_eq!(decode(input.as_bytes()), Ok(Value::Int(number)), "{input}");
    }
    assert_eq!(decode(b"01:a"), Ok(Value::Bytes(b"a")));
    let digits = |count: usize| format!("i{}7e", "0".repeat(count - 1));
    assert!(decode(digits(DIGITS_MAX - 1).as_bytes()).is_ok());
    assert!(decode(digits(DIGITS_MAX).as_bytes()).is_ok());
    refused(digits(DIGITS_MAX + 1).as_bytes(), 1, DecodeErrorKind::NumberRange);
}

#[test]
fn broken_values_name_their_place() {
    refused(b"", 0, DecodeErrorKind::UnexpectedEnd);
    refused(b"li1e", 4, DecodeErrorKind::UnexpectedEnd);
    refused(b"5:spam", 0, DecodeErrorKind::StringBeyondEnd(5));
    refused(
        b"l9999999999999999999:e",
        1,
        DecodeErrorKind::StringBeyondEnd(9_999_999_999_999_999_999),
    );
    refused(b"4", 1, DecodeErrorKind::UnexpectedEnd);
    refused(b"e", 0, DecodeErrorKind::UnexpectedByte(b'e'));
    refused(b"x", 0, DecodeErrorKind::UnexpectedByte(b'x'));
    refused(b"di1ei2ee", 1, DecodeErrorKind::KeyNotString);
    refused(b"dlei2ee", 1, DecodeErrorKind::KeyNotString);
    refused(b"d1:ae", 4, DecodeErrorKind::KeyWithoutValue);
}

#[test]
fn unsorted_keys_are_taken_and_the_first_of_equal_ones_counts() {
    let value = decode(b"d1:bi1e1:ai2ee").unwrap();
    let keys: Vec<_> = value.as_dict().unwrap().iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"b"]);
    for input in [&b"d1:ai1e1:ai2ee"[..], b"d1:ai1e1:bi1e1:ai2ee"] {
        let value = decode(input).unwrap();
        let dict = value.as_dict().unwrap();
        assert_eq!(dict.get("a"), Some(&Value::Int(1)));
        assert_eq!(dict.iter().filter(|(key, _)| *key == b"a").count(), 1);
        assert_eq!(dict.raw(), input);
    }
}

#[test]
fn trailing_data_is_for_those_who_ask() {
    refused(b"i1ei2e", 3, DecodeErrorKind::TrailingData);
    assert_eq!(decode_prefix(b"i1ei2e"), Ok((Value::Int(1), &b"i2e"[..])));
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(decode(&nested(BENCODE_DEPTH_MAX - 1)).is_ok());
    assert!(decode(&nested(BENCODE_DEPTH_MAX)).is_ok());
    refused(&nested(BENCODE_DEPTH_MAX + 1), BENCODE_DEPTH_MAX, DecodeErrorKind::TooDeep);
    assert!(decode(&vec![b'd'; 1 << 20]).is_err());
}

#[test]
fn number_of_values_is_limited() {
    // The list itself is a value too.
    let list = |items: usize| [b"l".to_vec(), b"0:".repeat(items), b"e".to_vec()].concat();
    assert!(decode(&list(BENCODE_VALUES_MAX - 2)).is_ok());
    assert!(decode(&list(BENCODE_VALUES_MAX - 1)).is_ok());
    let error = decode(&list(BENCODE_VALUES_MAX)).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooManyValues);
}

#[test]
fn encoder_sorts_keys() {
    let item = Item::dict([("b", Item::from(1u32)), ("a", Item::list(["x", "yz"]))]);
    assert_eq!(item.encode(), b"d1:al1:x2:yze1:bi1ee");
    assert_eq!(Item::Raw(b"le"[..].into()).encode(), b"le");
    assert_eq!(Item::from(u64::MAX).encode(), b"i9223372036854775807e");
}

fn any_item() -> impl Strategy<Value = Item<'static>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![any::<i64>().prop_map(Item::Int), bytes.clone().prop_map(Item::from)];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let key = bytes.clone().prop_map(Cow::Owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Item::List),
            prop::collection::btree_map(key, inner, 0..6).prop_map(Item::Dict),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_item_is_read_as_it_was_written(item in any_item()) {
        let encoded = item.encode();
        let decoded = decode(&encoded);
        prop_assert_eq!(decoded.as_ref().map(Item::from), Ok(item));
        if let Ok(Value::Dict(dict)) = &decoded {
            prop_assert_eq!(dict.raw(), &encoded[..]);
        }
    }

    #[test]
    fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::bencode(&data);
    }

    #[test]
    fn bytes_of_its_alphabet_are_survived(data in "[deil0-9:a-]{0,60}") {
        fuzzing::bencode(data.as_bytes());
    }
}
