//! Aligned columns for people.

/// Lines under headings, each column as wide as its widest cell; the last one is not padded.
pub(super) fn table<const N: usize>(headings: [&str; N], lines: &[[String; N]]) -> String {
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { one_line(text) };
    let lines: Vec<[String; N]> = lines.iter().map(|line| std::array::from_fn(|i| shown(&line[i]))).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for line in std::iter::once(headings.map(str::to_owned)).chain(lines) {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out += cells.join("  ").trim_end();
        out += "\n";
    }
    out
}

/// Names come from devices and desktops; none of them may move the cursor of an operator's terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_cells_are_seen() {
        let lines = [["ada".to_owned(), String::new()], ["benedict".to_owned(), "disabled".to_owned()]];
        assert_eq!(table(["USER", "STATE"], &lines), "USER      STATE\nada       -\nbenedict  disabled\n");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let lines = [["a\x1b[2Jb\n".to_owned()]];
        assert_eq!(table(["NAME"], &lines), "NAME\na\u{fffd}[2Jb\u{fffd}\n");
    }
}
