//! The page of a visitor whose device the desktop has not approved yet, on the tunnel's host.
//!
//! It stands alone like the others there ([`super::tunnel_pages`]). What it says may change at any moment, and then it is
//! asked for anew: by its script, which is told at once, or where there is none by the browser every few seconds.

use std::sync::LazyLock;

use askama::Template;

use super::pages::written;
use super::tunnel_pages::{PageBody, STYLE, Words, hash_source};

const WAIT: &str = include_str!("../../web/waiting.js");

static STYLES: LazyLock<String> = LazyLock::new(|| [STYLE, include_str!("../../web/waiting.css")].concat());

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src {}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        hash_source(&STYLES)
    )
});
static POLICY_WAITING: LazyLock<String> =
    LazyLock::new(|| format!("{}; script-src {}; connect-src 'self'", *POLICY, hash_source(WAIT)));

/// What the desktop is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Two digits to compare.
    pub number: u8,
    /// What the desktop is called.
    pub desktop: &'a str,
    /// What the device is called.
    pub device: &'a str,
    /// That of its passkey, if it has one.
    pub fingerprint: Option<&'a str>,
    /// Enough of the device's id to name it on the desktop.
    pub short_id: &'a str,
    /// How long the question stands, in minutes.
    pub minutes: u64,
}

/// How things stand with the desktop's approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingPage<'a> {
    /// Somebody there is asked.
    Asked(Asked<'a>),
    /// Nobody is asked now, because too many were.
    Crowded,
    /// There is no desktop to ask.
    Offline,
    /// Its agent cannot be asked.
    Outdated,
    /// Somebody there would not have it.
    Denied {
        /// Where to sign in.
        sign_in: &'a str,
    },
    /// Nobody there said anything in time.
    Expired {
        /// Where to sign in.
        sign_in: &'a str,
    },
    /// The desktop trusts it no longer.
    Removed {
        /// Where to sign in.
        sign_in: &'a str,
    },
}

#[derive(Template)]
#[template(path = "waiting.html")]
struct Standing<'a> {
    style: &'static str,
    words: Words,
    asked: Option<Asked<'a>>,
    minutes: String,
    link: Option<&'a str>,
    script: Option<&'static str>,
    state: String,
}

