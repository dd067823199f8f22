//! Who keeps a passkey: the maker's name for an authenticator's AAGUID, from a table of facts beside this file.
//!
//! It is asked when a passkey is shown, not when it is made, so that a newer table names older passkeys too. It is for
//! the eye alone: an AAGUID without an attestation is only what the authenticator says of itself.

const TABLE: &str = include_str!("providers.txt");

/// The name behind an AAGUID of 32 hex digits, where one is known.
pub(super) fn provider(aaguid: &str) -> Option<&'static str> {
    TABLE
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(known, _)| *known == aaguid)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_are_named_and_who_says_nothing_is_not() {
        for (aaguid, name) in [
            ("fbfc3007154e4ecc8c0b6e020557d7bd", Some("Apple Passwords")),
            ("08987058cadc4b81b6e130de50dcbe96", Some("Windows Hello")),
            ("ea9b8d664d011d213ce4b6b48cb575d4", Some("Google Password Manager")),
            ("00000000000000000000000000000000", None),
            ("", None),
        ] {
            assert_eq!(provider(aaguid), name, "{aaguid}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_each_of_its_lines_is_an_aaguid_and_a_name() {
        let facts: Vec<_> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(facts.len() > 300 && facts.is_sorted());
        for line in facts {
            let (aaguid, name) = line.split_once(' ').expect("two parts");
            assert!(
                aaguid.len() == 32 && aaguid.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
                "{line}"
            );
            assert!(!name.trim().is_empty() && name.chars().count() <= 80, "{line}");
        }
    }
}
