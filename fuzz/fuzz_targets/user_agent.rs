//! A user agent: whatever it says, what a person reads is one of a few words of ours.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::deployer::fuzzing::user_agent;

const SYSTEMS: [&str; 10] =
    ["iPhone", "iPad", "iPod", "Android", "ChromeOS", "Windows", "macOS", "Linux", "BSD", "Unknown"];

fuzz_target!(|text: &str| {
    let (system, browser) = user_agent(text);
    assert!(SYSTEMS.contains(&system), "{system}");
    assert!(browser.is_none_or(|name| name.chars().all(|c| c.is_ascii_alphabetic() || c == ' ')));
    assert_eq!(user_agent(text), (system, browser));
});
