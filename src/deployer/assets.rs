//! The styles, scripts and pictures of the deployer's pages, embedded in the binary.
//!
//! They share one address, `/assets/<version>/<name>`, whose version is the hash of them all: a browser may keep them
//! for good, scripts import each other by plain relative names, and nothing has to be built or rewritten.

use std::sync::LazyLock;

use crate::secret::{base64url, sha256};

const FOREVER: &str = "public, max-age=31536000, immutable";

struct File {
    name: &'static str,
    content_type: &'static str,
    body: &'static str,
}

macro_rules! files {
    ($($name:literal: $content_type:literal),+ $(,)?) => {
        &[$(File {
            name: $name,
            content_type: $content_type,
            body: include_str!(concat!("../../web/assets/", $name)),
        }),+]
    };
}

const FILES: &[File] = files! {
    "access_tokens.js": "text/javascript; charset=utf-8",
    "account.js": "text/javascript; charset=utf-8",
    "activity.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "ask.js": "text/javascript; charset=utf-8",
    "auth.js": "text/javascript; charset=utf-8",
    "ceremony.js": "text/javascript; charset=utf-8",
    "copy.js": "text/javascript; charset=utf-8",
    "desktops.js": "text/javascript; charset=utf-8",
    "device_name.js": "text/javascript; charset=utf-8",
    "dialog.js": "text/javascript; charset=utf-8",
    "enrol.js": "text/javascript; charset=utf-8",
    "explain.js": "text/javascript; charset=utf-8",
    "fallback_email.js": "text/javascript; charset=utf-8",
    "fallback_settings.js": "text/javascript; charset=utf-8",
    "fallback_sign_in.js": "text/javascript; charset=utf-8",
    "home.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "link.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "passkey.js": "text/javascript; charset=utf-8",
    "passkey_signals.js": "text/javascript; charset=utf-8",
    "passkey_support.js": "text/javascript; charset=utf-8",
    "passkey_trouble.js": "text/javascript; charset=utf-8",
    "phone.js": "text/javascript; charset=utf-8",
    "phone_code.js": "text/javascript; charset=utf-8",
    "passkeys.js": "text/javascript; charset=utf-8",
    "register.js": "text/javascript; charset=utf-8",
    "rows.js": "text/javascript; charset=utf-8",
    "security.js": "text/javascript; charset=utf-8",
    "sessions.js": "text/javascript; charset=utf-8",
    "sign_in.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "trusted_devices.js": "text/javascript; charset=utf-8",
};

static PREFIX: LazyLock<String> = LazyLock::new(|| {
    let hashes: Vec<u8> =
        FILES.iter().flat_map(|file| sha256(file.name).into_iter().chain(sha256(file.body))).collect();
    format!("/assets/{}", base64url(&sha256(hashes)[..12]))
});

/// One embedded file as it is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The whole body.
    pub body: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The value of `Cache-Control`.
    pub cache_control: &'static str,
}

/// What the pages put before a file's name: `/assets/<version>`, without a slash at the end.
pub fn prefix() -> &'static str {
    &PREFIX
}

/// The file at `path`, the whole path of the request.
///
/// Another version than ours gets our file too, but not to keep: a page that came from the edge before an upgrade
/// still finds its scripts after it.
pub fn asset(path: &str) -> Option<Asset> {
    let (version, name) = path.strip_prefix("/assets/")?.split_once('/')?;
    let file = FILES.iter().find(|file| file.name == name)?;
    let ours = prefix().strip_prefix("/assets/") == Some(version);
    let cache_control = if ours { FOREVER } else { "no-store" };
    Some(Asset { body: file.body, content_type: file.content_type, cache_control })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_this_version_may_be_kept_for_good() {
        let style = asset(&format!("{}/style.css", prefix())).expect("a file");
        assert_eq!((style.content_type, style.cache_control), ("text/css; charset=utf-8", FOREVER));
    }

    #[test]
    fn a_file_of_another_version_is_served_but_not_kept() {
        let script = asset("/assets/older/auth.js").expect("a file");
        assert_eq!(script.cache_control, "no-store");
    }

    #[test]
    fn nothing_else_is_an_asset() {
        for path in [
            "/assets/",
            "/assets/style.css",
            "/assets/x/",
            "/assets/x/../style.css",
            "/assets/x/y/style.css",
            "/assets/x/page.html",
            "assets/x/style.css",
            "/",
        ] {
            assert_eq!(asset(path), None, "{path}");
        }
    }

    #[test]
    fn scripts_import_only_what_is_embedded() {
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            for line in file.body.lines().filter(|line| line.starts_with("import ")) {
                let imported = line.split('"').nth(1).expect("a name in double quotes");
                let name = imported.strip_prefix("./").expect("a neighbour");
                assert!(FILES.iter().any(|file| file.name == name), "{} imports {imported}", file.name);
            }
        }
    }

    /// What the page's policy would stop anyway is not written in the first place.
    #[test]
    fn scripts_touch_no_sink_that_parses_text_as_code_or_markup() {
        let sinks = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            ".style.",
            "setAttribute(\"style\"",
            "localStorage",
            "document.cookie",
            "http:",
            "https:",
        ];
        // A name that looks like an address.
        let namespace = "http://www.w3.org/2000/svg";
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            let body = file.body.replace(namespace, "");
            for sink in sinks {
                assert!(!body.contains(sink), "{} has {sink}", file.name);
            }
        }
    }
}