impl WaitingPage<'_> {
    /// The status the page belongs to.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Asked(_) => 200,
            Self::Denied { .. } | Self::Expired { .. } | Self::Removed { .. } => 403,
            Self::Crowded => 429,
            Self::Offline | Self::Outdated => 503,
        }
    }

    /// What it shows, in a word: when the word changes, so does the page.
    pub fn state(&self) -> String {
        match self {
            Self::Asked(asked) => format!("asked-{}", asked.number),
            Self::Crowded => "crowded".to_owned(),
            Self::Offline => "offline".to_owned(),
            Self::Outdated => "outdated".to_owned(),
            Self::Denied { .. } | Self::Expired { .. } | Self::Removed { .. } => "over".to_owned(),
        }
    }

    /// What it says.
    const fn words(&self) -> Words {
        let (title, happened, next) = match self {
            Self::Asked(_) => (
                "Approve this on your desktop",
                "You are signed in. This device is new to the desktop, which has to let it in once.",
                "This page goes on to the app by itself.",
            ),
            Self::Crowded => (
                "The desktop was asked too often",
                "Several devices asked to be let in within a short time, so it is not asked about this one for now.",
                "If that was not you, somebody may know your password: look at your sign-in settings. This page tries again by itself.",
            ),
            Self::Offline => (
                "The desktop is not connected",
                "It has to let this device in, and it is asleep, offline or not running its agent.",
                "This page goes on by itself. Wake the desktop, or start “patapim-agent run” there.",
            ),
            Self::Outdated => (
                "The desktop’s agent is too old",
                "It does not know yet how to say which devices it lets in, so nobody is let in.",
                "Update patapim-agent on the desktop and start it again. This page goes on by itself.",
            ),
            Self::Denied { .. } => (
                "The desktop said no",
                "Somebody at the desktop denied this sign-in, and it has ended.",
                "If that was a mistake, sign in again: the desktop is asked once more.",
            ),
            Self::Expired { .. } => (
                "Nobody answered at the desktop",
                "The question stood for ten minutes and nobody approved this device. The sign-in has ended.",
                "Sign in again when somebody is at the desktop.",
            ),
            Self::Removed { .. } => (
                "The desktop trusts this device no longer",
                "The device was removed from those that it trusts, and the sign-in has ended.",
                "Sign in again to ask once more.",
            ),
        };
        Words { title, happened, next }
    }

    /// The page, to be sent with its own policy and [`TUNNEL_PAGE_HEADERS`](super::tunnel_pages::TUNNEL_PAGE_HEADERS).
    pub fn render(&self) -> PageBody {
        let (asked, link) = match self {
            Self::Asked(asked) => (Some(*asked), None),
            Self::Denied { sign_in } | Self::Expired { sign_in } | Self::Removed { sign_in } => {
                (None, Some(*sign_in))
            }
            Self::Crowded | Self::Offline | Self::Outdated => (None, None),
        };
        let (csp, script) = match link {
            Some(_) => (&**POLICY, None),
            None => (&**POLICY_WAITING, Some(WAIT)),
        };
        let minutes = match asked.map_or(0, |asked| asked.minutes) {
            0 | 1 => "less than a minute".to_owned(),
            minutes => format!("{minutes} minutes"),
        };
        let state = self.state();
        let page = Standing { style: &STYLES, words: self.words(), asked, minutes, link, script, state };
        PageBody { status: self.status(), html: written(&page), csp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\"><script>alert(1)</script>'";

    fn asked() -> WaitingPage<'static> {
        WaitingPage::Asked(Asked {
            number: 47,
            desktop: HOSTILE,
            device: HOSTILE,
            fingerprint: Some("SHA256:abc"),
            short_id: "abcdefgh",
            minutes: 9,
        })
    }

    fn all() -> [WaitingPage<'static>; 7] {
        use WaitingPage::*;
        let sign_in = HOSTILE;
        [asked(), Crowded, Offline, Outdated, Denied { sign_in }, Expired { sign_in }, Removed { sign_in }]
    }

    #[test]
    fn names_are_only_ever_text() {
        for page in all() {
            let html = page.render().html;
            assert!(!html.contains("<script>alert") && !html.contains("=\"\">"), "{page:?}");
        }
    }

    #[test]
    fn who_waits_sees_the_number_and_how_to_approve() {
        let page = asked().render();
        assert_eq!(page.status, 200);
        for text in
            ["<strong>47</strong>", "patapim-agent devices approve abcdefgh", "SHA256:abc", "9 minutes"]
        {
            assert!(page.html.contains(text), "{text}");
        }
    }

    #[test]
    fn the_policy_admits_what_is_in_the_page_and_nothing_else() {
        for page in all() {
            let PageBody { html, csp, .. } = page.render();
            let inside = |start, end| {
                html.split_once(start)
                    .and_then(|(_, rest)| rest.split_once(end))
                    .map(|(text, _)| hash_source(text))
            };
            assert!(csp.contains(&inside("<style>", "</style>").expect("a style")), "{page:?}");
            let script = inside("<script>", "</script>");
            assert_eq!(csp.contains("script-src"), script.is_some(), "{page:?}");
            assert!(script.is_none_or(|script| csp.contains(&script)), "{page:?}");
            assert!(csp.contains("frame-ancestors 'none'"), "{page:?}");
        }
    }

    #[test]
    fn a_page_that_may_change_is_asked_for_anew_also_without_scripts() {
        for page in all() {
            let html = page.render().html;
            let over = page.state() == "over";
            assert_eq!(html.contains("<noscript><meta http-equiv=\"refresh\""), !over, "{page:?}");
            assert_eq!(html.contains("Sign in again</a>"), over, "{page:?}");
        }
    }
}
