//! A TOML document walked table by table, so that every fault is found in one go and each knows its place.
//!
//! Serde stops at the first fault and points a wrong value inside a tagged table at the whole table. Walking the
//! spanned document by hand does neither: each table hands out its keys once, and what nobody asked for is unknown.

use crate::unit::{Dimension, Quantity};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in the text.
pub(super) type Span = Range<usize>;

/// A value and where it stands.
pub(super) type Node<'t> = Spanned<DeValue<'t>>;

/// What a walk shares: the variables in force and the faults found so far.
#[derive(Default)]
pub(super) struct Walk<'t> {
    /// `[vars]`, overrides applied.
    pub vars: BTreeMap<String, DeValue<'t>>,
    faults: RefCell<Vec<(Span, String)>>,
}

/// Faults noted before the rest are dropped: a file of eight megabytes can hold millions.
const NOTED: usize = 10_000;

impl<'t> Walk<'t> {
    /// Notes a fault and goes on.
    pub fn fault(&self, span: Span, message: impl Into<String>) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < NOTED {
            faults.push((span, message.into()));
        }
    }

    /// Everything noted.
    pub fn into_faults(self) -> Vec<(Span, String)> {
        self.faults.into_inner()
    }

    /// Puts the variable in the place of a `${vars.x}`.
    pub fn substituted(&self, node: Node<'t>) -> Option<Node<'t>> {
        let DeValue::String(text) = node.get_ref() else { return Some(node) };
        let span = node.span();
        let Some(start) = text.find("${") else { return Some(node) };
        let name = text.strip_prefix("${vars.").and_then(|rest| rest.strip_suffix('}'));
        match name.filter(|name| start == 0 && !name.contains(['$', '{', '}'])) {
            None => {
                let message =
                    format!("`{text}`: a variable takes the place of a whole value; write \"${{vars.NAME}}\"");
                self.fault(span, message);
                None
            }
            Some(name) => match self.vars.get(name) {
                Some(value) => Some(Spanned::new(span, value.clone())),
                None => {
                    let known = Known::of("variable", self.vars.keys().map(String::as_str));
                    self.fault(span, known.unknown(name));
                    None
                }
            },
        }
    }
}

/// The names there are, for messages about one there is not.
pub struct Known<'a> {
    noun: &'a str,
    names: Vec<&'a str>,
}

impl<'a> Known<'a> {
    /// Those of one kind, which `noun` says.
    pub fn of(noun: &'a str, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { noun, names: names.into_iter().collect() }
    }

    /// "unknown key `worker`; did you mean `workers`?"
    pub fn unknown(&self, name: &str) -> String {
        let noun = self.noun;
        let shown: String = name.chars().take(80).collect();
        let near = self.names.iter().map(|known| (distance(known, name), known)).min();
        match near {
            Some((distance, near)) if distance <= 1 + near.len() / 4 => {
                format!("unknown {noun} `{shown}`; did you mean `{near}`?")
            }
            None => format!("unknown {noun} `{shown}`; there is none here"),
            Some(_) => format!("unknown {noun} `{shown}`; known: {}", self.names.join(", ")),
        }
    }
}

/// Letters to add, drop or change to make one word of the other (Levenshtein); long words are compared no further.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 8 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// What a value is, for messages about one that should be something else.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", text.chars().take(60).collect::<String>()),
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(word) => format!("`{word}`"),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// A whole number of the document, if it fits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
}

/// A table whose keys are taken one by one; [`Section::finish`] faults those nobody asked for.
pub(super) struct Section<'w, 't> {
    walk: &'w Walk<'t>,
    /// How messages call it: `[target.kv]`.
    pub title: String,
    /// The whole table.
    pub span: Span,
    entries: Vec<(Spanned<String>, Node<'t>)>,
    asked: Vec<&'static str>,
}

impl<'w, 't> Section<'w, 't> {
    pub fn new(walk: &'w Walk<'t>, title: impl Into<String>, span: Span, table: DeTable<'t>) -> Self {
        let entry = |(key, node): (Spanned<_>, Node<'t>)| {
            let key: Spanned<std::borrow::Cow<'t, str>> = key;
            (Spanned::new(key.span(), key.into_inner().into_owned()), node)
        };
        let mut entries: Vec<_> = table.into_iter().map(entry).collect();
        // The document keeps keys in the order of the alphabet; people and faults go by the order of the file.
        entries.sort_by_key(|(key, _)| key.span().start);
        Self { walk, title: title.into(), span, entries, asked: Vec::new() }
    }

    /// Notes a fault of this table as a whole.
    pub fn fault(&self, message: impl std::fmt::Display) {
        self.walk.fault(self.span.clone(), format!("{}: {message}", self.title));
    }

    /// Where a key that has not been taken stands.
    pub fn place(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(known, _)| known.get_ref() == key).map(|(known, _)| known.span())
    }

