//! Workload runs: what is submitted, how far it is, what came of it.

use crate::{KnobValue, Quantiles};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `POST /v1/runs`: a workload file's text and what the command line added to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Name of the file, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Absolute paths that take the place of the file's own inputs.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Overrides of `[vars]`.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
}

/// The workloads that ship with a daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Catalogue {
    /// Each by name.
    pub workloads: Vec<Shipped>,
}

/// A workload that ships.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Shipped {
    /// Its name.
    pub name: String,
    /// What it shows, what to look at, what to turn.
    pub summary: String,
    /// Its text, as a file to begin with.
    pub text: String,
}

/// Runs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Runs {
    /// The runs.
    pub runs: Vec<Run>,
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Run {
    /// Names the run.
    pub id: String,
    /// Name of the workload.
    pub name: String,
    /// Where it stands.
    pub state: RunState,
    /// Addresses of the resources that its targets are: the host's own, and those that are there while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_ms: u64,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// How far it is.
    pub progress: Progress,
    /// The verdict, once ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<RunVerdict>,
    /// Why it could not be finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for the runs before it.
    Queued,
    /// Runs.
    Running,
    /// Ended; there is a result.
    Finished,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The phase it is in.
    pub phase: String,
    /// Operations or records done so far, over all phases.
    pub items: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes there are to read; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Seconds since the run started.
    pub elapsed_s: f64,
    /// Seconds left, as far as can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<f64>,
}

/// What a run came to. Also its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// All checks and thresholds held.
    Pass,
    /// A check failed: records lost, counts wrong.
    Incorrect,
    /// A threshold failed.
    Failed,
    /// Nothing can be said: no data, too few samples.
    Inconclusive,
    /// Cancelled before its end; the result covers the part done.
    Cancelled,
    /// It could not be run to its end: a target or an input failed.
    Error,
}

impl RunVerdict {
    /// The exit code of `rheostat run` and `rheostat watch`.
    pub fn exit_code(self) -> u8 {
        match self {
            RunVerdict::Pass => 0,
            RunVerdict::Error => 1,
            RunVerdict::Incorrect => 3,
            RunVerdict::Failed => 4,
            RunVerdict::Inconclusive => 5,
            RunVerdict::Cancelled => 6,
        }
    }
}

/// What a run measured. Times are in nanoseconds here, as histograms of structures need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RunResult {
    /// Version of this format: 1.
    pub format: u32,
    /// The run.
    pub run: String,
    /// Name of the workload.
    pub name: String,
    /// SHA-256 of the workload file.
    pub sha256: String,
    /// The seed in force.
    pub seed: u64,
    /// The verdict.
    pub verdict: RunVerdict,
    /// Machine and build: cpu, cores, kernel, version, profile.
    pub env: BTreeMap<String, String>,
    /// Phases in order.
    pub phases: Vec<Phase>,
    /// Correctness checks.
    pub checks: Vec<Check>,
    /// Thresholds.
    pub thresholds: Vec<Threshold>,
    /// Small tables to print: the top words, say.
    pub tables: Vec<Table>,
    /// Things worth knowing: files refused, workers beyond cores.
    pub notes: Vec<String>,
}

/// One phase, measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Phase {
    /// Name of the phase.
    pub name: String,
    /// `prepare`, `warmup`, `measure` or `cooldown`.
    pub role: String,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Operations or records done.
    pub items: u64,
    /// Operations or records per second.
    pub items_per_s: f64,
    /// Operations per second of the worst tenth of a second; absent for a phase without workers of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_per_s_min: Option<f64>,
    /// Bytes by which the host's resident memory grew at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_growth_bytes: Option<u64>,
    /// Bytes that the phase's own workers allocated, on their threads; absent for a phase without any, and where the
    /// host does not track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_bytes: Option<u64>,
    /// Bytes read; 0 where there are none.
    pub bytes: u64,
    /// Bytes per second.
    pub bytes_per_s: f64,
    /// By target and operation.
    pub ops: Vec<OpResult>,
    /// Knobs turned in this phase.
    pub events: Vec<Event>,
}

impl Phase {
    /// The share of the operations due in it that was done; `None` where none had a time to be due at.
    pub fn delivered(&self) -> Option<f64> {
        let planned = self.ops.iter().filter_map(|op| op.due.map(|due| (op.count.min(due), due)));
        let (done, due) = planned.fold((0, 0), |sum, op| (sum.0 + op.0, sum.1 + op.1));
        (due > 0).then(|| done as f64 / due as f64)
    }
}

/// One operation on one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpResult {
    /// The target's name.
    pub target: String,
    /// `get`, `insert`, `push` ...; for a pipeline, the stage.
    pub op: String,
    /// How often.
    pub count: u64,
    /// How often per second.
    pub per_s: f64,
    /// How often the key was there, the push accepted, the pop answered.
    pub hits: u64,
    /// Service time in nanoseconds, timed on a jittered sample; `None` where it was not timed.
    pub service: Option<Quantiles>,
    /// One in how many operations was timed.
    pub sample_1_in: u64,
    /// How many were due, where arrivals were planned: an operation of a mix counts its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
    /// Time from when an operation was due to its end, in nanoseconds; what was due and never started is in it with the
    /// time it had waited. Absent in a closed loop, where nothing is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Quantiles>,
    /// Jain's index over the workers' counts: 1 when all did as much, 1/n when one of n did all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness: Option<f64>,
}

/// A knob turned by the workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// When, in nanoseconds after the phase began.
    pub at_ns: u64,
    /// The knob's address.
    pub knob: String,
    /// Value before.
    pub from: KnobValue,
    /// Value asked for.
    pub to: KnobValue,
    /// How long the hand-over took, in nanoseconds.
    pub took_ns: u64,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A correctness check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Check {
    /// `conservation`, `oracle`, `lost_updates` ...
    pub name: String,
    /// What came of it.
    pub verdict: CheckVerdict,
    /// How many things were compared.
    pub compared: u64,
    /// What was found.
    pub detail: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// What was compared is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// Nothing was compared, so nothing was found out.
    Inconclusive,
}

impl Check {
    /// A check that held or not, unless it compared nothing.
    pub fn new(name: &str, held: bool, compared: u64, detail: String) -> Self {
        let verdict = match (compared, held) {
            (0, _) => CheckVerdict::Inconclusive,
            (_, true) => CheckVerdict::Pass,
            (_, false) => CheckVerdict::Fail,
        };
        Self { name: name.to_owned(), verdict, compared, detail }
    }
}

/// A threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Threshold {
    /// As written.
    pub expr: String,
    /// The measured value of its left side; `None` when there was no data. Conditions joined by `and` come one by one.
    pub value: Option<f64>,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: String,
    /// Of one that is inconclusive, what there was too little of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A small table of keys and numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Its rows.
    pub rows: Vec<Item>,
}

/// A row of a [`Table`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Item {
    /// The key.
    pub key: String,
    /// Its number.
    pub value: i64,
}
