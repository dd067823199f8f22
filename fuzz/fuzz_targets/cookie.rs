//! Cookies: the tunnel's reader and the sign-in site's agree, none of ours reaches the app, and no app sets one of ours.

#![no_main]

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use patapim_edge::access::cookies::{BIND, BindCookie, BindHash, DEPLOYER, SESSION, SessionCookie};
use patapim_edge::{deployer, edge};
use patapim_fuzz::lines;

const HOST: &str = "ada.tunnel.patapim.test";

// Two `Cookie` fields and one `Set-Cookie`.
fuzz_target!(|data: &[u8]| {
    let [one, two, set] = lines(data);
    let fields = [one, two].into_iter().filter_map(|field| HeaderValue::from_bytes(field).ok());
    let headers: HeaderMap = fields.map(|field| (COOKIE, field)).collect();
    for name in [SESSION, BIND, DEPLOYER, "a"] {
        let found = edge::fuzzing::cookie(&headers, name);
        assert_eq!(found, deployer::fuzzing::cookie(&headers, name), "{name}");
        if let Some(cookie) = found.and_then(SessionCookie::parse) {
            assert_eq!(found, Some(cookie.to_value().reveal()));
        }
        if let Some(cookie) = found.and_then(BindCookie::parse) {
            assert_eq!(found, Some(cookie.value().reveal()));
            assert!(BindHash::parse(cookie.hash().as_str()).is_some());
        }
    }

    let app = edge::fuzzing::cookies_of_the_app(&headers);
    let again: HeaderMap = app.iter().map(|field| (COOKIE, field.clone())).collect();
    for name in [SESSION, BIND, DEPLOYER] {
        assert_eq!(edge::fuzzing::cookie(&again, name), None, "the app sees {name}");
    }
    assert_eq!(edge::fuzzing::cookie(&again, "a"), edge::fuzzing::cookie(&headers, "a"));
    assert_eq!(edge::fuzzing::cookies_of_the_app(&again), app);
    if let Some(app) = &app {
        let text = app.as_bytes().to_ascii_lowercase();
        let begins = |piece: &[u8]| piece.trim_ascii().starts_with(b"__host-patapim-");
        assert!(!text.split(|&byte| byte == b';').any(begins), "{app:?}");
    }

    let Ok(set) = HeaderValue::from_bytes(set) else { return };
    if let Some(kept) = edge::fuzzing::set_by_the_app(&set, HOST) {
        assert_eq!(kept, set, "a cookie goes through whole or not at all");
        let text = String::from_utf8_lossy(kept.as_bytes()).to_ascii_lowercase();
        assert!(!text.trim_start().starts_with("__host-patapim-"));
        for attribute in text.split(';').skip(1) {
            let (name, domain) = attribute.split_once('=').unwrap_or((attribute, ""));
            let domain = domain.trim().trim_start_matches('.');
            assert!(name.trim() != "domain" || ["", HOST].contains(&domain), "{text}");
        }
    }
});