    /// The value of a key, variables put in; `None` if it is absent (or its variable unknown, which is noted).
    pub fn take(&mut self, key: &'static str) -> Option<Node<'t>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(known, _)| known.get_ref() == key)?;
        let (_, node) = self.entries.remove(at);
        self.walk.substituted(node)
    }

    /// Takes a key whose value is this word, variables put in; false, and nothing taken, for any other value.
    pub fn take_word(&mut self, key: &'static str, word: &str) -> bool {
        let entry = self.entries.iter().position(|(known, _)| known.get_ref() == key);
        let Some((at, text)) = entry.and_then(|at| Some((at, self.entries[at].1.get_ref().as_str()?))) else {
            return false;
        };
        let variable = text.strip_prefix("${vars.").and_then(|rest| rest.strip_suffix('}'));
        let is_word = match variable {
            Some(name) => self.walk.vars.get(name).and_then(DeValue::as_str) == Some(word),
            None => text == word,
        };
        if is_word {
            self.asked.push(key);
            self.entries.remove(at);
        }
        is_word
    }

    /// Everything in the table under keys of the user's own choice, in the order of the file.
    pub fn take_all(&mut self) -> Vec<(Spanned<String>, Node<'t>)> {
        std::mem::take(&mut self.entries)
    }

    /// True if every key was asked for.
    pub fn is_used_up(&self) -> bool {
        self.entries.is_empty()
    }

    /// Says that a key must be there, unless it is.
    pub fn require(&self, key: &str, what: &str) {
        if self.place(key).is_none() {
            self.fault(format_args!("`{key}` is missing; it takes {what}"));
        }
    }

    fn wrong(&self, key: &str, node: &Node<'t>, what: &str) {
        let found = described(node.get_ref());
        self.walk.fault(node.span(), format!("`{key}` of {} takes {what}, not {found}", self.title));
    }

    /// A string.
    pub fn string(&mut self, key: &'static str, what: &str) -> Option<Spanned<String>> {
        let node = self.take(key)?;
        match node.get_ref().as_str() {
            Some(text) => Some(Spanned::new(node.span(), text.to_owned())),
            None => {
                self.wrong(key, &node, what);
                None
            }
        }
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        let node = self.take(key)?;
        let found = node.get_ref().as_str().and_then(|text| words.iter().find(|(name, _)| *name == text));
        if found.is_none() {
            self.wrong(key, &node, &format!("one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A whole number within a range.
    pub fn integer(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let node = self.take(key)?;
        let number = integer(node.get_ref()).filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(key, &node, &format!("a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A count within a range.
    pub fn count(&mut self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let bound = |end: &u64| i64::try_from(*end).unwrap_or(i64::MAX);
        self.integer(key, bound(range.start())..=bound(range.end())).map(|number| number as u64)
    }

    /// A number above `above`, at most `max`.
    pub fn number(&mut self, key: &'static str, above: f64, max: f64) -> Option<f64> {
        let node = self.take(key)?;
        let number = match node.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            value => integer(value).map(|number| number as f64),
        };
        let number = number.filter(|number| *number > above && *number <= max);
        if number.is_none() {
            self.wrong(key, &node, &format!("a number above {above}, at most {max}"));
        }
        number
    }

    /// `true` or `false`; absent is `false`.
    pub fn flag(&mut self, key: &'static str) -> bool {
        let Some(node) = self.take(key) else { return false };
        node.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(key, &node, "true or false");
            false
        })
    }

    fn quantity(&mut self, key: &'static str, dimension: Dimension, min: f64, max: f64, range: &str) -> Option<f64> {
        let node = self.take(key)?;
        let quantity = node.get_ref().as_str().and_then(Quantity::parse);
        match quantity {
            Some(quantity) if quantity.dimension == dimension => {
                if (min..=max).contains(&quantity.base) {
                    return Some(quantity.base);
                }
                let found = described(node.get_ref());
                self.walk.fault(node.span(), format!("`{key}` of {} takes {range}, not {found}", self.title));
            }
            _ => self.wrong(key, &node, dimension.example()),
        }
        None
    }

    /// A duration from `min` to `max`.
    pub fn duration(&mut self, key: &'static str, min: Duration, max: Duration) -> Option<Duration> {
        let range = format!("a time from {} to {}", crate::unit::duration(min), crate::unit::duration(max));
        let (min, max) = (min.as_nanos() as f64, max.as_nanos() as f64);
        self.quantity(key, Dimension::Time, min, max, &range).map(|ns| Duration::from_nanos(ns as u64))
    }

    /// A size in bytes.
    pub fn size(&mut self, key: &'static str, min: u64, max: u64) -> Option<u64> {
        let range = format!("a size from {} to {}", crate::unit::bytes(min), crate::unit::bytes(max));
        self.quantity(key, Dimension::Size, min as f64, max as f64, &range).map(|bytes| bytes as u64)
    }

    /// Bytes per second.
    pub fn byte_rate(&mut self, key: &'static str, min: u64, max: u64) -> Option<u64> {
        let range = format!("a rate from {}/s to {}/s", crate::unit::bytes(min), crate::unit::bytes(max));
        self.quantity(key, Dimension::ByteRate, min as f64, max as f64, &range).map(|rate| rate as u64)
    }

    /// Operations per second.
    pub fn rate(&mut self, key: &'static str, min: f64, max: f64) -> Option<f64> {
        self.quantity(key, Dimension::Rate, min, max, "a rate up to 100M/s")
    }

    /// A share of a whole, as `"20%"` or 0.2: above 0, below 1.
    pub fn share(&mut self, key: &'static str) -> Option<f64> {
        let node = self.take(key)?;
        let share = match node.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            value => value.as_str().and_then(Quantity::parse).and_then(|quantity| match quantity.dimension {
                Dimension::Number => Some(quantity.base),
                _ => None,
            }),
        };
        let share = share.filter(|share| *share > 0.0 && *share < 1.0);
        if share.is_none() {
            self.wrong(key, &node, "a share between 0% and 100%, such as \"20%\"");
        }
        share
    }

    /// A string or an array of strings.
    pub fn strings(&mut self, key: &'static str, max: usize) -> Option<Vec<Spanned<String>>> {
        const WHAT: &str = "a string or an array of strings";
        let node = self.take(key)?;
        let span = node.span();
        let nodes: Vec<Node<'t>> = match node.into_inner() {
            DeValue::Array(array) => array.into_iter().collect(),
            value => vec![Spanned::new(span.clone(), value)],
        };
        if nodes.is_empty() || nodes.len() > max {
            let message = format!("`{key}` of {} takes 1 to {max} strings, not {}", self.title, nodes.len());
            self.walk.fault(span, message);
            return None;
        }
        let strings = nodes.into_iter().map(|node| {
            let node = self.walk.substituted(node)?;
            let Some(text) = node.get_ref().as_str() else {
                self.wrong(key, &node, WHAT);
                return None;
            };
            Some(Spanned::new(node.span(), text.to_owned()))
        });
        let strings: Vec<_> = strings.collect();
        strings.into_iter().collect()
    }

    /// The elements of an array, variables put in.
    pub fn array(&mut self, key: &'static str, max: usize, what: &str) -> Option<Vec<Node<'t>>> {
        let node = self.take(key)?;
        let span = node.span();
        match node.into_inner() {
            DeValue::Array(array) if (1..=max).contains(&array.len()) => {
                Some(array.into_iter().filter_map(|node| self.walk.substituted(node)).collect())
            }
            DeValue::Array(array) => {
                let message = format!("`{key}` of {} takes 1 to {max} of {what}, not {}", self.title, array.len());
                self.walk.fault(span, message);
                None
            }
            value => {
                self.wrong(key, &Spanned::new(span, value), &format!("an array of {what}"));
                None
            }
        }
    }

    /// A table below this one.
    pub fn table(&mut self, key: &'static str, title: impl Into<String>) -> Option<Section<'w, 't>> {
        let node = self.take(key)?;
        self.as_table(key, node, title)
    }

    /// True if that key holds a table.
    pub fn is_table(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, node)| known.get_ref() == key && node.get_ref().as_table().is_some())
    }

    /// Reads a value as a table.
    pub fn as_table(&self, key: &str, node: Node<'t>, title: impl Into<String>) -> Option<Section<'w, 't>> {
        let span = node.span();
        match node.into_inner() {
            DeValue::Table(table) => Some(Section::new(self.walk, title, span, table)),
            value => {
                self.wrong(key, &Spanned::new(span, value), "a table");
                None
            }
        }
    }

    /// The tables of an array of tables; absent is empty. `title` names the table with that number, from 1.
    pub fn tables(&mut self, key: &'static str, max: usize, title: impl Fn(usize) -> String) -> Vec<Section<'w, 't>> {
        if self.place(key).is_none() {
            self.asked.push(key);
            return Vec::new();
        }
        let nodes = self.array(key, max, "tables").unwrap_or_default();
        let sections = nodes.into_iter().enumerate();
        sections.filter_map(|(index, node)| self.as_table(key, node, title(index + 1))).collect()
    }

    /// Faults every key nobody asked for.
    pub fn finish(self) {
        let known = Known::of("key", self.asked.iter().copied());
        for (key, _) in &self.entries {
            self.walk.fault(key.span(), format!("{}: {}", self.title, known.unknown(key.get_ref())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested() {
        let known = Known::of("key", ["workers", "target", "mix"]);
        assert_eq!(known.unknown("worker"), "unknown key `worker`; did you mean `workers`?");
        assert_eq!(known.unknown("colour"), "unknown key `colour`; known: workers, target, mix");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
