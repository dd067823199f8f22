//! A browser's cookies: kept per host, by the rules that matter here (RFC 6265bis §5.5).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, header};
use url::Url;

/// A `Set-Cookie` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Attributes in lower case, without their order: `secure`, `path=/`, …
    pub(crate) attributes: Vec<String>,
}

impl SetCookie {
    /// Reads one header value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let attributes = parts.map(str::to_ascii_lowercase).collect();
        Some(Self { name: name.to_owned(), value: value.to_owned(), attributes })
    }

    /// Every one in `headers`.
    pub(crate) fn all(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(header::SET_COOKIE).iter();
        values.filter_map(|value| Self::parse(value.to_str().ok()?)).collect()
    }

    fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|one| one == attribute)
    }

    /// Whether it only takes a cookie away.
    pub(crate) fn deletes(&self) -> bool {
        self.has("max-age=0") || self.attributes.iter().any(|one| one.starts_with("expires=thu, 01 jan 1970"))
    }

    /// A `__Host-` cookie that breaks the rules of its prefix is not kept.
    fn breaks_its_prefix(&self) -> bool {
        let bound = self.has("secure") && self.has("path=/");
        let domain = self.attributes.iter().any(|one| one.starts_with("domain="));
        self.name.starts_with("__Host-") && (!bound || domain)
    }
}

/// All cookies of one browser. Clones share them, as tabs do.
#[derive(Clone, Default)]
pub(crate) struct Jar(Arc<Mutex<BTreeMap<(String, String), String>>>);

impl Jar {
    /// Keeps what an answer from `url` set.
    pub(crate) fn keep(&self, url: &Url, headers: &HeaderMap) {
        for cookie in SetCookie::all(headers) {
            if cookie.breaks_its_prefix() {
                continue;
            }
            let (key, deletes) = (key(url, &cookie.name), cookie.deletes());
            let mut kept = self.0.lock().expect("whole");
            if deletes {
                kept.remove(&key)
            } else {
                kept.insert(key, cookie.value)
            };
        }
    }

    /// The `Cookie` header for `url`.
    pub(crate) fn header(&self, url: &Url) -> Option<String> {
        let kept = self.0.lock().expect("whole");
        let host = url.host_str().unwrap_or_default();
        let mine = kept.iter().filter(|((owner, _), _)| owner == host);
        let pairs: Vec<_> = mine.map(|((_, name), value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// One cookie's value.
    pub(crate) fn get(&self, url: &Url, name: &str) -> Option<String> {
        self.0.lock().expect("whole").get(&key(url, name)).cloned()
    }

    /// Plants a cookie, as an attacker or a person with the developer tools can.
    pub(crate) fn set(&self, url: &Url, name: &str, value: &str) {
        self.0.lock().expect("whole").insert(key(url, name), value.to_owned());
    }

    /// Forgets a cookie.
    pub(crate) fn forget(&self, url: &Url, name: &str) {
        self.0.lock().expect("whole").remove(&key(url, name));
    }
}

fn key(url: &Url, name: &str) -> (String, String) {
    (url.host_str().unwrap_or_default().to_owned(), name.to_owned())
}
