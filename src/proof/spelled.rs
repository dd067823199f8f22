//! Bytes that travel as text: base64url, one spelling each, of a length that is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::{base64url, from_base64url};

/// Text that does not spell what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64url of a fitting length")]
pub struct NotThat;

/// At most `MOST` bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blob<const MOST: usize>(Vec<u8>);

impl<const MOST: usize> Blob<MOST> {
    /// Takes a copy; `None` where there are too many.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MOST).then(|| Self(bytes.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const MOST: usize> TryFrom<String> for Blob<MOST> {
    type Error = NotThat;
    fn try_from(text: String) -> Result<Self, NotThat> {
        // Before anything is decoded: four letters stand for three bytes.
        let short = text.len() <= MOST.div_ceil(3) * 4;
        let bytes = from_base64url(&text).filter(|bytes| short && bytes.len() <= MOST);
        bytes.map(Self).ok_or(NotThat)
    }
}

impl<const MOST: usize> From<Blob<MOST>> for String {
    fn from(blob: Blob<MOST>) -> Self {
        base64url(blob.0)
    }
}

impl<const MOST: usize> fmt::Debug for Blob<MOST> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

/// Types of 32 bytes that must not be taken for one another.
macro_rules! thirty_two_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::proof::NotThat;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                let bytes = $crate::secret::from_base64url(&text).and_then(|bytes| bytes.try_into().ok());
                bytes.map(Self).ok_or($crate::proof::NotThat)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&$crate::secret::base64url(self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, out)
            }
        }
    };
}
pub(super) use thirty_two_bytes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_bounded_and_spelled_in_one_way() {
        type Four = Blob<4>;
        let read = |text: &str| Four::try_from(text.to_owned());
        let four = Four::of(&[1, 2, 3, 4]).expect("four");
        assert_eq!(read(&String::from(four.clone())), Ok(four));
        assert_eq!(Four::of(&[0; 5]), None);
        assert_eq!(read(&base64url([0; 5])), Err(NotThat));
        assert_eq!(read("AQID=="), Err(NotThat), "padding");
        assert_eq!(read("AQIDBR"), Err(NotThat), "bits that mean nothing");
    }
}
