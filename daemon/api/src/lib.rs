//! What a Rheostat daemon says on the wire, and a client that speaks it.
//!
//! | noun | where it is spoken |
//! |---|---|
//! | [`Resource`], [`Knob`], [`Sample`] | `GET /v1/resources`, `GET /v1/resources/{address}` |
//! | [`Turns`], [`Change`] | `PATCH /v1/resources/{address}/knobs`, `GET /v1/changes` |
//! | [`Snapshot`] | `GET /v1/stream`, one per quarter second, the newest only |
//! | [`History`] | `GET /v1/history` |
//! | [`Submission`], [`Run`], [`RunResult`] | `POST /v1/runs`, `GET /v1/runs/{id}`, `GET /v1/runs/{id}/result` |
//! | [`Entry`], [`Scan`] | `GET /v1/maps/{name}/get`, `/top`, `/scan` |
//! | [`Put`], [`Add`], [`Delete`], [`MapOutcome`] | `POST /v1/maps/{name}/put`, `/add`, `/delete` |
//! | [`MapBatch`], [`MapOutcomes`] | `POST /v1/maps/{name}/batch` |
//! | [`Push`], [`Pop`] | `POST /v1/queues/{name}/push`, `/pop` |
//! | [`PoolBlocks`] | `GET /v1/pools/{name}/blocks` |
//! | [`ByteString`] | every key, value and item |
//! | [`Problem`] | every refusal, as `application/problem+json` |
//!
//! Numbers are in base units (seconds, bytes) unless a name says otherwise; `*_ms` are milliseconds since 1970.

mod byte_string;
mod change;
#[cfg(feature = "client")]
mod client;
mod history;
mod map;
mod pool;
mod problem;
mod queue;
mod resource;
mod run;
mod stream;

pub use byte_string::ByteString;
pub use change::{Change, Changes, Contention, EFFECT_MARGIN, Effect, Outcome, Turns, Verdict};
#[cfg(feature = "client")]
pub use client::{Client, ClientError, Endpoint, default_socket};
pub use history::{History, Series};
pub use map::{Add, Delete, Entries, Entry, MapBatch, MapOp, MapOutcome, MapOutcomes, MapValue, Put, Scan};
pub use pool::{PoolBlocks, PoolClass, PoolDeed, PoolFault, PoolScope};
pub use problem::Problem;
pub use queue::{Pop, Popped, Push, Pushed};
pub use resource::{Knob, KnobValue, Quantiles, Range, Resource, Resources, Sample};
pub use run::{
    Catalogue, Check, CheckVerdict, Event, Item, OpResult, Phase, Progress, Run, RunResult, RunState, RunVerdict, Runs,
    Shipped, Submission, Table, Threshold,
};
pub use stream::{Host, Snapshot};
