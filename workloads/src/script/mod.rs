//! The workload file: TOML, data not code, so that it can be hashed, queued and shown before it runs.
//!
//! `format = 1` comes first in every file; a file of a later format is refused with a message that says so. The
//! scripts of the [catalogue](crate::catalogue) show the format with comments.

mod data;
mod document;
mod event;
mod expression;
mod group;
pub mod limits;
mod phase;
mod plan;
mod pool;
mod report;
mod target;

pub use data::{Data, Origin};
pub(crate) use group::{MAP_OPS, QUEUE_OPS, ROUND_TRIP};
pub(crate) use pool::POOL_OPS;
pub(crate) use report::{is_incremented, is_recorded, is_replayable, is_walked, map_ops};

pub use document::Known;
pub use event::{Event, KnobName};
pub use expression::{Condition, Outcome};
pub use group::{Arrival, Group, MapOp, Mix, QueueOp, Schedule, Work};
pub use phase::{Extent, Insert, Phase, Role};
pub use plan::{Plan, PlannedPhase};
pub use pool::{PoolOp, PoolTarget, Sizes};
pub use report::{Checks, Threshold, Top};
pub use rheostat_runtime::map::Backend;
pub use target::{
    END_TO_END, Keys, MapTarget, MapValue, PipelineTarget, QueueTarget, Stage, StageOp, Target, TargetKind,
};

use crate::fault::Faults;
use document::{Section, Walk, integer};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a command line adds to a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Paths or patterns that take the place of the files of the workload's only `[data.NAME]`.
    pub inputs: Vec<String>,
    /// Values that take the place of those in `[vars]`, as they were typed.
    pub vars: BTreeMap<String, String>,
}

/// A workload, checked: every name it uses exists, every number lies in its range.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The file, as it was named.
    pub file: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// Where relative paths start: the folder of the file.
    pub base: PathBuf,
    /// What it is called.
    pub name: String,
    /// Fixes keys, values and the mix of operations.
    pub seed: u64,
    /// How long the whole run may take.
    pub timeout: Duration,
    /// What pipelines read, by name.
    pub data: BTreeMap<String, Data>,
    /// What is driven, in the order of the file.
    pub targets: Vec<Target>,
    /// Phases in order.
    pub phases: Vec<Phase>,
    /// What is checked at the end.
    pub checks: Checks,
    /// What must hold of the figures.
    pub thresholds: Vec<Threshold>,
    /// What is printed of the maps.
    pub tables: Vec<Top>,
}

impl Workload {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once. A text that is no TOML is faulted for that alone: what the rest
    /// of it means cannot be told.
    pub fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Self, Faults> {
        let refuse = |faults| Faults::new(file, text, faults);
        if text.len() > limits::FILE_BYTES_MAX {
            let (has, max) = (text.len(), limits::FILE_BYTES_MAX);
            return Err(refuse(vec![(0..0, format!("the file has {has} bytes; a workload has at most {max}"))]));
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let faults = errors.iter().map(|error| {
                let span = error.span().unwrap_or(text.len()..text.len());
                (span, format!("this is not TOML: {}", error.message()))
            });
            return Err(refuse(faults.collect()));
        }
        let mut table = document.into_inner();
        let mut walk = Walk::default();
        walk.vars = variables(&mut table, &walk, overrides);
        let workload = read(file, text, table, &walk, overrides);
        let faults = walk.into_faults();
        workload.filter(|_| faults.is_empty()).ok_or_else(|| refuse(faults))
    }

    /// The target of that name.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == name)
    }
}

/// Takes `vars` out of the document and applies the overrides.
fn variables<'t>(table: &mut DeTable<'t>, walk: &Walk<'t>, overrides: &'t Overrides) -> BTreeMap<String, DeValue<'t>> {
    let mut vars = BTreeMap::new();
    let mut span = 0..0;
    if let Some((key, node)) = table.remove_entry("vars") {
        span = key.span();
        match node.into_inner() {
            DeValue::Table(table) if table.len() <= limits::VARS_MAX => {
                for (key, value) in table {
                    let key_span = key.span();
                    if matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_) | DeValue::Datetime(_)) {
                        let message = format!("variable `{}` takes a string, a number, true or false", key.get_ref());
                        walk.fault(key_span, message);
                    } else {
                        vars.insert(key.into_inner().into_owned(), value);
                    }
                }
            }
            DeValue::Table(_) => walk.fault(span.clone(), format!("at most {} variables", limits::VARS_MAX)),
            _ => walk.fault(span.clone(), "`vars` takes a table: vars = { workers = 2 }"),
        }
    }
    for (name, typed) in &overrides.vars {
        // `-D vars.x=1` and `-D x=1` mean the same.
        let name = name.strip_prefix("vars.").unwrap_or(name);
        match vars.get_mut(name) {
            None => {
                let message = Known::of("variable", vars.keys().map(String::as_str)).unknown(name);
                walk.fault(span.clone(), format!("the command line sets an {message}"));
            }
            Some(value) => match overridden(value.get_ref(), typed) {
                Some(new) => *value = Spanned::new(value.span(), new),
                None => {
                    let what = match value.get_ref() {
                        DeValue::Integer(_) => "a whole number",
                        DeValue::Boolean(_) => "true or false",
                        _ => "a number",
                    };
                    let message = format!("the command line sets `{name}` to `{typed}`, but it takes {what}");
                    walk.fault(value.span(), message);
                }
            },
        }
    }
    vars.into_iter().map(|(name, value)| (name, value.into_inner())).collect()
}

