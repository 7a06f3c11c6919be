//! The daemon as a process of its own, spoken to over its sockets.

mod config;
mod control;
mod data;
mod guard;
mod journal;
mod life;
mod metrics;
mod rheostatd;
mod runs;
mod stream;
