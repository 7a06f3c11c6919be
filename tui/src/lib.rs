//! rheostat: the dashboard and the command line. Both speak to a daemon through its API and nothing else.
//!
//! | noun | what it is |
//! |---|---|
//! | [`command`] | the command line: what can be asked for, and who answers |
//! | [`attach`] | finding a daemon, or hosting one where none answers |
//! | [`dashboard`] | the loop: messages in, frames out |
//! | [`app`] | the dashboard's state; changes only in `update`, which does no I/O |
//! | [`msg`], [`input`], [`feed`] | what happens; what keys mean; where snapshots come from |
//! | [`view`], [`theme`] | frames, drawn from the state; colours and signs |
//! | [`terminal`] | the terminal, taken over and given back |
//! | [`scrub`] | text from elsewhere, made safe for a terminal |
//! | [`exit`], [`units`], [`wording`], [`turn`], [`summary`], [`family`] | exit codes and failures; numbers; things in words; turns; totals; metric names |

pub mod command;

pub mod attach;
pub mod dashboard;

pub mod app;
pub mod feed;
pub mod input;
pub mod msg;

pub mod terminal;
pub mod theme;
pub mod view;

pub mod exit;
pub mod family;
pub mod scrub;
pub mod summary;
pub mod turn;
pub mod units;
pub mod wording;

#[cfg(test)]
mod sketch;
