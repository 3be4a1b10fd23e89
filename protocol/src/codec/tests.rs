use proptest::prelude::*;

use super::*;

#[test]
fn varints_have_the_bytes_that_kafka_documents() {
    let mut w = Vec::new();
    w.put_uvarint(300);
    assert_eq!(w, [0xac, 0x02]);
    w.clear();
    w.put_varint(-1);
    assert_eq!(w, [0x01]);
    w.clear();
    w.put_varlong(i64::MIN);
    assert_eq!(w, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
}

#[test]
fn a_varint_that_is_too_long_or_too_large_is_refused() {
    for bytes in [&[0x80; 6][..], &[0xff, 0xff, 0xff, 0xff, 0x10]] {
        assert_eq!(Reader::new(bytes).uvarint(), Err(DecodeError::VarintTooLong));
    }
    for bytes in [
        &[0x80; 11][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
    ] {
        assert_eq!(Reader::new(bytes).varlong(), Err(DecodeError::VarintTooLong));
    }
}

#[test]
fn a_negative_length_other_than_null_is_refused() {
    assert_eq!(Reader::new(&[0xff, 0xff]).str(false), Ok(None));
    assert_eq!(
        Reader::new(&[0xff, 0xfe]).str(false),
        Err(DecodeError::InvalidLength {
            what: "string",
            length: -2
        })
    );
    assert_eq!(
        Reader::new(&[0xff, 0xff, 0xff, 0xfe]).byte_slice(false),
        Err(DecodeError::InvalidLength {
            what: "bytes",
            length: -2
        })
    );
}

#[test]
fn a_string_that_is_not_utf_8_is_refused() {
    assert_eq!(
        Reader::new(&[0, 2, 0xc3, 0x28]).string(false),
        Err(DecodeError::NotUtf8)
    );
}

#[test]
fn a_string_is_no_longer_than_kafkas_longest_in_either_form() {
    let longest = "x".repeat(32_767);
    let too_long = "x".repeat(32_768);
    for flexible in [false, true] {
        let mut w = Vec::new();
        w.put_string(flexible, Some(&longest)).unwrap();
        assert_eq!(Reader::new(&w).str(flexible), Ok(Some(longest.as_str())));
        let error = w.put_string(flexible, Some(&too_long));
        assert_eq!(
            error,
            Err(EncodeError::TooLong {
                what: "string",
                length: 32_768
            })
        );
    }
    let mut compact = Vec::new();
    compact.put_uvarint(32_769);
    compact.extend_from_slice(too_long.as_bytes());
    assert_eq!(
        Reader::new(&compact).str(true),
        Err(DecodeError::InvalidLength {
            what: "string",
            length: 32_768
        })
    );
}

#[test]
fn an_array_reserves_no_more_than_the_bytes_left() {
    let elements: Vec<[u8; 100]> = reader::room_for(1000, 1000);
    assert!(elements.capacity() <= 11, "{}", elements.capacity());
    let elements: Vec<i32> = reader::room_for(3, 1000);
    assert_eq!(elements.capacity(), 3);
}

#[test]
fn an_array_of_more_elements_than_bytes_is_refused() {
    let mut bytes = 1000_i32.to_be_bytes().to_vec();
    bytes.resize(1004, 0);
    let elements = Reader::new(&bytes).array(false, 1, Reader::i8).unwrap();
    assert_eq!(elements.map(|elements| elements.len()), Some(1000));
    assert_eq!(
        Reader::new(&bytes[..1003]).array(false, 1, Reader::i8),
        Err(DecodeError::TooManyElements {
            declared: 1000,
            left: 999
        })
    );
    assert_eq!(
        Reader::new(&bytes).array(false, 2, Reader::i8),
        Err(DecodeError::TooManyElements {
            declared: 1000,
            left: 1000
        })
    );
}

#[test]
fn a_tagged_field_must_fill_its_size() {
    // One field, tag 0, two bytes, of which the reader takes one.
    let error = Reader::new(&[1, 0, 2, 7, 7]).tagged_fields(|_, r| r.i8().map(|_| true));
    assert_eq!(error, Err(DecodeError::TaggedFieldSize { tag: 0 }));
    assert_eq!(Reader::new(&[1, 0, 2, 7, 7]).skip_tagged_fields(), Ok(()));
    let error = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).skip_tagged_fields();
    assert_eq!(error, Err(DecodeError::Truncated { needed: 1, left: 0 }));
}

proptest! {
    #[test]
    fn integers_are_read_as_written(a: i8, b: i16, c: i32, d: i64, e: u32) {
        let mut w = Vec::new();
        w.put_i8(a);
        w.put_i16(b);
        w.put_i32(c);
        w.put_i64(d);
        w.put_varint(c);
        w.put_varlong(d);
        let before = w.len();
        w.put_uvarint(e);
        prop_assert_eq!(w.len() - before, uvarint_len(e));
        let mut r = Reader::new(&w);
        prop_assert_eq!((r.i8(), r.i16(), r.i32(), r.i64()), (Ok(a), Ok(b), Ok(c), Ok(d)));
        prop_assert_eq!((r.varint(), r.varlong(), r.uvarint()), (Ok(c), Ok(d), Ok(e)));
        prop_assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn strings_and_bytes_are_read_as_written(text: Option<String>, bytes: Option<Vec<u8>>, flexible: bool) {
        let mut w = Vec::new();
        w.put_string(flexible, text.as_deref()).unwrap();
        w.put_bytes(flexible, bytes.as_deref()).unwrap();
        let mut r = Reader::new(&w);
        prop_assert_eq!(r.string(flexible).unwrap(), text);
        prop_assert_eq!(r.byte_slice(flexible).unwrap(), bytes.as_deref());
    }
}
