//! Workload runs: one measures at a time, others wait their turn, results outlive the daemon.
//!
//! A result is written beside its name, flushed, and renamed into place, so its file is whole or absent whenever
//! the process ends. The newest 64 runs that began are in memory, and the newest 16 that were cancelled before; older
//! files stay in the state folder.

use crate::{folder, wire};
use rheostat_api as api;
use rheostat_runtime::observe::{Address, Reading, Registry, families};
use rheostat_runtime::sync::{Condvar, Mutex};
use rheostat_workloads::engine::{self, Cancel, Context, Progress};
use rheostat_workloads::{Faults, Overrides, Workload};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Runs that began, kept in memory after they ended.
const KEPT: usize = 64;
/// Runs cancelled before they began. Bounded apart from the others, which they must not crowd out: there is nothing
/// to know of them, and no limit to how many there can be while one run is under way.
const KEPT_UNBEGUN: usize = 16;

/// All runs, newest last.
pub(crate) struct Runs {
    registry: Arc<Registry>,
    folder: PathBuf,
    queued_max: usize,
    state: Mutex<State>,
    /// A run was queued or ended, or stopping began.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    runs: VecDeque<Entry>,
    last_id: u64,
    stopping: bool,
}

struct Entry {
    run: api::Run,
    /// Taken by the run when it begins.
    workload: Option<Workload>,
    cancel: Cancel,
    progress: Arc<Progress>,
    result: Option<Arc<api::RunResult>>,
}

/// The file of a run that ended.
#[derive(Serialize, Deserialize)]
struct Record {
    run: api::Run,
    result: api::RunResult,
}

/// Why a run was refused or has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error(
        "{file}: target.{target} uses {address}, which this daemon does not host; list what it hosts with `rheostat resources`"
    )]
    Unhosted { file: String, target: String, address: Address },
    #[error("{0} runs wait already, as many as may; wait for one to end, or cancel one")]
    Full(usize),
    #[error("the daemon is stopping")]
    Stopping,
    #[error("there is no run `{0}`; list them with `rheostat runs`")]
    Unknown(String),
    #[error("run {0} has not ended; watch it with `rheostat watch {0}`")]
    NotEnded(String),
    #[error("run {0} has no result: {1}")]
    NoResult(String, String),
}

