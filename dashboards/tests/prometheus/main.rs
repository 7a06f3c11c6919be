//! Dashboard, rules and alerts against the metric names of the code, and against a real host under a real Prometheus.
//!
//! | module | what it holds |
//! |---|---|
//! | `promql` | the selectors of an expression |
//! | `board` | the Grafana dashboard as the queries that Grafana would send |
//! | `rules` | names and expressions of the rule files |
//! | `server` | a Prometheus at work, and its HTTP API |
//! | `host` | a daemon at work, driven through its API |
//! | `grafana` | what Grafana would ask, and what may be wrong with the answers |
//! | `names` | tests that need the files and the declared families only |
//! | `live` | the test that runs everything |

use rheostat_runtime::alloc::Tracked;
use std::alloc::System;

/// The host lives in this process, which opts in as `rheostatd` does.
#[global_allocator]
static ALLOCATOR: Tracked<System> = Tracked::new(System);

mod board;
mod grafana;
mod host;
mod live;
mod names;
mod promql;
mod rules;
mod server;
