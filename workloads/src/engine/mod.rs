//! Runs workloads: makes the targets in the host's registry, runs the phases, checks, judges, and takes the targets
//! away again.
//!
//! | noun | what it is |
//! |---|---|
//! | [`Context`] | where a run takes place, how it is followed and how it is stopped |
//! | [`run`] | the run itself, on the calling thread until it has ended |
//!
//! A run of a workload is what the daemon executes for `rheostat run`; a process that embeds the runtime can call it
//! on its own registry.

mod arrival;
mod cast;
mod check;
mod chooser;
mod context;
mod crew;
mod drive;
mod environment;
mod event;
mod flow;
mod gate;
mod history;
mod ledger;
mod map_load;
mod oracle;
mod pace;
mod phase;
mod pool_load;
mod queue_load;
mod value;

pub use context::{Cancel, Context, Progress};

use crate::generate::Frontier;
use crate::script::{Extent, MapTarget, Outcome, Target, TargetKind, Workload};
use cast::Cast;
use crew::Replay;
use history::History;
use ledger::{MapBook, PoolBook, QueueBook};
use phase::Ending;
use rheostat_api::{self as api, CheckVerdict};
use rheostat_linearize::Recorder;
use rheostat_runtime::alloc::{Class, Scope};
use rheostat_runtime::observe::{Address, Moment, RegistryError, now};
use rheostat_runtime::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Why a run could not be made, or came to no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A target could not be made or found.
    #[error("target `{target}` ({address}): {why}")]
    Target {
        /// The target.
        target: String,
        /// Its address.
        address: Address,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The host has a resource at the address of a target.
    #[error(
        "the host has a resource `{address}` already: give the target another name, or drive the one that is there \
         with use = \"{address}\""
    )]
    Taken {
        /// The address.
        address: Address,
    },
    /// A hosted resource is not there, or a knob refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The system starts no more threads.
    #[error("a worker could not be started: {why}; take fewer workers")]
    Threads {
        /// What the system said.
        why: String,
    },
    /// A worker panicked. That is a fault of Rheostat, not of the workload.
    #[error("a worker panicked: {what}; please report this")]
    Panicked {
        /// What the panic said.
        what: String,
    },
    /// The input could not be read again for the oracle.
    #[error("data `{what}` could not be read again to check the result: {why}")]
    Input {
        /// The data.
        what: String,
        /// What the system said.
        why: std::io::Error,
    },
}

impl RunError {
    fn target(target: &Target, why: &dyn fmt::Display) -> Self {
        Self::Target { target: target.name.clone(), address: target.address.clone(), why: why.to_string() }
    }

    /// For what parsing has ruled out: a group whose target is not what it works on.
    fn missing(target: &str) -> Self {
        Self::Panicked { what: format!("target `{target}` is not what its group works on") }
    }

    fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Panicked { what: text.unwrap_or_else(|| "a panic without words".into()) }
    }
}

/// Runs a workload to its end, on the calling thread.
///
/// The targets are in the registry while it runs and gone when it returns, with an error or a panic too. A cancel or
/// the run's own timeout is no error: the result then covers the part done, and its verdict says so.
///
/// # Errors
/// A target or an input that cannot be had, a system that starts no more threads.
pub fn run(workload: &Workload, context: &Context) -> Result<api::RunResult, RunError> {
    let mut runner = Runner::new(workload, context);
    let mut cast = Cast::assemble(context, workload)?;
    let mut ending = Ending::Done;
    for index in 0..workload.phases.len() {
        match runner.run_phase(&mut cast, index)? {
            Ending::Done | Ending::Unsteady => {}
            Ending::Stuck => ending = Ending::Stuck,
            cut_short => {
                ending = cut_short;
                break;
            }
        }
    }
    runner.drain_all(&cast, ending);
    runner.result(&cast, ending)
}

