//! From text to what was written, finding every fault of form in one go.
//!
//! serde stops at the first fault. So: parse once, deserialize, and for as long as that fails note the fault, cut
//! the entry it points at out of the parsed table, and deserialize again. Each turn removes an entry, so it ends.

use super::fault::Fault;
use super::raw::RawConfig;
use crate::plain::plainly;
use serde::Deserialize;
use serde_spanned::Spanned;
use std::ops::Range;
use toml::de::{DeTable, DeValue, Deserializer};

/// What could be read of `text`, and what could not.
pub(super) fn read(text: &str) -> (RawConfig, Vec<Fault>) {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    let fault = |error: &toml::de::Error| {
        let at = error.span().unwrap_or_default();
        let mut message = error.message().replace('\n', ", ");
        if message == "duplicate key" {
            let key = text.get(at.clone()).unwrap_or_default();
            message = format!("duplicate key `{key}`: it stands here once already; keep one");
        }
        Fault::new(at, message)
    };
    let mut faults: Vec<_> = errors.iter().map(fault).collect();
    if !faults.is_empty() {
        // Text that is no TOML says too little about what was meant to judge it further.
        return (RawConfig::default(), faults);
    }
    loop {
        match RawConfig::deserialize(Deserializer::from(table.clone())) {
            Ok(raw) => return (raw, faults),
            Err(error) => {
                let at = error.span().unwrap_or_default();
                let message = plainly(error.message());
                match cut(table.get_mut(), &at) {
                    Some(path) => faults.push(Fault::new(at, format!("{path}: {message}"))),
                    None => {
                        faults.push(Fault::new(at, message));
                        return (RawConfig::default(), faults);
                    }
                }
            }
        }
    }
}

/// Removes the entry whose key or value, or a plain element of whose array, stands exactly at `at`; says its path.
fn cut(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<String> {
    let stands_at = |key: &Spanned<_>, value: &Spanned<DeValue<'_>>| {
        let plain = |item: &&Spanned<DeValue<'_>>| !item.get_ref().is_table();
        let elements = value.get_ref().as_array().into_iter().flat_map(|array| array.iter().filter(plain));
        key.span() == *at || value.span() == *at || elements.into_iter().any(|item| item.span() == *at)
    };
    if let Some(key) = table.iter().find(|(key, value)| stands_at(key, value)).map(|(key, _)| key.clone()) {
        table.remove(&key);
        return Some(key.into_inner().into_owned());
    }
    table.iter_mut().find_map(|(key, value)| {
        let below = match value.get_mut() {
            DeValue::Table(table) => cut(table, at)?,
            DeValue::Array(array) => array
                .iter_mut()
                .find_map(|item| if let DeValue::Table(table) = item.get_mut() { cut(table, at) } else { None })?,
            _ => return None,
        };
        Some(format!("{}.{below}", key.get_ref()))
    })
}
