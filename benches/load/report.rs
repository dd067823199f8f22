//! BENCHMARKS.md: the figures between two marks, and a drawing of them beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::figures::{Fact, Table};

const BEGIN: &str = "<!-- figures: written by `make bench` -->";
const END: &str = "<!-- figures: end -->";
const DRAWING: &str = "benches/figures.svg";

/// Everything that was found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) tables: Vec<Table>,
    pub(crate) facts: Vec<Fact>,
    /// What the machine was busy with at the beginning, as it tells it itself.
    pub(crate) load: String,
}

impl Report {
    /// Puts it in its place.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root.join("BENCHMARKS.md");
        let text = fs::read_to_string(&file)?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.ok_or_else(|| std::io::Error::other("BENCHMARKS.md has lost its marks"))?;
        fs::write(&file, format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.markdown()))?;
        fs::write(root.join(DRAWING), self.drawing())
    }

    /// As text.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}; load averages at the beginning: {}.\n", machine(), self.load);
        for table in &self.tables {
            table_of(&mut out, table);
        }
        if !self.tables.is_empty() {
            let _ = writeln!(out, "![Processor time against HAProxy's]({DRAWING})\n");
        }
        if !self.facts.is_empty() {
            out += "| | found | aim |\n|---|---|---|\n";
            for Fact { what, found, aim } in &self.facts {
                let _ = writeln!(out, "| {what} | {found} | {aim} |");
            }
        }
        out
    }

    /// Bars: each contestant's ratio to the first, case by case.
    fn drawing(&self) -> String {
        const LEFT: usize = 170;
        const SCALE: f64 = 150.0;
        const BAR: usize = 14;
        const GAP: usize = 10;
        const COLOURS: [&str; 5] = ["#8899aa", "#bbaa77", "#77aa88", "#3366cc", "#cc6644"];
        let mut body = String::new();
        let mut y = 24;
        for table in &self.tables {
            let _ = write!(body, r#"<text x="8" y="{y}" font-weight="bold">{}</text>"#, escaped(table.title));
            y += 12;
            for row in &table.rows {
                let _ = write!(body, r#"<text x="8" y="{}">{}</text>"#, y + BAR, escaped(row.case));
                for (at, cell) in row.cells.iter().enumerate().filter(|(_, cell)| cell.ratio > 0.0) {
                    let (width, colour) = ((cell.ratio * SCALE).min(560.0), COLOURS[at % COLOURS.len()]);
                    let _ = write!(
                        body,
                        r#"<rect x="{LEFT}" y="{y}" width="{width:.0}" height="{BAR}" fill="{colour}"/><text x="{:.0}" y="{}">{} {:.2}</text>"#,
                        LEFT as f64 + width + 5.0,
                        y + BAR - 2,
                        escaped(cell.name),
                        cell.ratio,
                    );
                    y += BAR + 2;
                }
                y += GAP;
            }
            y += GAP;
        }
        let mark = LEFT as f64 + SCALE;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"12\">\
             <rect width=\"900\" height=\"{y}\" fill=\"#ffffff\"/>\
             <line x1=\"{mark}\" x2=\"{mark}\" y1=\"0\" y2=\"{y}\" stroke=\"#cccccc\"/>{body}</svg>\n"
        )
    }
}

fn table_of(out: &mut String, table: &Table) {
    let names: Vec<&str> = table
        .rows
        .iter()
        .max_by_key(|row| row.cells.len())
        .map(|row| row.cells.iter().map(|cell| cell.name).collect())
        .unwrap_or_default();
    let _ = writeln!(out, "| {}, {} | {} |", table.title, table.unit, names.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(names.len()));
    for row in &table.rows {
        let cells = row.cells.iter().map(|cell| {
            let note = if cell.note.is_empty() { String::new() } else { format!("; {}", cell.note) };
            match cell.value {
                value if value.is_nan() => "–".to_owned(),
                // Nothing of its own runs.
                0.0 => cell.note.clone(),
                value => format!("{value:.3} (**{:.2}**){note}", cell.ratio),
            }
        });
        let _ = writeln!(out, "| {} | {} |", row.case, cells.collect::<Vec<_>>().join(" | "));
    }
    out.push('\n');
}

/// What it ran on.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("a processor", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} × {model}, Linux {}", kernel.trim())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