/// A run under way: its books and figures so far.
struct Runner<'r> {
    workload: &'r Workload,
    context: &'r Context,
    began: Moment,
    phases: Vec<api::Phase>,
    notes: Vec<String>,
    map_books: BTreeMap<String, MapBook>,
    queue_books: BTreeMap<String, QueueBook>,
    pool_books: BTreeMap<String, PoolBook>,
    /// What every worker asked of a map.
    replays: BTreeMap<String, Vec<Replay>>,
    /// The clock of histories, where they are checked.
    recorder: Option<Recorder>,
    /// What was asked of the keys of maps, and answered.
    histories: BTreeMap<String, History>,
    /// How far the keys of maps reach.
    frontiers: BTreeMap<String, Arc<Frontier>>,
    /// Keys that were put into maps to begin with.
    loaded_keys: BTreeMap<String, u64>,
    /// Pipelines that were stopped before the end of their input.
    cut_short: BTreeSet<String>,
    /// Pipelines that dropped what was on its way.
    abandoned: BTreeSet<String>,
    timed_generators: BTreeSet<String>,
    /// What workers allocate is charged to this.
    scope: Arc<Scope>,
    /// Operations and records, over the phases that have ended.
    items: u64,
    /// Operations of workers among them.
    loaded: u64,
    bytes: u64,
}

impl<'r> Runner<'r> {
    fn new(workload: &'r Workload, context: &'r Context) -> Self {
        Self {
            workload,
            context,
            began: now(),
            phases: Vec::new(),
            notes: Vec::new(),
            map_books: BTreeMap::new(),
            queue_books: BTreeMap::new(),
            pool_books: BTreeMap::new(),
            replays: BTreeMap::new(),
            recorder: workload.checks.linearizable.then(Recorder::new),
            histories: BTreeMap::new(),
            frontiers: BTreeMap::new(),
            loaded_keys: BTreeMap::new(),
            cut_short: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            timed_generators: BTreeSet::new(),
            scope: Arc::new(Scope::new(Class::Runs, &format!("run.{}", workload.name))),
            items: 0,
            loaded: 0,
            bytes: 0,
        }
    }

    fn is_overdue(&self) -> bool {
        self.began.elapsed() >= self.workload.timeout
    }

