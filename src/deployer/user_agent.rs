//! What a browser says it is and runs on, in words for a person's lists.

use woothee::parser::Parser;

/// The systems by the name that [`woothee`] gives them, or by its beginning, and as people call them.
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("iPod", "iPod"),
    ("iOS", "iPhone"),
    ("Android", "Android"),
    ("ChromeOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OSX", "macOS"),
    ("Linux", "Linux"),
    ("BSD", "BSD"),
];

/// What is not known.
const UNKNOWN: &str = "Unknown";

/// A user agent, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserAgent {
    /// The operating system's family, or "Unknown".
    pub(super) device_type: &'static str,
    /// The browser, where it is a known one.
    pub(super) browser: Option<&'static str>,
}

impl UserAgent {
    /// What `text` says. An iPad that asks for desktop pages says it is a Mac, and is taken at its word.
    pub(super) fn read(text: &str) -> Self {
        let read = Parser::new().parse(text);
        let (os, name) = read.map_or((UNKNOWN, UNKNOWN), |read| (read.os, read.name));
        let device_type =
            SYSTEMS.iter().find(|(known, _)| os.starts_with(known)).map_or(UNKNOWN, |(_, family)| family);
        let browser = BROWSERS.iter().find(|known| **known == name).copied();
        Self { device_type, browser }
    }
}

/// Those that [`woothee`] tells apart, and that run these pages.
const BROWSERS: &[&str] = &["Chrome", "Edge", "Firefox", "Opera", "Safari", "Vivaldi", "Samsung Browser"];

#[cfg(test)]
mod tests {
    use super::UserAgent;

    #[test]
    fn system_and_browser_are_read_from_what_browsers_send() {
        const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, device_type, browser) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "iPhone",
                Some("Safari"),
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 14_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.0 Mobile/15E148 Safari/604.1",
                "iPad",
                Some("Safari"),
            ),
            (
                &format!(
                    "Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36"
                ),
                "Android",
                Some("Chrome"),
            ),
            (
                &format!("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/126.0.0.0 Safari/537.36"),
                "ChromeOS",
                Some("Chrome"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Windows",
                Some("Firefox"),
            ),
            (
                &format!(
                    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0"
                ),
                "Windows",
                Some("Edge"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
                "macOS",
                Some("Safari"),
            ),
            (
                &format!("Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/126.0.0.0 Safari/537.36"),
                "Linux",
                Some("Chrome"),
            ),
            ("curl/8.5.0", "Unknown", None),
            ("", "Unknown", None),
        ] {
            assert_eq!(UserAgent::read(agent), UserAgent { device_type, browser }, "{agent}");
        }
    }
}
