//! What pipelines read.

use super::document::{Section, Walk};
use super::{NOT_A_NAME, Overrides, is_name, limits};
use crate::catalogue;

/// A named input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Where its bytes come from.
    pub origin: Origin,
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Files, folders and patterns; relative ones start at the folder of the workload file.
    Files(Vec<String>),
    /// Texts that ship with Rheostat, one after the other, that many times over.
    Shipped {
        /// Their names in the catalogue.
        texts: Vec<String>,
        /// How often they are read.
        passes: u64,
    },
}

/// The declared inputs; `None` for one that is at fault.
pub(super) type Declared = Vec<(String, Option<Data>)>;

pub(super) fn read_all(root: &mut Section<'_, '_>, walk: &Walk<'_>, overrides: &Overrides) -> Declared {
    let place = root.place("data");
    let mut declared = Declared::new();
    if let Some(mut all) = root.table("data", "[data]") {
        for (name, node) in all.take_all() {
            if !is_name(name.get_ref()) {
                walk.fault(name.span(), format!("`{}` {NOT_A_NAME}", name.get_ref()));
            }
            let title = format!("[data.{}]", name.get_ref());
            let data = all.as_table(name.get_ref(), node, title).and_then(|section| read(section, walk));
            declared.push((name.into_inner(), data));
        }
        if declared.len() > limits::DATA_MAX {
            all.fault(format_args!("at most {} inputs", limits::DATA_MAX));
        }
    }
    if !overrides.inputs.is_empty() {
        match &mut declared[..] {
            [(_, Some(data))] => data.origin = Origin::Files(overrides.inputs.clone()),
            [(_, None)] => {}
            more => {
                let message = format!(
                    "the command line names inputs, which take the place of the one [data.NAME] of a file; \
                     this file has {}",
                    more.len()
                );
                walk.fault(place.unwrap_or(0..0), message);
            }
        }
    }
    declared
}

fn read(mut section: Section<'_, '_>, walk: &Walk<'_>) -> Option<Data> {
    let (files_at, shipped_at) = (section.place("files"), section.place("shipped"));
    let files = section.strings("files", limits::PATTERNS_MAX);
    let shipped = section.strings("shipped", catalogue::TEXTS.len());
    let passes_at = section.place("passes");
    let passes = section.count("passes", 1..=1_000_000);
    let origin = match (files_at, shipped_at) {
        (Some(_), None) => {
            if let Some(span) = passes_at {
                walk.fault(
                    span,
                    "`passes` goes with `shipped`; to read files over and over, set `repeat` on the pipeline",
                );
            }
            for empty in files.iter().flatten().filter(|pattern| pattern.get_ref().is_empty()) {
                walk.fault(empty.span(), "an empty path names nothing; write a file, a folder or a pattern");
            }
            files.map(|files| Origin::Files(files.into_iter().map(toml::Spanned::into_inner).collect()))
        }
        (None, Some(_)) => shipped.and_then(|names| {
            let known = super::document::Known::of("text", catalogue::TEXTS.iter().map(|(name, _)| *name));
            for name in &names {
                if catalogue::text(name.get_ref()).is_none() {
                    walk.fault(name.span(), known.unknown(name.get_ref()));
                }
            }
            let texts = names.into_iter().map(toml::Spanned::into_inner).collect();
            Some(Origin::Shipped { texts, passes: if passes_at.is_some() { passes? } else { 1 } })
        }),
        _ => {
            section.fault("set either `files` (paths or patterns) or `shipped` (names of texts that ship)");
            None
        }
    };
    section.finish();
    Some(Data { origin: origin? })
}