impl Runs {
    /// Takes up the results that an earlier process left in `folder`.
    pub(crate) fn open(registry: Arc<Registry>, folder: PathBuf, queued_max: usize) -> io::Result<Self> {
        folder::make(&folder)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => names.push(path),
                // Left by a process that ended while it wrote.
                Some("part") => std::fs::remove_file(path)?,
                _ => {}
            }
        }
        // Ids sort by time.
        names.sort();
        // Also past results that cannot be read, and when the clock has gone back: an id that came twice would have
        // the later result take the earlier one's place.
        let ids = names.iter().filter_map(|path| number(path.file_stem()?.to_str()?));
        let mut state = State { last_id: ids.max().unwrap_or(0), ..State::default() };
        for path in names.iter().skip(names.len().saturating_sub(KEPT)) {
            match std::fs::read(path).map(|text| serde_json::from_slice::<Record>(&text)) {
                Ok(Ok(Record { run, result })) => state.runs.push_back(Entry {
                    run,
                    workload: None,
                    cancel: Cancel::default(),
                    progress: Arc::default(),
                    result: Some(Arc::new(result)),
                }),
                _ => tracing::warn!(file = %path.display(), "a result makes no sense and was passed over"),
            }
        }
        Ok(Self { registry, folder, queued_max, state: Mutex::new(state), moved: Condvar::new() })
    }

    /// Reads and checks a workload without running it. What it uses of the host's own has to be there.
    pub(crate) fn check(&self, submission: &api::Submission) -> Result<Workload, RunError> {
        let overrides = Overrides { inputs: submission.inputs.clone(), vars: submission.vars.clone() };
        let workload = Workload::parse(&submission.file, &submission.text, &overrides)?;
        let hosted = |address: &Address| self.registry.get(address).is_ok();
        match workload.targets.iter().find(|target| target.hosted && !hosted(&target.address)) {
            Some(missing) => Err(RunError::Unhosted {
                file: submission.file.clone(),
                target: missing.name.clone(),
                address: missing.address.clone(),
            }),
            None => Ok(workload),
        }
    }

    /// Queues a workload.
    pub(crate) fn submit(&self, submission: &api::Submission) -> Result<api::Run, RunError> {
        let workload = self.check(submission)?;
        let mut state = self.state.lock();
        if state.stopping {
            return Err(RunError::Stopping);
        }
        let waiting = state.runs.iter().filter(|entry| entry.run.state == api::RunState::Queued).count();
        let busy = state.runs.iter().any(|entry| entry.run.state == api::RunState::Running);
        // The one that begins at once does not wait.
        if waiting >= self.queued_max + usize::from(!busy) {
            return Err(RunError::Full(waiting));
        }
        let now = wire::now_ms();
        state.last_id = now.max(state.last_id + 1);
        let run = api::Run {
            id: spelled(state.last_id),
            name: workload.name.clone(),
            state: api::RunState::Queued,
            uses: workload.targets.iter().map(|target| target.address.to_string()).collect(),
            submitted_ms: now,
            started_ms: None,
            ended_ms: None,
            progress: api::Progress::default(),
            verdict: None,
            error: None,
        };
        let entry = Entry {
            run: run.clone(),
            workload: Some(workload),
            cancel: Cancel::default(),
            progress: Arc::default(),
            result: None,
        };
        state.runs.push_back(entry);
        self.moved.notify_all();
        Ok(run)
    }

    /// All runs as they stand, newest first.
    pub(crate) fn list(&self) -> Vec<api::Run> {
        self.state.lock().runs.iter().rev().map(Entry::describe).collect()
    }

    /// One run as it stands.
    pub(crate) fn get(&self, id: &str) -> Result<api::Run, RunError> {
        self.state.lock().find(id).map(|entry| entry.describe())
    }

    /// Asks a run to end early; one that waits ends at once, one that has ended stays as it is.
    pub(crate) fn cancel(&self, id: &str) -> Result<api::Run, RunError> {
        let mut state = self.state.lock();
        let entry = state.find(id)?;
        entry.cancel();
        let run = entry.describe();
        state.trim();
        self.moved.notify_all();
        Ok(run)
    }

    /// What a run measured.
    pub(crate) fn result(&self, id: &str) -> Result<Arc<api::RunResult>, RunError> {
        let mut state = self.state.lock();
        let entry = state.find(id)?;
        match (&entry.result, entry.run.state) {
            (Some(result), _) => Ok(Arc::clone(result)),
            (None, api::RunState::Finished) => {
                Err(RunError::NoResult(id.to_owned(), entry.run.error.clone().unwrap_or_default()))
            }
            (None, _) => Err(RunError::NotEnded(id.to_owned())),
        }
    }

    /// Says how many runs there are in each state.
    pub(crate) fn read(&self, reading: &mut Reading) {
        let state = self.state.lock();
        for (label, of) in [
            ("queued", api::RunState::Queued),
            ("running", api::RunState::Running),
            ("finished", api::RunState::Finished),
        ] {
            let count = state.runs.iter().filter(|entry| entry.run.state == of).count();
            reading.level(&families::RUNS, &[label], count as f64);
        }
    }

    /// Cancels everything and waits for the run under way; names it if it does not end in time.
    pub(crate) fn stop(&self, limit: Duration) -> Option<String> {
        let began = std::time::Instant::now();
        let mut state = self.state.lock();
        state.stopping = true;
        state.runs.iter_mut().for_each(Entry::cancel);
        self.moved.notify_all();
        loop {
            let running = state.runs.iter().find(|entry| entry.run.state == api::RunState::Running);
            let running = running.map(|entry| format!("run {} ({})", entry.run.id, entry.run.name));
            let left = limit.saturating_sub(began.elapsed());
            if running.is_none() || left.is_zero() {
                return running;
            }
            self.moved.wait_for(&mut state, left);
        }
    }

    /// Runs what is queued, one after the other, until stopping begins. On a thread of its own.
    pub(crate) fn work(&self) {
        while let Some((id, workload, context)) = self.next() {
            let run = AssertUnwindSafe(|| engine::run(&workload, &context));
            let outcome = match catch_unwind(run) {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                // The panic itself is on the log.
                Err(_) => Err("the run met a fault of the daemon; see its log".into()),
            };
            self.ended(&id, outcome);
        }
    }

    fn next(&self) -> Option<(String, Workload, Context)> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            let queued = state.runs.iter_mut().find(|entry| entry.run.state == api::RunState::Queued);
            if let Some(entry) = queued
                && let Some(workload) = entry.workload.take()
            {
                entry.run.state = api::RunState::Running;
                entry.run.started_ms = Some(wire::now_ms());
                let context = Context {
                    registry: Arc::clone(&self.registry),
                    run: entry.run.id.clone(),
                    cancel: entry.cancel.clone(),
                    progress: Arc::clone(&entry.progress),
                };
                return Some((entry.run.id.clone(), workload, context));
            }
            self.moved.wait(&mut state);
        }
    }

    fn ended(&self, id: &str, outcome: Result<api::RunResult, String>) {
        let mut state = self.state.lock();
        let Ok(entry) = state.find(id) else { return };
        entry.run.progress = entry.progress.get();
        entry.run.ended_ms = Some(wire::now_ms());
        match outcome {
            Ok(result) => {
                entry.run.verdict = Some(result.verdict);
                entry.result = Some(Arc::new(result));
            }
            Err(why) => {
                entry.run.verdict = Some(api::RunVerdict::Error);
                entry.run.error = Some(why);
            }
        }
        // On disk before it is called finished, which is what clients wait for.
        let record = entry.result.as_ref().map(|result| {
            let run = api::Run { state: api::RunState::Finished, ..entry.run.clone() };
            Record { run, result: (**result).clone() }
        });
        drop(state);
        let kept = record.map_or(Ok(()), |record| keep(&self.folder, &record));
        let mut state = self.state.lock();
        if let Ok(entry) = state.find(id) {
            entry.run.state = api::RunState::Finished;
            if let Err(error) = kept {
                tracing::error!(%error, run = id, "a result is kept in memory only: free space or fix the state folder");
            }
        }
        state.trim();
        self.moved.notify_all();
    }
}

