//! Who may change something: this site's own pages, and nobody else's.
//!
//! Tunnels of others are same-site, so their pages send the deployer's cookies too, `SameSite=Strict` or not. Only the
//! origin tells them apart.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ORIGIN;
use http::{HeaderMap, Method};

use super::Site;
use super::problem::Problem;

/// Lets a request through if it changes nothing, or comes from a page of ours.
pub(super) async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(request.method());
    if safe || is_ours(request.headers(), &site.origin) {
        next.run(request).await
    } else {
        Problem::foreign_origin().into_response()
    }
}

/// Exactly one `Origin`, and it is ours byte for byte; where there is none (Firefox on same-origin requests, once), the
/// browser must say in `Sec-Fetch-Site` that it is the same.
fn is_ours(headers: &HeaderMap, own: &str) -> bool {
    let only = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value == wanted) && values.next().is_none()
    };
    if headers.contains_key(ORIGIN) { only("origin", own) } else { only("sec-fetch-site", "same-origin") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn judged(fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_ours(&headers, "https://deployer.patapim.test")
    }

    #[test]
    fn the_exact_origin_is_ours_and_nothing_that_looks_like_it() {
        assert!(judged(&[("origin", "https://deployer.patapim.test")]));
        for other in [
            "https://deployer.patapim.test:443",
            "http://deployer.patapim.test",
            "https://Deployer.patapim.test",
            "https://deployer.patapim.test.",
            "https://deployer.patapim.test/",
            "https://xdeployer.patapim.test",
            "https://ada.tunnel.patapim.test",
            "https://deployer.patapim.test.evil.test",
            "null",
            "",
        ] {
            assert!(!judged(&[("origin", other)]), "{other}");
            assert!(!judged(&[("origin", other), ("sec-fetch-site", "same-origin")]), "{other}");
        }
    }

    #[test]
    fn without_an_origin_the_browser_must_say_that_it_is_the_same() {
        assert!(judged(&[("sec-fetch-site", "same-origin")]));
        for site in ["same-site", "cross-site", "none", ""] {
            assert!(!judged(&[("sec-fetch-site", site)]), "{site}");
        }
        assert!(!judged(&[]), "neither");
    }

    #[test]
    fn two_origins_are_nobodys() {
        let ours = ("origin", "https://deployer.patapim.test");
        assert!(!judged(&[ours, ours]));
        assert!(!judged(&[ours, ("origin", "https://evil.test")]));
    }
}
