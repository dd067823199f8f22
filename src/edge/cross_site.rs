//! Where a request came from: tunnels of different people are siblings, and siblings send each other's cookies.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, Method};

/// Who made the browser send this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The tunnel's own pages, the person, or a tool that says nothing.
    OwnOrPerson,
    /// Another origin, by a link that opens a page in a tab: harmless, since a GET changes nothing.
    ForeignLink,
    /// Another origin, by any other means: not with the visitor's cookie.
    Foreign,
}

/// Judges a request to the site whose origin `own` spells: `Sec-Fetch-Site` decides where it is present, else an exact
/// `Origin`; a request with neither comes from an old browser or a tool, and passes.
pub(super) fn sender(method: &Method, headers: &HeaderMap, own: impl FnOnce() -> String) -> Sender {
    // Fetched before anybody has clicked, it is a page's doing, whatever it says that it will become.
    let early = headers.contains_key("sec-purpose");
    if early || headers.contains_key("sec-fetch-site") {
        return match only(headers, "sec-fetch-site") {
            Some(b"same-origin") => Sender::OwnOrPerson,
            Some(b"none") if !early => Sender::OwnOrPerson,
            _ if !early && opens_in_tab(method, headers) => Sender::ForeignLink,
            _ => Sender::Foreign,
        };
    }
    // A link sends no Origin, so one that is there and not ours is no link, whatever the request says it accepts.
    match headers.contains_key(ORIGIN) {
        true if only(headers, ORIGIN.as_str()) == Some(own().as_bytes()) => Sender::OwnOrPerson,
        true => Sender::Foreign,
        false => Sender::OwnOrPerson,
    }
}

fn opens_in_tab(method: &Method, headers: &HeaderMap) -> bool {
    let framed = matches!(
        only(headers, "sec-fetch-dest"),
        Some(b"iframe" | b"frame" | b"fencedframe" | b"embed" | b"object")
    );
    *method == Method::GET && only(headers, "sec-fetch-mode") == Some(b"navigate") && !framed
}

/// The field's value, when it came once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| HeaderValue::as_bytes(value))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    const OWN: &str = "https://a.tunnel.patapim.test";

    fn judge(method: Method, fields: &[(&'static str, &'static str)]) -> Sender {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        sender(&method, &headers, || OWN.to_owned())
    }

    #[test]
    fn the_browsers_word_decides_where_there_is_one() {
        assert_eq!(judge(Method::POST, &[("sec-fetch-site", "same-origin")]), Sender::OwnOrPerson);
        assert_eq!(judge(Method::GET, &[("sec-fetch-site", "none")]), Sender::OwnOrPerson);
        for site in ["same-site", "cross-site", "unheard-of"] {
            assert_eq!(
                judge(Method::GET, &[("sec-fetch-site", site), ("origin", OWN)]),
                Sender::Foreign,
                "{site}"
            );
        }
        assert_eq!(
            judge(Method::GET, &[("sec-fetch-site", "none"), ("sec-fetch-site", "none")]),
            Sender::Foreign
        );
    }

    #[test]
    fn of_another_origin_only_a_link_in_a_tab_passes() {
        let foreign = ("sec-fetch-site", "same-site");
        let navigate = ("sec-fetch-mode", "navigate");
        assert_eq!(judge(Method::GET, &[foreign, navigate]), Sender::ForeignLink);
        assert_eq!(judge(Method::POST, &[foreign, navigate]), Sender::Foreign);
        assert_eq!(judge(Method::GET, &[foreign, navigate, ("sec-fetch-dest", "iframe")]), Sender::Foreign);
        assert_eq!(judge(Method::GET, &[foreign, ("accept", "text/html")]), Sender::Foreign);
    }

    #[test]
    fn what_is_fetched_before_a_click_is_nobodys_link() {
        let (early, navigate) = (("sec-purpose", "prefetch;prerender"), ("sec-fetch-mode", "navigate"));
        for site in ["same-site", "cross-site", "none"] {
            assert_eq!(
                judge(Method::GET, &[("sec-fetch-site", site), navigate, early]),
                Sender::Foreign,
                "{site}"
            );
        }
        assert_eq!(judge(Method::GET, &[early, ("accept", "text/html")]), Sender::Foreign);
        assert_eq!(
            judge(Method::GET, &[("sec-fetch-site", "same-origin"), navigate, early]),
            Sender::OwnOrPerson
        );
    }

    #[test]
    fn an_old_browser_is_judged_by_its_exact_origin() {
        assert_eq!(judge(Method::POST, &[("origin", OWN)]), Sender::OwnOrPerson);
        for origin in [
            "null",
            "https://a.tunnel.patapim.test.",
            "http://a.tunnel.patapim.test",
            "https://A.tunnel.patapim.test",
            "https://b.tunnel.patapim.test",
        ] {
            assert_eq!(
                judge(Method::GET, &[("origin", origin), ("accept", "text/html")]),
                Sender::Foreign,
                "{origin}"
            );
        }
        assert_eq!(judge(Method::POST, &[]), Sender::OwnOrPerson);
    }
}