impl State {
    fn find(&mut self, id: &str) -> Result<&mut Entry, RunError> {
        self.runs
            .iter_mut()
            .find(|entry| entry.run.id == id)
            .ok_or_else(|| RunError::Unknown(id.chars().take(40).collect()))
    }

    /// Lets go of the oldest runs that have ended, beyond those that are kept.
    fn trim(&mut self) {
        for (kept, began) in [(KEPT, true), (KEPT_UNBEGUN, false)] {
            let ended =
                |entry: &Entry| entry.run.state == api::RunState::Finished && entry.run.started_ms.is_some() == began;
            let mut surplus = self.runs.iter().filter(|entry| ended(entry)).count().saturating_sub(kept);
            self.runs.retain(|entry| {
                let gone = surplus > 0 && ended(entry);
                surplus -= usize::from(gone);
                !gone
            });
        }
    }
}

impl Entry {
    fn describe(&self) -> api::Run {
        let mut run = self.run.clone();
        if run.state == api::RunState::Running {
            run.progress = self.progress.get();
        }
        run
    }

    fn cancel(&mut self) {
        self.cancel.cancel();
        if self.run.state == api::RunState::Queued {
            self.workload = None;
            self.run.state = api::RunState::Finished;
            self.run.ended_ms = Some(wire::now_ms());
            self.run.verdict = Some(api::RunVerdict::Cancelled);
            self.run.error = Some("cancelled before it began".into());
        }
    }
}