/// A value as it was typed, if it has the type of the one it replaces.
fn overridden<'t>(value: &DeValue<'t>, typed: &'t str) -> Option<DeValue<'t>> {
    if value.as_str().is_some() {
        return Some(DeValue::String(typed.into()));
    }
    let new = DeValue::parse(typed.trim()).ok()?.into_inner();
    let fits = matches!(
        (value, &new),
        (DeValue::Integer(_), DeValue::Integer(_))
            | (DeValue::Boolean(_), DeValue::Boolean(_))
            | (DeValue::Float(_), DeValue::Float(_) | DeValue::Integer(_))
    );
    fits.then_some(new)
}

fn read(file: &str, text: &str, table: DeTable<'_>, walk: &Walk<'_>, overrides: &Overrides) -> Option<Workload> {
    let mut root = Section::new(walk, "the file", 0..0, table);
    if !format_known(&mut root, walk) {
        return None;
    }
    root.require("name", "the name of the workload");
    let name = root.string("name", "the name of the workload");
    if let Some(name) = name.as_ref().filter(|name| !is_name(name.get_ref())) {
        walk.fault(name.span(), format!("`{}` {NOT_A_NAME}", name.get_ref().chars().take(80).collect::<String>()));
    }
    let seed = root.count("seed", 0..=i64::MAX as u64).unwrap_or(0);
    let timeout = root.table("run", "[run]").map_or(Some(limits::RUN_DEFAULT), |mut run| {
        let timeout = run
            .place("timeout")
            .map_or(Some(limits::RUN_DEFAULT), |_| run.duration("timeout", Duration::from_secs(1), limits::RUN_MAX));
        run.finish();
        timeout
    });
    let data = data::read_all(&mut root, walk, overrides);
    let targets = target::read_all(&mut root, walk, &data);
    let phases = phase::read_all(&mut root, walk, &targets);
    let checks = report::read_checks(&mut root, walk, &targets, &phases);
    let thresholds = report::read_thresholds(&mut root, walk, text, &targets, &phases, &checks);
    let tables = report::read_tables(&mut root, walk, &targets);
    root.finish();
    Some(Workload {
        file: file.to_owned(),
        sha256: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
        base: Path::new(file).parent().map_or_else(PathBuf::new, Path::to_owned),
        name: name?.into_inner(),
        seed,
        timeout: timeout?,
        data: data.into_iter().map(|(name, data)| Some((name, data?))).collect::<Option<_>>()?,
        targets: targets.into_read()?,
        phases: phases.into_iter().collect::<Option<_>>()?,
        checks,
        thresholds,
        tables,
    })
}

/// False for a file of a later format, of which nothing else can be said.
fn format_known(root: &mut Section<'_, '_>, walk: &Walk<'_>) -> bool {
    const SUPPORTED: i64 = 1;
    root.require("format", "the version of this format: format = 1");
    let Some(node) = root.take("format") else { return true };
    match integer(node.get_ref()) {
        Some(SUPPORTED) => true,
        Some(later) if later > SUPPORTED => {
            let message = format!("this is format {later}; this version reads format {SUPPORTED}: use a later one");
            walk.fault(node.span(), message);
            false
        }
        _ => {
            walk.fault(node.span(), format!("`format` takes the version of the format: format = {SUPPORTED}"));
            true
        }
    }
}

const NOT_A_NAME: &str = "is not a name: names start with a-z and go on with a-z, 0-9, _ or -, 64 characters at most";

/// The rule for names, which is that of addresses.
fn is_name(name: &str) -> bool {
    rheostat_runtime::observe::Address::new(rheostat_runtime::observe::Kind::Map, name).is_ok()
}
