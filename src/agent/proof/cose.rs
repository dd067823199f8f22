//! A passkey's public key, as authenticators write it: COSE_Key (RFC 9052 §7), a small part of CBOR (RFC 8949).
//!
//! Read are maps of integers and byte strings with their lengths in front, which is all that such a key is made of. The
//! edge registers ES256 and RS256; another key is none.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// More members than any key has.
const MOST_MEMBERS: u64 = 16;

/// A key that can be checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoseKey<'a> {
    /// ECDSA over P-256 with SHA-256.
    Es256 {
        /// The point.
        x: &'a [u8; 32],
        /// The point.
        y: &'a [u8; 32],
    },
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256 {
        /// The modulus.
        n: &'a [u8],
        /// The exponent.
        e: &'a [u8],
    },
}

/// A value of a member.
#[derive(Clone, Copy)]
enum Value<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
}

/// The members that say something, by their labels.
#[derive(Default)]
struct Members<'a> {
    kty: Option<Value<'a>>,
    alg: Option<Value<'a>>,
    minus_1: Option<Value<'a>>,
    minus_2: Option<Value<'a>>,
    minus_3: Option<Value<'a>>,
}

impl<'a> CoseKey<'a> {
    /// Reads all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        use Value::{Bytes, Integer};
        let members = Members::read(bytes)?;
        match (members.kty?, members.alg?, members.minus_1?, members.minus_2?, members.minus_3) {
            (Integer(2), Integer(-7), Integer(1), Bytes(x), Some(Bytes(y))) => {
                Some(Self::Es256 { x: x.try_into().ok()?, y: y.try_into().ok()? })
            }
            (Integer(3), Integer(-257), Bytes(n), Bytes(e), None) => Some(Self::Rs256 { n, e }),
            _ => None,
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match *self {
            Self::Es256 { x, y } => {
                let point = [&[4][..], x, y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            Self::Rs256 { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

impl<'a> Members<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut members = Self::default();
        let (5, count @ 0..=MOST_MEMBERS) = head(&mut rest)? else { return None };
        for _ in 0..count {
            let Value::Integer(label) = value(&mut rest)? else { return None };
            let value = value(&mut rest)?;
            let place = match label {
                1 => &mut members.kty,
                3 => &mut members.alg,
                -1 => &mut members.minus_1,
                -2 => &mut members.minus_2,
                -3 => &mut members.minus_3,
                _ => continue,
            };
            // A member that comes twice could mean one thing here and another elsewhere.
            if place.replace(value).is_some() {
                return None;
            }
        }
        rest.is_empty().then_some(members)
    }
}

/// The major type and the argument that an item begins with (RFC 8949 §3).
fn head(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let first = *rest.split_off_first()?;
    let argument = match first & 0x1f {
        short @ 0..24 => u64::from(short),
        24 => u64::from(*rest.split_off_first()?),
        25 => u64::from(u16::from_be_bytes(take(rest)?)),
        26 => u64::from(u32::from_be_bytes(take(rest)?)),
        27 => u64::from_be_bytes(take(rest)?),
        _ => return None,
    };
    Some((first >> 5, argument))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let (major, argument) = head(rest)?;
    match major {
        0 => i64::try_from(argument).ok().map(Value::Integer),
        1 => i64::try_from(argument).ok().map(|argument| Value::Integer(-1 - argument)),
        2 => rest.split_off(..usize::try_from(argument).ok()?).map(Value::Bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    fn es256() -> Vec<u8> {
        [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], &[7; 32], &[0x22, 0x58, 32], &[9; 32]].concat()
    }

    #[test]
    fn keys_of_both_kinds_are_read() {
        assert_eq!(CoseKey::parse(&es256()), Some(CoseKey::Es256 { x: &[7; 32], y: &[9; 32] }));
        // {1: 3, 3: -257, -1: n, -2: e}
        let rs256 =
            [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59, 1, 0][..], &[5; 256], &[0x21, 0x43, 1, 0, 1]].concat();
        assert_eq!(CoseKey::parse(&rs256), Some(CoseKey::Rs256 { n: &[5; 256], e: &[1, 0, 1] }));
    }

    #[test]
    fn how_long_a_number_is_spelled_and_what_else_is_there_does_not_matter() {
        let mut key = es256();
        key[0] = 0xa6;
        key.splice(1..3, [0x01, 0x18, 0x02]);
        key.extend([0x02, 0x41, 0xff]);
        assert_eq!(CoseKey::parse(&key), Some(CoseKey::Es256 { x: &[7; 32], y: &[9; 32] }));
    }

    #[test]
    fn another_curve_algorithm_or_type_is_no_key() {
        for (at, instead) in [(2, 1), (4, 0x27), (6, 2), (9, 31)] {
            let mut key = es256();
            key[at] = instead;
            assert_eq!(CoseKey::parse(&key), None, "byte {at}");
        }
    }

    #[test]
    fn too_few_bytes_too_many_and_members_that_come_twice_are_no_key() {
        let key = es256();
        for length in 0..key.len() {
            assert_eq!(CoseKey::parse(&key[..length]), None, "{length}");
        }
        assert_eq!(CoseKey::parse(&[&key[..], &[0]].concat()), None);
        let mut twice = key.clone();
        twice[0] = 0xa6;
        twice.extend([1, 2]);
        assert_eq!(CoseKey::parse(&twice), None);
        assert_eq!(CoseKey::parse(&[0xbf, 1, 2, 0xff]), None, "without its length in front");
        assert_eq!(CoseKey::parse(&[0xa1, 1, 0x5b, 255, 255, 255, 255, 255, 255, 255, 255]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(key) = CoseKey::parse(&bytes) {
                key.has_signed(&bytes, &bytes);
            }
        }
    }
}
