//! Access tokens, as scripts send them: in a header of their own, or as a bearer (contract, section 4).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::access::access_tokens::PREFIX;
use crate::secret::SecretText;

/// The access token that came, if one did. Of two that differ, neither can be told to be meant.
pub(super) fn of(headers: &HeaderMap) -> Option<SecretText> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
    let own =
        headers.get_all("x-patapim-token").iter().filter_map(|value| value.to_str().ok()).map(str::trim);
    let mut tokens = bearers.chain(own);
    let token = tokens.next()?;
    let token = if tokens.all(|other| other == token) { token } else { PREFIX };
    Some(SecretText::new(token.to_owned()))
}

/// Whether an `Authorization` carries an access token of the edge, good or not: it is not for the app.
pub(super) fn is_one(value: &HeaderValue) -> bool {
    bearer(value).is_some()
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with(PREFIX)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        of(&headers).map(|token| token.reveal().to_owned())
    }

    #[test]
    fn a_token_is_read_from_either_header_and_the_apps_own_is_left_alone() {
        assert_eq!(found(&[("authorization", "Bearer patapim_a")]).as_deref(), Some("patapim_a"));
        assert_eq!(found(&[("authorization", "bearer  patapim_a ")]).as_deref(), Some("patapim_a"));
        assert_eq!(found(&[("x-patapim-token", "patapim_a")]).as_deref(), Some("patapim_a"));
        assert_eq!(found(&[("authorization", "Bearer theirs")]), None);
        assert_eq!(found(&[("authorization", "Basic cGF0YXBpbV8=")]), None);
    }

    #[test]
    fn of_two_that_differ_neither_counts() {
        let both = [("authorization", "Bearer patapim_a"), ("x-patapim-token", "patapim_b")];
        assert_eq!(found(&both).as_deref(), Some("patapim_"));
    }
}
