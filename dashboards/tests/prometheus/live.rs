//! A real host, doing real work, under a real Prometheus: every expression is asked as Grafana would ask it.

use super::grafana::Grafana;
use super::host::Host;
use super::server::{Tools, get};
use super::{board, rules};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Scrapes before there is load, so that what it changes can be seen to change.
const SCRAPES_BEFORE: f64 = 2.0;
/// Scrapes before anything is asked: a window of rates and a little more.
const SCRAPES: f64 = 6.0;

#[test]
fn every_expression_returns_data_from_a_host_under_load() {
    // Straight to stderr: what a passing test prints is otherwise kept from whoever runs it.
    let mut stderr = std::io::stderr();
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(why) => {
            writeln!(stderr, "skipped: dashboards and rules under a real Prometheus, because {why}").expect("stderr");
            return;
        }
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    tools.promtool(&["check", "config", "prometheus/prometheus.yml"], here, "");
    tools.promtool(&["check", "rules", "prometheus/rules.yml", "prometheus/alerts.yml"], here, "");
    tools.promtool(&["test", "rules", "tests/alerts.yml"], here, "");

    let host = Host::start();
    let folder = tempfile::tempdir().expect("a folder");
    write_configuration(folder.path(), host.metrics());
    let prometheus = tools.prometheus(folder.path());
    prometheus.await_scrapes(SCRAPES_BEFORE);
    host.work();
    let (status, exposition) = get(host.metrics(), "/metrics", &[]).expect("an exposition");
    assert_eq!(status, 200, "{exposition}");
    tools.promtool(&["check", "metrics"], here, &exposition);
    prometheus.await_scrapes(SCRAPES);

    let mut grafana = Grafana::attach(&prometheus);
    let board = board::json();
    grafana.fill_variables(&board);
    for query in board::queries(&board).iter().chain(&board::annotations(&board)) {
        grafana.expect_data(query);
    }
    grafana.expect_healthy_rules();
    let known = host.knobs();
    for rule in rules::all() {
        for (kind, knob) in rule.advised_knobs() {
            let there = known.contains(&(kind.clone(), knob.clone()));
            assert!(there, "alert {} advises to set the {knob} of a {kind}, which has {known:?}", rule.name);
        }
    }
    let (asked, faults) = (grafana.asked, grafana.faults);
    assert!(faults.is_empty(), "{} of {asked} questions went wrong:\n{}", faults.len(), faults.join("\n"));
    writeln!(stderr, "{asked} questions of dashboard and rules answered by Prometheus").expect("stderr");
}

/// The files as they ship, but for where the target is and how often it is looked at.
fn write_configuration(folder: &Path, target: SocketAddr) {
    let mut text = rheostat_dashboards::PROMETHEUS.to_owned();
    for (shipped, here) in [
        ("127.0.0.1:9746", target.to_string().as_str()),
        ("scrape_interval: 2s", "scrape_interval: 1s"),
        ("scrape_timeout: 2s", "scrape_timeout: 1s"),
        ("evaluation_interval: 5s", "evaluation_interval: 1s"),
    ] {
        assert_eq!(text.matches(shipped).count(), 1, "prometheus.yml says `{shipped}` not once");
        text = text.replace(shipped, here);
    }
    let files = [
        ("prometheus.yml", text.as_str()),
        ("rules.yml", rheostat_dashboards::RULES),
        ("alerts.yml", rheostat_dashboards::ALERTS),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("a file");
    }
}