    fn note_once(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Publishes how far the run is: `loaded` and `elapsed` are those of the phase under way.
    fn show_progress(
        &self,
        cast: &Cast<'_>,
        phase: &crate::script::Phase,
        index: usize,
        loaded: u64,
        elapsed: Duration,
    ) {
        let (mut items, mut bytes, mut bytes_total) = (self.loaded + loaded, 0, Some(0));
        for (_, flow) in cast.flows() {
            let figures = flow.figures();
            items += figures.items();
            bytes += figures.bytes;
            bytes_total = bytes_total.zip(flow.bytes_total()).map(|(sum, total)| sum + total);
        }
        let bytes_total = bytes_total.filter(|total| *total > 0);
        let elapsed = elapsed.as_secs_f64();
        let rate = |n: u64| n as f64 / elapsed.max(1e-9);
        let left = match phase.extent {
            Extent::Duration(duration) | Extent::Steady(duration) => Some(duration.as_secs_f64() - elapsed),
            Extent::Count(count) => Some(count.saturating_sub(loaded) as f64 / rate(loaded)),
            Extent::Input => {
                bytes_total.map(|total| total.saturating_sub(bytes) as f64 / rate(bytes.saturating_sub(self.bytes)))
            }
        };
        let later: Option<f64> = self.workload.phases[index + 1..]
            .iter()
            .map(|later| match later.extent {
                Extent::Duration(duration) | Extent::Steady(duration) => Some(duration.as_secs_f64()),
                Extent::Count(_) | Extent::Input => None,
            })
            .sum();
        self.context.progress.set(api::Progress {
            phase: phase.name.clone(),
            items,
            bytes,
            bytes_total,
            elapsed_s: self.began.elapsed().as_secs_f64(),
            left_s: left.zip(later).map(|(left, later)| left.max(0.0) + later).filter(|left| left.is_finite()),
        });
    }

    /// Checks, judges, and writes everything down.
    fn result(mut self, cast: &Cast<'_>, ending: Ending) -> Result<api::RunResult, RunError> {
        let mut progress = self.context.progress.get();
        progress.phase = "checking".into();
        progress.items = self.items;
        progress.bytes = self.bytes;
        self.context.progress.set(progress);
        self.note_inputs(cast);
        self.note_refusals();
        let checks = self.check(cast)?;
        let thresholds: Vec<_> =
            self.workload.thresholds.iter().map(|threshold| self.judge(threshold, &checks)).collect();
        let verdict = self.verdict(ending, &checks, &thresholds);
        let mut progress = self.context.progress.get();
        progress.elapsed_s = self.began.elapsed().as_secs_f64();
        progress.left_s = Some(0.0);
        self.context.progress.set(progress);
        Ok(api::RunResult {
            format: 1,
            run: self.context.run.clone(),
            name: self.workload.name.clone(),
            sha256: self.workload.sha256.clone(),
            seed: self.workload.seed,
            verdict,
            env: environment::environment(),
            tables: self.tables(cast),
            phases: self.phases,
            checks,
            thresholds: thresholds.into_iter().map(|(threshold, _)| threshold).collect(),
            notes: self.notes,
        })
    }

    fn judge(&self, threshold: &crate::script::Threshold, checks: &[api::Check]) -> (api::Threshold, Outcome) {
        let phase = threshold.on.as_ref().and_then(|on| self.phases.iter().find(|phase| phase.name == *on));
        let (measured, outcome) = threshold.condition.judge(phase, checks);
        let (expr, verdict) = (threshold.condition.to_string(), outcome.to_string());
        (api::Threshold { expr, value: measured.clone().ok(), verdict, why: measured.err() }, outcome)
    }

    /// A violated check outweighs everything, also a cancel: what is wrong is wrong. Nothing measured is never a pass.
    fn verdict(
        &self,
        ending: Ending,
        checks: &[api::Check],
        thresholds: &[(api::Threshold, Outcome)],
    ) -> api::RunVerdict {
        let any = |wanted| thresholds.iter().any(|(_, outcome)| *outcome == wanted);
        let found = |verdict| checks.iter().any(|check| check.verdict == verdict);
        if found(CheckVerdict::Fail) {
            api::RunVerdict::Incorrect
        } else if ending == Ending::TimedOut {
            api::RunVerdict::Error
        } else if ending == Ending::Cancelled {
            api::RunVerdict::Cancelled
        } else if any(Outcome::Fail) {
            api::RunVerdict::Failed
        } else if any(Outcome::Inconclusive) || found(CheckVerdict::Inconclusive) || self.items == 0 {
            api::RunVerdict::Inconclusive
        } else {
            api::RunVerdict::Pass
        }
    }

    /// The greatest entries of the maps the script names.
    fn tables(&self, cast: &Cast<'_>) -> Vec<api::Table> {
        let tables = self.workload.tables.iter().filter_map(|table| {
            let top = cast.counters(&table.map)?.top(table.rows as usize);
            let row =
                |(key, value): (Box<[u8]>, i64)| api::Item { key: String::from_utf8_lossy(&key).into_owned(), value };
            Some(api::Table { title: table.title.clone(), rows: top.into_iter().map(row).collect() })
        });
        tables.collect()
    }

    /// What pipelines could not read or do.
    fn note_inputs(&mut self, cast: &Cast<'_>) {
        const SHOWN: usize = 5;
        for (name, flow) in cast.flows() {
            let Some(own) = flow.own() else { continue };
            let figures = flow.figures();
            for why in own.refused_inputs().iter().take(SHOWN) {
                self.notes.push(format!("`{name}` left out {why}"));
            }
            if figures.refused > SHOWN as u64 {
                self.notes.push(format!("`{name}` left out {} more inputs", figures.refused - SHOWN as u64));
            }
            if figures.replaced > 0 {
                let replaced = figures.replaced;
                self.notes
                    .push(format!("`{name}` replaced {replaced} sequences that are not UTF-8; they separate words"));
            }
            if let Some(letter) = own.dead_letters().last() {
                self.notes
                    .push(format!("`{name}` set {} records aside; the last: {}", figures.dead_letters, letter.why));
            }
        }
    }

    fn note_refusals(&mut self) {
        for (name, book) in &self.map_books {
            let (no_block, full) = (book.no_block, book.refused - book.no_block);
            if full > 0 {
                self.notes.push(format!("`{name}` refused {full} operations: it was full; raise its entries_max"));
            }
            if no_block > 0 {
                let target = self.workload.target(name).map(|target| &target.kind);
                let pool = match target {
                    Some(TargetKind::Map(MapTarget { pool: Some(pool), .. })) => format!("`{pool}`"),
                    // The host's.
                    _ => "the pool of its values".to_owned(),
                };
                self.notes.push(format!(
                    "`{name}` refused {no_block} values: {pool} had no block for them; raise the pool's bytes_max"
                ));
            }
        }
        for (name, book) in &self.pool_books {
            if book.refused > 0 {
                let refused = book.refused;
                self.notes.push(format!("`{name}` refused {refused} blocks: it was full; raise its bytes_max"));
            }
        }
    }
}
