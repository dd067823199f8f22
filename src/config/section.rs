//! Reading a section key by key. Each key that is asked for is a known one; what was never asked for is a fault, with
//! the key that was perhaps meant.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::document::{Node, Table, Value};
use super::fault::{Complaint, Fault, Place};
use super::nearest::nearest;

/// What was found while reading one configuration.
pub(super) struct Findings {
    path: Arc<Path>,
    /// Keys of a damaged file may be missing because of the damage.
    damaged: bool,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    known: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

impl Findings {
    pub(super) fn new(path: Arc<Path>, faults: Vec<Fault>) -> Self {
        let damaged = !faults.is_empty();
        Self { path, damaged, faults: faults.into(), warnings: RefCell::default(), known: RefCell::default() }
    }

    /// The whole document as a section.
    pub(super) fn root<'a>(&'a self, table: &'a Table) -> Section<'a> {
        let place = Place::File(Arc::clone(&self.path), 0);
        Section { findings: self, name: String::new(), place, table: Some(table) }
    }

    /// Adds a fault for every key of `table` that was not asked for.
    pub(super) fn unknown_keys(&self, table: &Table) {
        self.unknown_in("", table);
    }

    fn unknown_in(&self, section: &str, table: &Table) {
        let known = self.known.borrow();
        let none = BTreeSet::new();
        let asked = known.get(section).unwrap_or(&none);
        for (key, node) in table {
            let full = join(section, key);
            if !asked.contains(key) {
                let mend = match nearest(key, asked.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean {:?}?", join(section, meant)),
                    None => format!("remove it; known here: {}", list(asked)),
                };
                self.fault(&node.place, full, "there is no such key".to_owned(), mend);
                continue;
            }
            match &node.value {
                Value::Table(inner) => self.unknown_in(&full, inner),
                Value::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let Value::Table(inner) = &item.value {
                            self.unknown_in(&format!("{full}[{index}]"), inner);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn fault(&self, place: &Place, key: String, wrong: String, mend: String) {
        self.faults.borrow_mut().push(Fault { place: place.clone(), key, wrong, mend });
    }

    pub(super) fn warning(&self, place: &Place, key: String, wrong: String, mend: String) {
        self.warnings.borrow_mut().push(Fault { place: place.clone(), key, wrong, mend });
    }

    /// Whether a key that begins so has a fault.
    pub(super) fn has_faults_in(&self, section: &str) -> bool {
        self.faults.borrow().iter().any(|fault| fault.key.starts_with(section))
    }

    /// Every key asked for, with its section.
    #[cfg(test)]
    pub(super) fn asked(&self) -> Vec<String> {
        let known = self.known.borrow();
        known.iter().flat_map(|(section, keys)| keys.iter().map(|key| join(section, key))).collect()
    }

    /// Faults and warnings, each in the order of the file.
    pub(super) fn into_parts(self) -> (Vec<Fault>, Vec<Fault>) {
        let sorted = |found: RefCell<Vec<Fault>>| {
            let mut found = found.into_inner();
            found.sort();
            found.dedup();
            found
        };
        (sorted(self.faults), sorted(self.warnings))
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn list(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A section that is being read. An absent one has every default.
pub(super) struct Section<'a> {
    findings: &'a Findings,
    name: String,
    place: Place,
    table: Option<&'a Table>,
}

/// A value that stood in the configuration, and where: for checks that need two of them.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

type Parse<T> = fn(&str) -> Result<T, Complaint>;

impl<'a> Section<'a> {
    /// Whether it is in the configuration at all.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The section `key` of this one.
    pub(super) fn section(&self, key: &str) -> Section<'a> {
        let absent = Section {
            findings: self.findings,
            name: join(&self.name, key),
            place: self.place.clone(),
            table: None,
        };
        match self.ask(key) {
            None => absent,
            Some(Node { value: Value::Table(table), place }) => {
                Section { table: Some(table), place: place.clone(), ..absent }
            }
            Some(node) => {
                self.wrong_kind(key, node, "a section", &format!("write it as [{}]", absent.name));
                absent
            }
        }
    }

    /// The sections `[[key]]` of this one.
    pub(super) fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let name = join(&self.name, key);
        let mend = format!("write each as [[{name}]]");
        match self.ask(key) {
            None => Vec::new(),
            Some(Node { value: Value::List(items), .. }) => {
                let tables = items.iter().enumerate().filter_map(|(index, item)| match &item.value {
                    Value::Table(table) => Some(Section {
                        findings: self.findings,
                        name: format!("{name}[{index}]"),
                        place: item.place.clone(),
                        table: Some(table),
                    }),
                    _ => {
                        self.wrong_kind(key, item, "a list of sections", &mend);
                        None
                    }
                });
                tables.collect()
            }
            Some(node) => {
                self.wrong_kind(key, node, "a list of sections", &mend);
                Vec::new()
            }
        }
    }

    /// A text, if it is there and good.
    pub(super) fn text<T>(&self, key: &str, parse: Parse<T>) -> Option<Found<T>> {
        let node = self.ask(key)?;
        match &node.value {
            Value::Text(text) | Value::Untyped(text) => self.judge(key, &node.place, parse(text)),
            _ => {
                self.wrong_kind(key, node, "a text", "put it in quotation marks");
                None
            }
        }
    }

    /// A text without which nothing works; `example` shows how to write one.
    pub(super) fn required_text<T>(&self, key: &str, example: &str, parse: Parse<T>) -> Option<Found<T>> {
        if self.ask(key).is_none() && !self.findings.damaged {
            let mend = format!("add {key} = {example:?}");
            self.findings.fault(&self.place, join(&self.name, key), "this key is missing".to_owned(), mend);
        }
        self.text(key, parse)
    }

    /// A whole number, if it is there and good.
    pub(super) fn number(&self, key: &str, bounds: std::ops::RangeInclusive<i64>) -> Option<Found<i64>> {
        let node = self.ask(key)?;
        let mend = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
        let number = match &node.value {
            Value::Integer(number) => Some(*number),
            Value::Untyped(text) => text.trim().parse().ok(),
            _ => {
                self.wrong_kind(key, node, "a number", &mend);
                return None;
            }
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(value) => Some(Found { value, place: node.place.clone() }),
            None => {
                let wrong = match &node.value {
                    Value::Integer(number) => format!("{number} is out of bounds"),
                    _ => "this is not such a number".to_owned(),
                };
                self.findings.fault(&node.place, join(&self.name, key), wrong, mend);
                None
            }
        }
    }

    /// A list of texts, if it is there and all of it is good; in the environment, with commas between.
    pub(super) fn texts<T>(&self, key: &str, parse: Parse<T>) -> Option<Vec<Found<T>>> {
        const MEND: &str = "write a list of texts: [\"…\", \"…\"]";
        let node = self.ask(key)?;
        let judge = |place: &Place, text: &str| self.judge(key, place, parse(text));
        // Every item is judged before the list is, so that no fault hides another.
        let judged: Vec<Option<Found<T>>> = match &node.value {
            Value::List(items) => {
                let judge_item = |item: &Node| match &item.value {
                    Value::Text(text) => judge(&item.place, text),
                    _ => {
                        self.wrong_kind(key, item, "a list of texts", MEND);
                        None
                    }
                };
                items.iter().map(judge_item).collect()
            }
            Value::Untyped(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| judge(&node.place, item)).collect()
            }
            _ => {
                self.wrong_kind(key, node, "a list of texts", MEND);
                return None;
            }
        };
        judged.into_iter().collect()
    }

    /// Adds a fault about `key`.
    pub(super) fn fault(&self, key: &str, place: &Place, complaint: Complaint) {
        self.findings.fault(place, join(&self.name, key), complaint.wrong, complaint.mend);
    }

    /// Adds a warning about `key`.
    pub(super) fn warn(&self, key: &str, place: &Place, Complaint { wrong, mend }: Complaint) {
        let key = if key.is_empty() { self.name.clone() } else { join(&self.name, key) };
        self.findings.warning(place, key, wrong, mend);
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    fn ask(&self, key: &str) -> Option<&'a Node> {
        self.findings.known.borrow_mut().entry(self.name.clone()).or_default().insert(key.to_owned());
        self.table?.get(key)
    }

    fn judge<T>(&self, key: &str, place: &Place, read: Result<T, Complaint>) -> Option<Found<T>> {
        match read {
            Ok(value) => Some(Found { value, place: place.clone() }),
            Err(complaint) => {
                self.fault(key, place, complaint);
                None
            }
        }
    }

    fn wrong_kind(&self, key: &str, node: &Node, wanted: &str, mend: &str) {
        let is = match &node.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a number",
            Value::List(_) => "a list",
            Value::Table(_) => "a section",
            Value::Untyped(_) => "one plain value",
            Value::Other(kind) => kind,
        };
        let wrong = format!("this must be {wanted}, and it is {is}");
        self.findings.fault(&node.place, join(&self.name, key), wrong, mend.to_owned());
    }
}
