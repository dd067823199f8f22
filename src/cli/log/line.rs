//! A record as a line of JSON: its time, its level, its fields, where it comes from.
//!
//! Written straight into the line that leaves: there is one for each request, and it would else cost as much as the request.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The form of the log where nobody looks at it.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\"", metadata.level())?;
        let mut fields = Fields { out: &mut out, so_far: Ok(()), target: None };
        event.record(&mut fields);
        let Fields { so_far, target, .. } = fields;
        so_far?;
        out.write_str(",\"target\":")?;
        quoted(&mut out, target.as_deref().unwrap_or(metadata.target()))?;
        out.write_str("}\n")
    }
}

/// Writes each field as it comes.
struct Fields<'w, 'l> {
    out: &'w mut Writer<'l>,
    so_far: fmt::Result,
    /// Where it comes from, for a record of the `log` crate's, which brings it along as a field.
    target: Option<String>,
}

impl Fields<'_, '_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.so_far.is_ok() && !field.name().starts_with("log.") {
            self.so_far = named(self.out, field.name()).and_then(|()| value(self.out));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        self.field(field, |out| quoted(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.field(field, |out| write!(out, "{value}")),
            false => self.field(field, |out| out.write_str("null")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |out| {
            out.write_char('"')?;
            write!(Escaping(out), "{value:?}")?;
            out.write_char('"')
        });
    }
}

/// Names are ours, and need no escaping.
fn named(out: &mut Writer<'_>, name: &str) -> fmt::Result {
    write!(out, ",\"{name}\":")
}

fn quoted(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    Escaping(out).write_str(text)?;
    out.write_char('"')
}

/// Escapes what may not stand in a string (RFC 8259 §7), and what would end a line for some reader.
struct Escaping<'w, 'l>(&'w mut Writer<'l>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, letter) in text.char_indices() {
            if !matches!(letter, '"' | '\\' | '\u{2028}' | '\u{2029}') && !letter.is_control() {
                continue;
            }
            self.0.write_str(&text[plain..at])?;
            plain = at + letter.len_utf8();
            match letter {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                '\n' => self.0.write_str("\\n")?,
                letter => write!(self.0, "\\u{:04x}", u32::from(letter))?,
            }
        }
        self.0.write_str(&text[plain..])
    }
}
