//! Durations as people write them: `24h`, `90s`, `1h30m`, `0s`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads one or more numbers with a unit each. None if it is anything else, or longer than a century.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis: u64 = 0;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        millis = millis.checked_add(number.checked_mul(*unit)?)?;
        rest = &rest[letters..];
        if rest.is_empty() {
            return (millis <= 100 * 366 * 86_400_000).then(|| Duration::from_millis(millis));
        }
    }
}

/// The largest unit that spells it without a fraction.
pub(super) fn print(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match UNITS.iter().find(|(name, unit)| *name != "d" && millis > 0 && millis % unit == 0) {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units() {
        for (text, secs) in [("24h", 86_400), ("60s", 60), ("0s", 0), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(parse(text), Some(Duration::from_secs(secs)), "{text}");
        }
        assert_eq!(parse("1500ms"), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn anything_else_is_none() {
        for text in
            ["", "24", "h", "24 h", "-1s", "1.5h", "24H", "1h30", "1w", "99999999999999999999s", "9999999d"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for text in ["24h", "60s", "0s", "1500ms", "90m", "90s", "48h"] {
            let duration = parse(text).expect("a duration");
            assert_eq!(parse(&print(duration)), Some(duration), "{text}");
        }
        assert_eq!(print(Duration::from_secs(60)), "1m");
    }
}
