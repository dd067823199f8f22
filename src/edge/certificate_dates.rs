//! From when to when a certificate is good: the one thing about it that no parser at hand tells.
//!
//! Walks the DER (RFC 5280 §4.1) to the `Validity` and no further.

use crate::clock::Timestamp;

const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dates {
    /// From when.
    pub(super) not_before: Timestamp,
    /// Until when.
    pub(super) not_after: Timestamp,
}

impl Dates {
    /// Reads them from a DER certificate.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, to_be_signed, _) = element(certificate)?;
        let (tag, _, mut rest) = element(to_be_signed)?;
        if tag == EXPLICIT_0 {
            // The version came first; now the serial number.
            rest = element(rest)?.2;
        }
        let (_, _signature, rest) = element(rest)?;
        let (_, _issuer, rest) = element(rest)?;
        let (tag, validity, _) = element(rest)?;
        let (from_tag, from, rest) = element(validity).filter(|_| tag == SEQUENCE)?;
        let (until_tag, until, _) = element(rest)?;
        Some(Self { not_before: moment(from_tag, from)?, not_after: moment(until_tag, until)? })
    }
}

/// The first element's tag and content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn moment(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let full = match tag {
        // Two digits of a year: 1950 to 2049 (RFC 5280 §4.1.2.5.1).
        UTC_TIME => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let digits = full.strip_suffix('Z').filter(|digits| digits.len() == 14 && digits.is_ascii())?;
    let (date, clock) = digits.split_at(8);
    Timestamp::parse_rfc3339(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(from: (i32, u8, u8), until: (i32, u8, u8)) -> Dates {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("params");
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().expect("a key");
        Dates::of(params.self_signed(&key).expect("signed").der()).expect("dates")
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    #[test]
    fn both_spellings_of_a_date_are_read() {
        assert_eq!(
            dates((2024, 2, 29), (2049, 12, 31)),
            Dates { not_before: at("2024-02-29T00:00:00Z"), not_after: at("2049-12-31T00:00:00Z") }
        );
        assert_eq!(dates((1999, 1, 1), (2051, 1, 1)).not_after, at("2051-01-01T00:00:00Z"));
    }

    #[test]
    fn no_cut_of_a_certificate_is_read_past_its_end() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let whole =
            rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("params").self_signed(&key);
        let whole = whole.expect("signed").der().to_vec();
        for end in 0..whole.len() {
            assert_eq!(Dates::of(&whole[..end]), None);
        }
    }
}
