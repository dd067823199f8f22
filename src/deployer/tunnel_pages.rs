//! The edge's own pages on a tunnel's host, where the app usually is.
//!
//! They stand alone: one small stylesheet inside the page, admitted by its hash, no picture, and no script but the one
//! that waits for a desktop. The deployer's files are out of reach from here, and an app's files must never be trusted
//! with our words.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pages::written;
use crate::secret::sha256;

/// Answers `Service-Worker: script` where nobody is signed in (contract 4.1): a worker that unregisters itself and
/// reloads its pages, so that an app's worker cannot lock its owner out. Content type `text/javascript`.
pub const SERVICE_WORKER_RESET: &str = include_str!("../../web/service_worker_reset.js");

pub(super) const STYLE: &str = include_str!("../../web/tunnel.css");
const WAIT_FOR_DESKTOP: &str = include_str!("../../web/offline.js");

/// The headers of every page here, next to its own `Content-Security-Policy`.
pub const TUNNEL_PAGE_HEADERS: &[(&str, &str)] = &[
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

static POLICY: LazyLock<String> = LazyLock::new(|| format!("{}; frame-ancestors 'none'", *POLICY_IN_FRAME));
static POLICY_IN_FRAME: LazyLock<String> = LazyLock::new(|| {
    format!("default-src 'none'; style-src {}; form-action 'none'; base-uri 'none'", hash_source(STYLE))
});
static POLICY_OFFLINE: LazyLock<String> = LazyLock::new(|| {
    format!("{}; script-src {}; connect-src 'self'", *POLICY, hash_source(WAIT_FOR_DESKTOP))
});

/// The one text that a policy admits inline (CSP 3 §2.3.1).
pub(super) fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(sha256(text)))
}

/// What the edge has to say to a person in the app's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelPage<'a> {
    /// The link's token is not good. One page for every reason.
    Refused {
        /// Where to sign in.
        sign_in: &'a str,
    },
    /// A form was sent with nobody signed in.
    SignIn {
        /// Where to sign in.
        sign_in: &'a str,
    },
    /// Shown inside another page's frame with nobody signed in.
    OpenInTab {
        /// The framed address, or a place to sign in; opened in a tab of its own.
        url: &'a str,
    },
    /// The person signed out here.
    SignedOut {
        /// Where to sign in.
        sign_in: &'a str,
    },
    /// Another site sent the request; the app never saw it.
    CrossSite,
    /// The edge does not serve the host.
    Misdirected,
    /// No agent is connected. The page tries again by itself.
    Offline,
    /// The desktop has not approved the visitor's device yet.
    Unapproved {
        /// Where to wait for it.
        waiting: &'a str,
    },
    /// The desktop's agent cannot be asked whether it will have a device.
    Outdated,
    /// More at once than the edge carries for one tunnel.
    Busy,
    /// The app, or the way to it, gave no proper answer.
    BadGateway,
    /// The app did not answer in time.
    GatewayTimeout,
    /// The edge has no such page under `/.patapim/`.
    NotFound,
    /// The request breaks HTTP's rules or ours.
    BadRequest,
    /// More headers than the edge takes; nearly always too many cookies.
    TooLarge,
    /// An address longer than the edge takes.
    TooLong,
    /// More requests than one visitor may send in a minute.
    TooMany,
    /// Something of ours went wrong.
    Internal,
}

/// A page ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBody {
    /// The status it belongs to.
    pub status: u16,
    /// The body.
    pub html: String,
    /// The value of `Content-Security-Policy`; the other headers are [`TUNNEL_PAGE_HEADERS`].
    pub csp: &'static str,
}

#[derive(Template)]
#[template(path = "tunnel.html")]
struct Standalone<'a> {
    style: &'static str,
    words: Words,
    link: Option<Link<'a>>,
    script: Option<&'static str>,
}

/// What happened, and what to do; also fit for the `title` and `detail` of a problem document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// The heading.
    pub title: &'static str,
    /// What happened.
    pub happened: &'static str,
    /// What to do.
    pub next: &'static str,
}

struct Link<'a> {
    href: &'a str,
    text: &'static str,
    new_tab: bool,
}

