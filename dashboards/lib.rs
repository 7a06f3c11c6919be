//! Grafana and Prometheus files for Rheostat hosts, as text, for those who ship them with a host of their own.
//!
//! | constant | what it is | how it is put to use |
//! |---|---|---|
//! | [`GRAFANA`] | one dashboard: overview, changes, pipelines, queues, maps, pools, scheduler, process | import it; it asks for a Prometheus data source |
//! | [`PROMETHEUS`] | a configuration that scrapes one host on this machine | `prometheus --config.file prometheus.yml`, with the two below beside it |
//! | [`RULES`] | recording rules, named `level:metric:operations` | `rule_files` |
//! | [`ALERTS`] | alerts whose descriptions name the knob to turn | `rule_files`, after the rules they build on |
//!
//! The names in them are those of `rheostat_runtime::observe::families`; tests hold every expression to it, and to a
//! real host scraped by a real Prometheus.

/// The dashboard, `grafana/rheostat.json`. Marks turned knobs on every chart.
pub const GRAFANA: &str = include_str!("grafana/rheostat.json");

/// `prometheus/prometheus.yml`: scrapes `127.0.0.1:9746` and loads `rules.yml` and `alerts.yml` from its own folder.
pub const PROMETHEUS: &str = include_str!("prometheus/prometheus.yml");

/// `prometheus/rules.yml`: what alerts and queries by hand ask again and again.
pub const RULES: &str = include_str!("prometheus/rules.yml");

/// `prometheus/alerts.yml`: what is lost, gone, saturated or standing, and what to do about it.
pub const ALERTS: &str = include_str!("prometheus/alerts.yml");
