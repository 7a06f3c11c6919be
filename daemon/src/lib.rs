//! The daemon: hosts a registry of resources behind an API, metrics and a journal.
//!
//! | noun | what it is |
//! |---|---|
//! | [`Config`] | everything decided, read from TOML: [`Config::load`] |
//! | [`allocator`] | mimalloc's options, enforced before anything begins |
//! | [`start`], [`Daemon`] | a daemon at work in this process; `rheostatd` is little more than this, and a service that hosts its own resources adds them to [`Daemon::registry`] |
//! | [`Tracked`] | what a process wraps its global allocator in to know which of its stages and runs allocates |
//! | [`Signals`] | what a process that is nothing but a daemon listens to |
//!
//! Inside: `host` builds the resources, `sampler` looks at them four times a second for `history` and the stream,
//! `server` answers for the control API, `exporter` for Prometheus, `journal` puts every change on disk.

pub mod allocator;
mod app;
pub mod config;
mod daemon;
mod demo;
mod effects;
mod exporter;
mod folder;
mod heap;
mod history;
mod host;
mod journal;
mod lock;
mod plain;
mod process;
mod runs;
mod sampler;
mod server;
mod signals;
mod wire;

pub use config::{Config, Faults, Origin, Overrides};
pub use daemon::{Daemon, StartError, Stopped, start};
pub use host::HostError;
pub use lock::LockError;
pub use rheostat_runtime::alloc::Tracked;
pub use signals::{Asked, Signals};