impl<'a> TunnelPage<'a> {
    /// The status the page belongs to.
    pub const fn status(&self) -> u16 {
        match self {
            Self::SignedOut { .. } => 200,
            Self::BadRequest => 400,
            Self::Refused { .. } | Self::SignIn { .. } | Self::OpenInTab { .. } => 401,
            Self::CrossSite | Self::Unapproved { .. } => 403,
            Self::NotFound => 404,
            Self::Misdirected => 421,
            Self::TooLong => 414,
            Self::TooMany => 429,
            Self::TooLarge => 431,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Offline | Self::Outdated | Self::Busy => 503,
            Self::GatewayTimeout => 504,
        }
    }

    /// What the page says.
    pub const fn words(&self) -> Words {
        let (title, happened, next) = match self {
            Self::Refused { .. } => (
                "This link is not valid any more",
                "A sign-in link works once, for a short time, and only in the browser that asked for it.",
                "Sign in again to get a fresh one.",
            ),
            Self::SignIn { .. } => (
                "Please sign in first",
                "A form was sent, but nobody is signed in here. It was not passed on to the app.",
                "Sign in, then go back and send it once more.",
            ),
            Self::OpenInTab { .. } => (
                "Open this in a tab",
                "Another page shows this app in a frame, and nobody is signed in here. Signing in inside a frame is not safe.",
                "Open the app in a tab of its own and sign in there.",
            ),
            Self::SignedOut { .. } => (
                "You are signed out",
                "This browser can no longer open the app.",
                "Close the tab, or sign in again.",
            ),
            Self::CrossSite => (
                "Stopped: this came from another site",
                "Another site made your browser send a request to this app. It was not passed on.",
                "If you meant to do this, open the app and do it there.",
            ),
            Self::Misdirected => (
                "Nothing lives at this address",
                "This server does not serve the name that your browser asked for.",
                "Check the address for a typing mistake.",
            ),
            Self::Offline => (
                "The desktop is not connected",
                "The computer behind this address is asleep, offline or not running its agent.",
                "This page tries again by itself. Wake the computer, or start “patapim-agent run” there.",
            ),
            Self::Unapproved { .. } => (
                "The desktop has not approved this device",
                "Somebody is signed in, but the desktop behind this address is still asked whether to let the device in. Nothing was passed on to the app.",
                "Approve it at the desktop, then try once more.",
            ),
            Self::Outdated => (
                "The desktop’s agent is too old",
                "It does not know yet how to say which devices it lets in, so nobody is let in.",
                "Update patapim-agent on the desktop and start it again.",
            ),
            Self::Busy => (
                "Too much at once",
                "This tunnel is carrying as many requests as it can.",
                "Close a few tabs or wait a moment, then reload the page.",
            ),
            Self::BadGateway => (
                "The app did not answer",
                "The tunnel is there, but the app behind it gave no proper answer.",
                "Check on the desktop that the app is running, then reload the page.",
            ),
            Self::GatewayTimeout => (
                "The app took too long",
                "The app behind this tunnel did not answer in time.",
                "Check on the desktop that the app is running, then reload the page.",
            ),
            Self::NotFound => (
                "There is no such page",
                "Addresses that begin with “/.patapim/” belong to the edge, and it has nothing at this one.",
                "Go back, or open the app.",
            ),
            Self::BadRequest => (
                "This request cannot be read",
                "Your browser, or something on the way, sent a request that breaks the rules of HTTP.",
                "Reload the page. If it stays, try another browser or network.",
            ),
            Self::TooLarge => (
                "Too many cookies came along",
                "Your browser sent more than fits: most likely cookies that another site under this domain has planted. Those that have a name here were just removed.",
                "Try again. If this page stays, clear the cookies of this site in your browser’s settings.",
            ),
            Self::TooLong => (
                "This address is too long",
                "It is longer than this server takes.",
                "Open the app, and go on from there.",
            ),
            Self::TooMany => (
                "Too many requests",
                "More came from here within a minute than this server takes from one visitor.",
                "Wait a minute, then reload the page.",
            ),
            Self::Internal => (
                "Something went wrong here",
                "The fault is in the server between you and the app.",
                "Try again in a moment. If it stays, tell the person who runs this server.",
            ),
        };
        Words { title, happened, next }
    }

