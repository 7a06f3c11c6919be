//! Turned knobs and what came of them.

use crate::KnobValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `PATCH /v1/resources/{address}/knobs`: `{"workers": 8}`. All values are checked before any is turned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Turns(pub BTreeMap<String, KnobValue>);

/// Changes, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Changes {
    /// The changes.
    pub changes: Vec<Change>,
}

/// One turned knob: who, when, from, to, why, how long the hand-over took. Also a line of the journal file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Change {
    /// Rises by one with each change of a host.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who: `uid 1000`, `token`, `run 01J..`; `auto` for the resource itself.
    pub actor: String,
    /// Address of the resource.
    pub resource: String,
    /// Name of the knob.
    pub knob: String,
    /// Value before.
    pub from: KnobValue,
    /// Value asked for.
    pub to: KnobValue,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, or why nobody knows how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long the hand-over took, in microseconds; so far, while it is settling.
    pub took_us: u64,
    /// Why it was turned, where whoever turned it said so: a resource that turns its own knob says what it saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the change did, once measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Whether the journal's file has it. While that cannot be written, the change is in the daemon's memory alone.
    #[serde(default = "journalled", skip_serializing_if = "Clone::clone")]
    pub journalled: bool,
}

/// Unless it says otherwise.
fn journalled() -> bool {
    true
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In force, hand-over done.
    Applied,
    /// In force, hand-over still settling; the change says how it ended once it has.
    Settling,
    /// Refused by the resource or undone.
    Failed,
    /// It was settling when the daemon ended, or its resource went.
    Unknown,
}

/// Ratios this close to 1 make no difference.
pub const EFFECT_MARGIN: f64 = 0.03;

/// What a change did: a rate before and after it, with the transition left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Effect {
    /// The family whose rate was compared.
    pub family: String,
    /// Mean rate before, per second.
    pub before: f64,
    /// Mean rate after, per second.
    pub after: f64,
    /// after / before.
    pub ratio: f64,
    /// Lower end of the ratio's 95 % interval.
    pub lo: f64,
    /// Upper end of the ratio's 95 % interval.
    pub hi: f64,
    /// What the interval allows to be said.
    pub verdict: Verdict,
    /// How often threads met before and after, where the resource counts that in every state it can be turned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contention: Option<Contention>,
}

/// How often threads met: locks they waited for and exchanges they lost, per second. Without a verdict, as there is no
/// ratio to none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Contention {
    /// Mean rate before, per second.
    pub before: f64,
    /// Mean rate after, per second.
    pub after: f64,
}

/// What an interval allows to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval lies above the margin of indifference.
    Better,
    /// The whole interval lies below it.
    Worse,
    /// The whole interval lies within it.
    Same,
    /// Anything else: the interval reaches from one of those into another.
    Inconclusive,
}
