//! What of a visitor's request reaches the app, and what the edge adds (contract, section 4).
//!
//! The app sees the visitor's own `Host` and headers. It never sees a cookie or token of the edge, nor anything that
//! a client could have sent to look like the edge.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use pingora::Result;
use pingora::http::RequestHeader;

use super::{access_token, cookies};

/// What the edge tells the app about a request it admitted.
#[derive(Debug)]
pub(super) struct Told<'a> {
    /// The visitor's address.
    pub(super) client: IpAddr,
    /// The public scheme.
    pub(super) scheme: &'static str,
    /// The public host, with its port where that is unusual.
    pub(super) host: &'a str,
    /// Whose session it is.
    pub(super) user: &'a str,
    /// Which session it is.
    pub(super) session: &'a str,
    /// The signed form of the same, for apps that check it.
    pub(super) assertion: Option<&'a str>,
}

/// Makes `request` what the app may see. From now on `Connection` names nothing that the edge itself has added: an app that
/// is told of no user may take the request for one of its own machine.
pub(super) fn rewrite(request: &mut RequestHeader, told: &Told<'_>) -> Result<()> {
    let forged: Vec<HeaderName> =
        request.headers.keys().filter(|name| could_pass_for_ours(name)).cloned().collect();
    for name in &forged {
        request.remove_header(name);
    }
    if nominated(&request.headers).any(|name| could_pass_for_ours(&name)) {
        let others: Vec<_> = nominated(&request.headers).filter(|name| !could_pass_for_ours(name)).collect();
        let others: Vec<_> = others.iter().map(HeaderName::as_str).collect();
        request.insert_header(CONNECTION, others.join(", "))?;
    }
    // The edge has answered it already: nobody behind a hop of HTTP/2 would (RFC 9113 says nothing of it).
    request.remove_header(&EXPECT);
    if request.headers.get_all(AUTHORIZATION).iter().any(access_token::is_one) {
        request.remove_header(&AUTHORIZATION);
    }
    let cookies = cookies::of_the_app(&request.headers);
    request.remove_header(&COOKIE);
    if let Some(cookies) = cookies {
        request.insert_header(COOKIE, cookies)?;
    }
    request.insert_header("X-Forwarded-For", told.client.to_string())?;
    request.insert_header("X-Forwarded-Proto", told.scheme)?;
    request.insert_header("X-Forwarded-Host", told.host)?;
    request.insert_header("X-Patapim-User", told.user)?;
    request.insert_header("X-Patapim-Session", told.session)?;
    if let Some(assertion) = told.assertion {
        request.insert_header("X-Patapim-Assertion", assertion)?;
    }
    Ok(())
}

/// Whether the app could take the header for the edge's word. Many app servers read `_` in a name as `-`.
fn could_pass_for_ours(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let begins = |with: &str| {
        name.get(..with.len()).is_some_and(|start| {
            start
                .iter()
                .zip(with.bytes())
                .all(|(&found, wanted)| found == wanted || (found, wanted) == (b'_', b'-'))
        })
    };
    begins("x-forwarded-")
        || begins("x-patapim-")
        || ["forwarded", "x-real-ip", "x-forwarded"].iter().any(|all| all.len() == name.len() && begins(all))
}

/// Removes what belongs to the visitor's connection and not to the request: the fields of RFC 9110 §7.6.1 and those
/// that `Connection` names. Pingora does this for its own upstreams, not for ours.
pub(super) fn strip_hop_by_hop(request: &mut RequestHeader) {
    let names: Vec<HeaderName> =
        nominated(&request.headers).filter(|name| *name != HOST && !could_pass_for_ours(name)).collect();
    for name in names {
        request.remove_header(&name);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
    {
        request.remove_header(&name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        request.remove_header(name);
    }
}

/// The fields that `Connection` names (RFC 9110 §7.6.1).
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .map(HeaderValue::as_bytes)
        .flat_map(|field| field.split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        for (name, value) in fields {
            request.append_header(*name, *value).expect("a field");
        }
        request
    }

    fn told() -> Told<'static> {
        Told {
            client: IpAddr::from([192, 0, 2, 7]),
            scheme: "https",
            host: "ada.tunnel.patapim.test",
            user: "ada",
            session: "s1",
            assertion: None,
        }
    }

    #[test]
    fn what_a_client_says_in_the_edges_name_is_gone_and_what_the_edge_says_is_there() {
        let mut request = request(&[
            ("X-Forwarded-For", "evil"),
            ("X_Forwarded_For", "evil"),
            ("x-forwarded-prefix", "evil"),
            ("Forwarded", "for=evil"),
            ("X-Real-IP", "evil"),
            ("X-Patapim-User", "evil"),
            ("x-patapim_user", "evil"),
            ("X-Patapim-Token", "patapim_evil"),
            ("Expect", "100-continue"),
            ("X-App", "stays"),
        ]);
        rewrite(&mut request, &told()).expect("rewritten");
        let sent = format!("{:?}", request.headers);
        assert!(!sent.contains("evil"), "{sent}");
        assert_eq!(request.headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(request.headers["x-forwarded-proto"], "https");
        assert_eq!(request.headers["x-forwarded-host"], "ada.tunnel.patapim.test");
        assert_eq!(request.headers["x-patapim-user"], "ada");
        assert_eq!(request.headers["x-patapim-session"], "s1");
        assert_eq!(request.headers["x-app"], "stays");
        assert!(!request.headers.contains_key("expect"));
    }

    #[test]
    fn credentials_of_the_edge_stay_at_the_edge_and_the_apps_pass() {
        let mut with_ours =
            request(&[("Cookie", "a=1; __Host-patapim-session=x"), ("Authorization", "bearer  patapim_x")]);
        rewrite(&mut with_ours, &told()).expect("rewritten");
        assert_eq!(with_ours.headers["cookie"], "a=1");
        assert!(!with_ours.headers.contains_key("authorization"));

        let mut with_theirs = request(&[("Authorization", "Basic eA==")]);
        rewrite(&mut with_theirs, &told()).expect("rewritten");
        assert_eq!(with_theirs.headers["authorization"], "Basic eA==");
    }

    #[test]
    fn nobody_takes_the_edges_word_away_by_calling_it_the_connections() {
        let mut request = request(&[
            ("Connection", "x-patapim-user, X-Patapim-Session, x-patapim-assertion"),
            ("Connection", "X-Forwarded-For,x-forwarded-proto, X-Forwarded-Host"),
            ("X-Patapim-User", "evil"),
        ]);
        rewrite(&mut request, &Told { assertion: Some("a.b.c"), ..told() }).expect("rewritten");
        strip_hop_by_hop(&mut request);
        for (name, value) in [
            ("x-patapim-user", "ada"),
            ("x-patapim-session", "s1"),
            ("x-patapim-assertion", "a.b.c"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "ada.tunnel.patapim.test"),
        ] {
            assert_eq!(request.headers[name], value, "{name}");
        }
    }

    #[test]
    fn what_belongs_to_the_connection_stays_with_it() {
        let mut request = request(&[
            ("Connection", "keep-alive, X-Hop, host"),
            ("X-Hop", "1"),
            ("Keep-Alive", "5"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "x"),
            ("Host", "h"),
        ]);
        strip_hop_by_hop(&mut request);
        assert_eq!(request.headers.keys().collect::<Vec<_>>(), ["host"]);
    }
}
