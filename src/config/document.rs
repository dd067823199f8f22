//! The file and the environment as one tree of values, each knowing where it came from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};

/// What an override's name begins with: `PATAPIM_EDGE__SESSION__TOKEN_TTL` is `session.token_ttl`.
pub(super) const OVERRIDE: &str = "PATAPIM_EDGE__";

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value, as far as the configuration knows kinds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Node>),
    Table(Table),
    /// From the environment: it counts as whatever the key wants.
    Untyped(String),
    /// A kind that no key wants, by its name.
    Other(&'static str),
}

pub(super) type Table = BTreeMap<String, Node>;

/// Reads `text`. What cannot be read is in the list; the rest is in the table.
pub(super) fn parse(path: &Arc<Path>, text: &str) -> (Table, Vec<Fault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let reader = Reader { path, text };
    let faults = errors.iter().map(|error| reader.not_toml(error)).collect();
    (reader.table(document.get_ref()), faults)
}

struct Reader<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        Place::File(Arc::clone(self.path), 1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    fn not_toml(&self, error: &toml::de::Error) -> Fault {
        Fault {
            place: self.place(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            wrong: format!("this is not TOML: {}", error.message().replace('\n', ", ")),
            mend: "see https://toml.io for how a value is written".to_owned(),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), self.entry(key.span().start, value)))
            .collect()
    }

    fn entry(&self, offset: usize, value: &Spanned<DeValue<'_>>) -> Node {
        let list = |items: &toml::de::DeArray<'_>| {
            items.iter().map(|item| self.entry(item.span().start, item)).collect()
        };
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number beyond all measure"), Value::Integer),
            DeValue::Array(items) => Value::List(list(items)),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(_) => Value::Other("a fraction"),
            DeValue::Boolean(_) => Value::Other("true or false"),
            DeValue::Datetime(_) => Value::Other("a date"),
        };
        Node { value, place: self.place(offset) }
    }
}

/// Puts the overrides among `variables` into `table`, over what the file says.
///
/// A number is a place in a list of tables: `PATAPIM_EDGE__UPSTREAM__0__TO`; the next free place adds one.
pub(super) fn apply_overrides(
    table: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Fault> {
    let mut overrides: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            name.strip_prefix(OVERRIDE).map(|path| (path.to_lowercase(), name.clone(), value))
        })
        .collect();
    overrides.sort();
    let place = |(path, name, value): (String, String, String)| {
        let node = Node { value: Value::Untyped(value), place: Place::Environment(name.clone()) };
        let steps: Vec<&str> = path.split("__").collect();
        set(table, &steps, node).err().map(|wrong| Fault {
            place: Place::Environment(name),
            key: path.replace("__", "."),
            wrong,
            mend: format!(
                "see the annotated configuration for what there is, and spell it {OVERRIDE}SECTION__KEY"
            ),
        })
    };
    overrides.into_iter().filter_map(place).collect()
}

fn set(table: &mut Table, steps: &[&str], node: Node) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first().filter(|(step, _)| !step.is_empty()) else {
        return Err("this names no key".to_owned());
    };
    if rest.is_empty() {
        table.insert((*step).to_owned(), node);
        return Ok(());
    }
    let indexed = rest[0].parse::<usize>().ok();
    let empty = if indexed.is_some() { Value::List(Vec::new()) } else { Value::Table(Table::new()) };
    let place = node.place.clone();
    let entry =
        table.entry((*step).to_owned()).or_insert_with(|| Node { value: empty, place: place.clone() });
    match (&mut entry.value, indexed) {
        (Value::Table(inner), None) => set(inner, rest, node),
        (Value::List(items), Some(index)) => {
            if index == items.len() {
                items.push(Node { value: Value::Table(Table::new()), place });
            }
            match items.get_mut(index).map(|item| &mut item.value) {
                Some(Value::Table(inner)) => set(inner, &rest[1..], node),
                Some(_) => Err(format!("{step}[{index}] is not a table")),
                None => Err(format!("{step} has {} entries, so the next one is number {0}", items.len())),
            }
        }
        (Value::List(_), None) => Err(format!("{step} is a list: name the entry by its number")),
        _ => Err(format!("{step} is not a section")),
    }
}
