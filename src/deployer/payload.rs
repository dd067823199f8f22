//! What a request says in its body and its path, checked while it is read: a fault names its field.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::problem::Problem;
use crate::secret::SecretText;

/// The JSON body, as `T`.
pub(super) struct Payload<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Payload<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// A password or a link's secret, as it was typed or brought back.
pub(super) struct TypedSecret(SecretText);

impl TypedSecret {
    pub(super) fn secret(&self) -> &SecretText {
        &self.0
    }

    pub(super) fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl<'de> Deserialize<'de> for TypedSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(SecretText::new(text)))
    }
}

/// The one variable part of the path.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What is not text names nothing of ours.
        let part = Path::from_request_parts(parts, state).await;
        part.map(|Path(part)| Self(part)).map_err(|_| Problem::no_such_call())
    }
}

/// What a person calls a passkey, a desktop, a tunnel: one line of 1 to 64 characters. It is shown as text everywhere,
/// so what is left out is only what could not be seen or would break the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct DisplayName(String);

impl DisplayName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DisplayName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let text = text.trim();
        // Line and paragraph separators, and the marks that turn the direction of what follows.
        let unseen = |c: char| {
            c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if text.is_empty() || text.chars().count() > 64 || text.chars().any(unseen) {
            return Err("a name is one line of 1 to 64 characters");
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_shows_what_it_says() {
        let name = |text: &str| DisplayName::try_from(text.to_owned()).map(String::from);
        assert_eq!(name("  Zoë’s phone 📱 "), Ok("Zoë’s phone 📱".to_owned()));
        assert_eq!(name("<b>\"&"), Ok("<b>\"&".to_owned()), "escaping is the page's work");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "\u{7f}", &"x".repeat(65)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