/// Writes a record whole or not at all.
fn keep(folder: &Path, record: &Record) -> io::Result<()> {
    let path = folder.join(format!("{}.json", record.run.id));
    let part = path.with_extension("part");
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        std::fs::rename(&part, &path)?;
        folder::sync(folder)
    };
    written().inspect_err(|_| {
        // Nothing may be left that takes the room of the next.
        let _ = std::fs::remove_file(&part);
    })
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const PLACES: usize = 10;

/// Milliseconds since 1970 in Crockford's base 32, ten digits: short, and sorted as they come.
fn spelled(id: u64) -> String {
    (0..PLACES).rev().map(|place| char::from(DIGITS[(id >> (5 * place)) as usize % 32])).collect()
}

/// The number behind an id; `None` for what no run was ever called.
fn number(id: &str) -> Option<u64> {
    let digit = |byte| DIGITS.iter().position(|&digit| digit == byte);
    let number = id.bytes().try_fold(0, |number, byte| Some(number << 5 | digit(byte)? as u64));
    number.filter(|_| id.len() == PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Runs {
        Runs::open(Arc::default(), folder.to_owned(), 2).unwrap()
    }

    fn submit(runs: &Runs) -> String {
        let text = "format = 1\nname = \"short\"\n\
             [target.kv]\nkind = \"map\"\nkeys = { dist = \"uniform\", items = 10 }\n\
             [[phase]]\nname = \"mixed\"\nrole = \"measure\"\nduration = \"1s\"\n\
             group = [{ target = \"kv\", workers = 1, mix = { get = 100 } }]\n";
        let submission =
            api::Submission { file: "short.toml".into(), text: text.into(), inputs: vec![], vars: Default::default() };
        runs.submit(&submission).unwrap().id
    }

    #[test]
    fn cancelled_runs_are_few_and_crowd_out_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let runs = open(folder.path());
        let first = submit(&runs);
        let (began, ..) = runs.next().unwrap();
        assert_eq!(began, first);
        let mut last = String::new();
        for _ in 0..3 * KEPT {
            last = submit(&runs);
            assert_eq!(runs.cancel(&last).unwrap().verdict, Some(api::RunVerdict::Cancelled));
            assert!(runs.list().len() <= 1 + KEPT_UNBEGUN, "{} runs are kept", runs.list().len());
        }
        runs.ended(&first, Err("it failed".into()));
        assert_eq!(runs.get(&first).unwrap().error.as_deref(), Some("it failed"), "the one that has just ended stays");
        assert!(runs.get(&last).is_ok(), "and so does the one cancelled last");
        for _ in 0..KEPT {
            let next = submit(&runs);
            let (began, ..) = runs.next().unwrap();
            runs.ended(&began, Err("it failed".into()));
            assert!(runs.get(&next).is_ok());
        }
        assert!(runs.get(&first).is_err(), "the oldest went");
        assert_eq!(runs.list().len(), KEPT + KEPT_UNBEGUN);
    }

    #[test]
    fn ids_go_on_after_those_on_disk_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        // Left by a daemon whose clock ran an hour ahead; one of its results cannot be read any more.
        let ahead = wire::now_ms() + 3_600_000;
        for (id, text) in [(spelled(ahead), "{}"), ("notes".into(), "{}"), ("01m7ysnha!".into(), "{}")] {
            std::fs::write(folder.path().join(format!("{id}.json")), text).unwrap();
        }
        let runs = open(folder.path());
        assert_eq!([submit(&runs), submit(&runs)], [spelled(ahead + 1), spelled(ahead + 2)]);
    }

    #[test]
    fn ids_sort_as_they_come() {
        assert_eq!((spelled(0).as_str(), spelled(1 << 45).as_str()), ("0000000000", "1000000000"));
        let ids: Vec<_> = [1, 31, 32, 1_795_250_876_396, 1_795_250_876_397].map(spelled).into();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(
            [number(&ids[4]), number("1000000000"), number("100000000"), number("i000000000")],
            [Some(1_795_250_876_397), Some(1 << 45), None, None]
        );
    }
}
