//! The deployer's own pages: static shells whose scripts fill them from the API.
//!
//! A shell knows nobody, so it may be shown to anybody; what a person may see comes from `/api/v1` and is put in place
//! as text. The pages that stand on a tunnel's host are in [`super::tunnel_pages`].

use std::sync::LazyLock;

use askama::Template;

use super::assets;
pub use super::assets::{Asset, asset};
pub use super::tunnel_pages::{PageBody, SERVICE_WORKER_RESET, TUNNEL_PAGE_HEADERS, TunnelPage};

/// The headers of every page of the deployer. `Strict-Transport-Security` is not among them: it belongs to the listener.
///
/// Nothing inline, nothing from elsewhere, never framed, and no address of ours in a `Referer`: `/enrol` and `/auth`
/// carry a ticket and a binding in theirs. `form-action 'none'`, because every form is sent by its script; a form that
/// the script missed must not put its fields into an address. Other tunnels are same-site, so the page shares neither
/// an opener (`Cross-Origin-Opener-Policy`) nor a process (`Origin-Agent-Cluster`) with them.
pub const HEADERS: &[(&str, &str)] = &[
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    (
        "permissions-policy",
        "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), display-capture=(), \
         geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// A page of the deployer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `/`: my tunnels, or a welcome.
    Home,
    /// `/auth`: sign in, and on to a tunnel.
    Auth,
    /// `/auth/email`: sign in with a link that was mailed.
    Email,
    /// `/enrol`: register the first passkey with an invitation.
    Enrol,
    /// `/link`: approve the linking of a desktop.
    Link,
    /// `/phone`: go on at a phone that scanned a code.
    Phone,
    /// `/settings/security`: passkeys and sessions.
    Security,
    /// There is no such page.
    NotFound,
    /// Something of ours went wrong.
    Failed,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "auth.html")]
struct Auth {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "email.html")]
struct Email {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct Enrol {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "link.html")]
struct Link {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "phone.html")]
struct Phone {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "security.html")]
struct Security {
    assets: &'static str,
}

#[derive(Template)]
#[template(path = "sorry.html")]
struct Sorry {
    assets: &'static str,
    title: &'static str,
    happened: &'static str,
    next: &'static str,
}

/// Every page once, in the order of the enum.
static RENDERED: LazyLock<[String; 9]> = LazyLock::new(|| {
    let assets = assets::prefix();
    [
        written(&Home { assets }),
        written(&Auth { assets }),
        written(&Email { assets }),
        written(&Enrol { assets }),
        written(&Link { assets }),
        written(&Phone { assets }),
        written(&Security { assets }),
        written(&Sorry {
            assets,
            title: "There is no such page",
            happened: "The address may be mistyped, or the page has moved.",
            next: "Everything you have here can be reached from your tunnels.",
        }),
        written(&Sorry {
            assets,
            title: "Something went wrong here",
            happened: "The fault is on our side. Nothing you did was lost, and nothing was half done.",
            next: "Try again in a moment. If it stays, tell the person who runs this edge.",
        }),
    ]
});

impl Page {
    /// The page's HTML, to be sent with [`HEADERS`].
    pub fn html(self) -> &'static str {
        &RENDERED[self as usize]
    }

    /// The status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Home
            | Self::Auth
            | Self::Email
            | Self::Enrol
            | Self::Link
            | Self::Phone
            | Self::Security => 200,
            Self::NotFound => 404,
            Self::Failed => 500,
        }
    }
}

/// Rendering writes into memory and formats nothing but text, which cannot fail.
pub(super) fn written(page: &impl Template) -> String {
    page.render().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Page; 9] = [
        Page::Home,
        Page::Auth,
        Page::Email,
        Page::Enrol,
        Page::Link,
        Page::Phone,
        Page::Security,
        Page::NotFound,
        Page::Failed,
    ];

    #[test]
    fn every_page_renders_whole() {
        for page in ALL {
            let html = page.html();
            assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{page:?}");
            assert!(html.trim_end().ends_with("</html>"), "{page:?}");
            assert_eq!(html.matches("<h1").count(), 1, "{page:?}");
            assert_eq!(html.matches("<main ").count(), 1, "{page:?}");
        }
        for (page, title) in [
            (Page::Enrol, "Create your passkey"),
            (Page::Link, "Link a desktop"),
            (Page::Security, "PassKey Authentication"),
            (Page::NotFound, "There is no such page"),
            (Page::Failed, "Something went wrong here"),
        ] {
            assert!(page.html().contains(&format!("{title}</h1>")), "{page:?}");
        }
    }

    #[test]
    fn no_page_has_anything_inline() {
        for page in ALL {
            assert_eq!(inline(page.html()), None, "{page:?}");
        }
    }

    #[test]
    fn every_page_takes_its_files_from_the_embedded_ones() {
        for page in ALL {
            let mut seen = 0;
            for address in page.html().split("=\"").filter_map(|rest| rest.split('"').next()) {
                if address.contains("/assets/") {
                    assert!(
                        asset(address).is_some_and(|file| file.cache_control.contains("immutable")),
                        "{address}"
                    );
                    seen += 1;
                }
                assert!(!address.contains("//"), "{page:?} points elsewhere: {address}");
            }
            assert!(seen >= 2, "{page:?}");
        }
    }

    #[test]
    fn ids_are_unique_and_every_label_names_one() {
        for page in ALL {
            let ids: Vec<&str> = attributes(page.html(), " id=\"").collect();
            for (index, id) in ids.iter().enumerate() {
                assert!(!ids[..index].contains(id), "{page:?} has {id} twice");
            }
            for named in [" for=\"", " aria-labelledby=\"", " aria-controls=\"", " aria-describedby=\""] {
                for id in attributes(page.html(), named) {
                    assert!(ids.contains(&id), "{page:?}: nothing has the id {id}");
                }
            }
        }
    }

    #[test]
    fn a_header_is_named_once_and_fits_in_a_line() {
        for (index, (name, value)) in HEADERS.iter().enumerate() {
            assert!(HEADERS[..index].iter().all(|(other, _)| other != name), "{name}");
            assert!(value.bytes().all(|b| matches!(b, b' '..=b'~')), "{name}");
        }
    }

    fn attributes<'a>(html: &'a str, opening: &'a str) -> impl Iterator<Item = &'a str> {
        html.split(opening).skip(1).filter_map(|rest| rest.split('"').next())
    }

    /// The first script, style or handler in the page itself, if there is one.
    fn inline(html: &str) -> Option<&str> {
        html.split('<').find(|tag| {
            let (name, rest) = tag.split_once([' ', '>']).unwrap_or((tag, ""));
            let inner = tag.split_once('>').map_or("", |(_, text)| text);
            name == "style"
                || (name == "script" && !(rest.contains("src=\"") && inner.is_empty()))
                || tag.split('>').next().is_some_and(|tag| tag.contains(" style=") || tag.contains(" on"))
                || tag.contains("javascript:")
        })
    }
}