    fn link(&self) -> Option<Link<'a>> {
        let (href, text) = match self {
            Self::Refused { sign_in } | Self::SignedOut { sign_in } => (*sign_in, "Sign in again"),
            Self::SignIn { sign_in } => (*sign_in, "Sign in"),
            Self::OpenInTab { url } => (*url, "Open in a tab"),
            Self::CrossSite | Self::NotFound | Self::TooLong => ("/", "Open the app"),
            Self::TooLarge => ("", "Try again"),
            Self::Offline => ("", "Try now"),
            Self::Unapproved { waiting } => (*waiting, "See how it stands"),
            Self::Misdirected
            | Self::Outdated
            | Self::Busy
            | Self::BadGateway
            | Self::GatewayTimeout
            | Self::BadRequest
            | Self::TooMany
            | Self::Internal => {
                return None;
            }
        };
        Some(Link { href, text, new_tab: matches!(self, Self::OpenInTab { .. }) })
    }

    /// The page, to be sent with its own policy and [`TUNNEL_PAGE_HEADERS`].
    pub fn render(&self) -> PageBody {
        let (csp, script) = match self {
            Self::OpenInTab { .. } => (&*POLICY_IN_FRAME, None),
            Self::Offline => (&*POLICY_OFFLINE, Some(WAIT_FOR_DESKTOP)),
            _ => (&*POLICY, None),
        };
        let page = Standalone { style: STYLE, words: self.words(), link: self.link(), script };
        PageBody { status: self.status(), html: written(&page), csp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "https://deployer.patapim.test/auth?tunnel=a&return_to=\"><script>alert(1)</script>'";

    fn all() -> [TunnelPage<'static>; 18] {
        use TunnelPage::*;
        [
            Refused { sign_in: HOSTILE },
            SignIn { sign_in: HOSTILE },
            OpenInTab { url: HOSTILE },
            SignedOut { sign_in: HOSTILE },
            CrossSite,
            Misdirected,
            Offline,
            Unapproved { waiting: HOSTILE },
            Outdated,
            Busy,
            BadGateway,
            GatewayTimeout,
            NotFound,
            BadRequest,
            TooLarge,
            TooLong,
            TooMany,
            Internal,
        ]
    }

    #[test]
    fn every_page_says_what_happened_and_what_to_do() {
        for page in all() {
            let (body, words) = (page.render(), page.words());
            for text in [words.title, words.happened, words.next] {
                assert!(body.html.contains(text), "{page:?}");
            }
            assert!(
                body.html.starts_with("<!doctype html>") && body.html.trim_end().ends_with("</html>"),
                "{page:?}"
            );
        }
    }

    #[test]
    fn an_address_is_only_ever_text() {
        for page in all() {
            let html = page.render().html;
            assert!(!html.contains("<script>alert") && !html.contains("return_to=\""), "{page:?}");
        }
        let refused = TunnelPage::Refused { sign_in: HOSTILE }.render().html;
        assert!(
            refused.contains("return_to=&#34;&#62;&#60;script&#62;alert(1)&#60;/script&#62;&#39;\">"),
            "{refused}"
        );
    }

    #[test]
    fn the_policy_admits_what_is_in_the_page_and_nothing_else() {
        for page in all() {
            let PageBody { html, csp, .. } = page.render();
            let style = between(&html, "<style>", "</style>").map(hash_source).expect("a style");
            assert!(csp.starts_with(&format!("default-src 'none'; style-src {style}; ")), "{page:?}: {csp}");
            let script = between(&html, "<script>", "</script>");
            assert_eq!(csp.contains("script-src"), script.is_some(), "{page:?}");
            assert!(
                script.is_none_or(|text| csp.contains(&format!("; script-src {}; ", hash_source(text)))),
                "{csp}"
            );
            for (tag, most) in [
                ("<style", 1),
                ("<script", usize::from(script.is_some())),
                ("<link", 0),
                (" src=", 0),
                (" style=", 0),
                ("javascript:", 0),
            ] {
                assert!(html.matches(tag).count() <= most, "{page:?} has {tag}");
            }
        }
    }

    #[test]
    fn only_the_page_made_for_frames_may_be_framed() {
        for page in all() {
            let framed = !page.render().csp.contains("frame-ancestors 'none'");
            assert_eq!(framed, matches!(page, TunnelPage::OpenInTab { .. }), "{page:?}");
        }
    }

    #[test]
    fn only_the_offline_page_tries_again_by_itself() {
        for page in all() {
            let html = page.render().html;
            let tries = (html.contains("<script>"), html.contains("<noscript><meta http-equiv=\"refresh\""));
            assert_eq!(tries, (page == TunnelPage::Offline, page == TunnelPage::Offline), "{page:?}");
        }
    }

    fn between<'a>(html: &'a str, start: &str, end: &str) -> Option<&'a str> {
        Some(html.split_once(start)?.1.split_once(end)?.0)
    }
}
