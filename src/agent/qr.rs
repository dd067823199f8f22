//! A QR code in a terminal: two modules to a character, dark on light whatever the terminal's own colours.

use qrcode::{Color, EcLevel, QrCode};

/// The light border that readers look for, in modules (ISO/IEC 18004 §6.3.8).
const BORDER: usize = 4;

/// `text` as lines to print; `None` where it is too long for a code.
pub(super) fn lines(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (width, modules) = (code.width(), code.to_colors());
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(BORDER).filter(|at| *at < width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => modules[y * width + x] == Color::Dark,
            _ => false,
        }
    };
    let all = width + 2 * BORDER;
    let line = |y: usize| {
        let pair = |x: usize| match (is_dark(x, y), is_dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        // Black on white, and back to what it was.
        format!("\x1b[38;5;16;48;5;231m{}\x1b[0m", (0..all).map(pair).collect::<String>())
    };
    Some((0..all).step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_the_code_and_stays_small() {
        let url = "https://deployer.patapim.test/link?code=BCDF-2345";
        let lines = lines(url).expect("a code");
        let bare: Vec<Vec<char>> = lines
            .iter()
            .map(|line| {
                let line =
                    line.strip_prefix("\x1b[38;5;16;48;5;231m").and_then(|line| line.strip_suffix("\x1b[0m"));
                line.expect("coloured").chars().collect()
            })
            .collect();
        let code = QrCode::with_error_correction_level(url, EcLevel::L).expect("a code");
        assert!(bare.len() <= 20 && bare.iter().all(|line| line.len() == code.width() + 2 * BORDER));
        for (at, module) in code.to_colors().into_iter().enumerate() {
            let (x, y) = (at % code.width() + BORDER, at / code.width() + BORDER);
            let dark = match bare[y / 2][x] {
                '█' => true,
                '▀' => y % 2 == 0,
                '▄' => y % 2 == 1,
                _ => false,
            };
            assert_eq!(dark, module == Color::Dark, "{x} {y}");
        }
        assert!(super::lines(&"x".repeat(4000)).is_none());
    }
}
