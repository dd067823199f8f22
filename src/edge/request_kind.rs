//! What kind of request this is, for the one question that needs it: how to say no (contract, section 4).

use http::header::ACCEPT;
use http::{HeaderMap, Method};

/// What will become of the answer in the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// It becomes the page in a tab: it may be sent elsewhere to sign in.
    Navigation,
    /// It becomes a page after a form was sent: sending it elsewhere would lose the form.
    FormNavigation,
    /// It becomes a page inside another: nobody signs in inside a frame.
    FramedNavigation,
    /// A browser asks for a service worker's script.
    ServiceWorkerScript,
    /// A script's: fetch, WebSocket, curl.
    Script,
}

impl RequestKind {
    /// Judges by `Sec-Fetch-Mode`, else by `Accept`. `Sec-Fetch-Dest` never makes a navigation, because a service
    /// worker that re-sends one changes it; it only tells a frame from a tab.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        if headers.get("service-worker").is_some_and(|value| value == "script") {
            return Self::ServiceWorkerScript;
        }
        let navigates = match headers.get("sec-fetch-mode") {
            Some(mode) => mode == "navigate",
            None => accepts_html(headers),
        };
        match (navigates, method) {
            (false, _) => Self::Script,
            (true, _) if is_framed(headers) => Self::FramedNavigation,
            (true, &Method::GET) => Self::Navigation,
            (true, &Method::POST) => Self::FormNavigation,
            (true, _) => Self::Script,
        }
    }

    /// Whether a person will look at the answer.
    pub(super) fn wants_page(self) -> bool {
        matches!(self, Self::Navigation | Self::FormNavigation | Self::FramedNavigation)
    }
}

fn is_framed(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-dest").is_some_and(|dest| {
        matches!(dest.as_bytes(), b"iframe" | b"frame" | b"fencedframe" | b"embed" | b"object")
    })
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().flat_map(|field| field.as_bytes().split(|&byte| byte == b',')).any(
        |range| {
            let kind = range.split(|&byte| byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
        },
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn kind(method: Method, fields: &[(&'static str, &'static str)]) -> RequestKind {
        let headers = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        RequestKind::of(&method, &headers)
    }

    #[test]
    fn the_mode_decides_and_the_destination_never_makes_a_navigation() {
        let navigate = ("sec-fetch-mode", "navigate");
        assert_eq!(kind(Method::GET, &[navigate, ("sec-fetch-dest", "document")]), RequestKind::Navigation);
        assert_eq!(kind(Method::GET, &[navigate, ("sec-fetch-dest", "empty")]), RequestKind::Navigation);
        assert_eq!(
            kind(
                Method::GET,
                &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "document"), ("accept", "text/html")]
            ),
            RequestKind::Script
        );
    }

    #[test]
    fn an_old_browser_is_known_by_what_it_accepts() {
        assert_eq!(
            kind(Method::GET, &[("accept", "application/xhtml+xml, Text/HTML;q=0.9")]),
            RequestKind::Navigation
        );
        assert_eq!(kind(Method::GET, &[("accept", "*/*")]), RequestKind::Script);
        assert_eq!(kind(Method::GET, &[]), RequestKind::Script);
    }

    #[test]
    fn forms_frames_and_workers_are_told_apart() {
        let navigate = ("sec-fetch-mode", "navigate");
        assert_eq!(kind(Method::POST, &[navigate]), RequestKind::FormNavigation);
        for dest in ["iframe", "frame", "embed", "object"] {
            assert_eq!(
                kind(Method::GET, &[navigate, ("sec-fetch-dest", dest)]),
                RequestKind::FramedNavigation
            );
        }
        assert_eq!(
            kind(Method::GET, &[("service-worker", "script"), ("sec-fetch-mode", "same-origin")]),
            RequestKind::ServiceWorkerScript
        );
        assert_eq!(kind(Method::HEAD, &[navigate]), RequestKind::Script);
    }
}
