//! What kind of device a browser says it runs on.

/// The first mark found decides: iPads and Chromebooks also claim to be Macs and Linux.
const MARKS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// The operating system's family, or "Unknown".
pub(super) fn device_type(user_agent: &str) -> &'static str {
    MARKS.iter().find(|(mark, _)| user_agent.contains(mark)).map_or("Unknown", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::device_type;

    #[test]
    fn the_family_is_read_from_what_browsers_send() {
        for (agent, family) in [
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15", "iPhone"),
            ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36", "Android"),
            ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36", "ChromeOS"),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101", "Windows"),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15", "macOS"),
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Linux"),
            ("curl/8.5.0", "Unknown"),
            ("", "Unknown"),
        ] {
            assert_eq!(device_type(agent), family, "{agent}");
        }
    }
}
