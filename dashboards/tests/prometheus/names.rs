//! What can be said without running anything.

use super::{board, promql, rules};
use rheostat_runtime::observe::{Family, What, families};
use std::collections::{BTreeMap, BTreeSet};

/// What Prometheus says of a target itself.
const PROMETHEUS_OWN: [&str; 1] = ["up"];
/// Labels that Prometheus adds to every series it scrapes.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];
/// Functions that make sense of a counter, and of nothing else.
const COUNTER_READERS: [&str; 4] = ["rate", "irate", "increase", "resets"];

/// Labels of every family of the product, those of the address included.
fn declared() -> BTreeMap<&'static str, (&'static Family, BTreeSet<&'static str>)> {
    let tables: [(&[&'static Family], &[&'static str]); 9] = [
        (families::PIPELINE, &["pipeline"]),
        (families::STAGE, &["pipeline", "stage"]),
        (families::QUEUE, &["queue"]),
        (families::MAP, &["map"]),
        (families::POOL, &["pool"]),
        (families::ALLOCATOR, &["allocator"]),
        (families::SCHEDULER, &["scheduler"]),
        (families::RECLAIM, &["domain"]),
        (families::HOST, &[]),
    ];
    let mut declared = BTreeMap::new();
    for (table, address) in tables {
        for &family in table {
            let labels = address.iter().chain(family.labels).chain(&TARGET_LABELS).copied().collect();
            declared.insert(family.name, (family, labels));
        }
    }
    assert_eq!(declared.len(), families::all().count(), "a table of families is missing here");
    declared
}

/// The family behind a metric: itself, or the histogram it is a part of.
pub fn family_of(metric: &str) -> Option<&'static Family> {
    families::all().find(|family| match family.what {
        What::Histogram => {
            metric.strip_prefix(family.name).is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        }
        What::Counter | What::Gauge => metric == family.name,
        What::Strip => false,
    })
}

/// Every expression of every file, and where it stands.
fn expressions() -> Vec<(String, String)> {
    let board = board::json();
    let of_board = board::queries(&board).into_iter().chain(board::annotations(&board));
    let mut all: Vec<_> = of_board.map(|query| (query.place, query.expr)).collect();
    all.extend(board::variables(&board).into_iter().map(|v| (format!("variable {}", v.name), v.series)));
    all.extend(rules::all().into_iter().map(|rule| (format!("rule {}", rule.name), rule.expr)));
    all
}

#[test]
fn every_metric_is_declared_and_read_as_its_kind_allows() {
    let declared = declared();
    let recorded: BTreeSet<_> = rules::all().into_iter().filter(|rule| !rule.alert).map(|rule| rule.name).collect();
    let labels: BTreeSet<_> = declared.values().flat_map(|(_, labels)| labels).copied().chain(["le"]).collect();
    let mut faults = Vec::new();
    for (place, text) in expressions() {
        let expression = promql::read(&text);
        let unknown = expression.grouping.iter().filter(|label| !labels.contains(label.as_str()));
        faults.extend(unknown.map(|label| format!("{place}: nothing has a label {label}, in {text}")));
        for selector in expression.selectors {
            let metric = &selector.metric;
            if recorded.contains(metric) || PROMETHEUS_OWN.contains(&metric.as_str()) {
                continue;
            }
            let Some(family) = family_of(metric) else {
                faults.push(format!("{place}: no family {metric} is declared, in {text}"));
                continue;
            };
            let known = &declared[family.name].1;
            let foreign = selector.labels.iter().filter(|label| !known.contains(label.as_str()) && *label != "le");
            faults.extend(foreign.map(|label| format!("{place}: {metric} has no label {label}, in {text}")));
            let read = COUNTER_READERS.contains(&selector.reader.as_str());
            if family.what != What::Gauge && !read && !place.starts_with("variable") {
                faults.push(format!("{place}: {metric} only grows, so ask for its rate, in {text}"));
            }
            if family.what == What::Gauge && read {
                faults.push(format!("{place}: {metric} goes up and down and has no rate, in {text}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_family_has_a_panel() {
    let queries = board::queries(&board::json());
    let shown: BTreeSet<_> = queries
        .iter()
        .flat_map(|query| promql::read(&query.expr).selectors)
        .filter_map(|selector| family_of(&selector.metric))
        .map(|family| family.name)
        .collect();
    let exported = families::all().filter(|family| family.what != What::Strip);
    let missing: Vec<_> = exported.map(|family| family.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn panels_say_what_they_show() {
    let board = board::json();
    let (mut ids, mut refs, mut faults) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for panel in board::panels(&board) {
        let id = board::text(&panel["id"]);
        let title = board::text(&panel["title"]);
        let mut hold = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("panel {id} {title}: {what}"));
            }
        };
        hold(!title.is_empty(), "has no title");
        hold(board::text(&panel["description"]).ends_with('.'), "has no description that ends in a full stop");
        hold(panel["fieldConfig"]["defaults"]["unit"].is_string(), "has no unit");
        hold(ids.insert(id.clone()), "shares its id");
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        hold(!targets.is_empty(), "asks for nothing");
        for target in targets {
            let name = board::text(&target["refId"]);
            hold(!board::text(&target["legendFormat"]).is_empty(), "has a query without a legend");
            hold(refs.insert((id.clone(), name)), "has two queries of one name");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn alerts_say_what_to_do_and_are_tried() {
    let tried = include_str!("../alerts.yml");
    for alert in rules::all().into_iter().filter(|rule| rule.alert) {
        let (name, text) = (&alert.name, &alert.text);
        for part in ["summary: ", "description: ", "severity: "] {
            assert!(text.contains(part), "alert {name} has no {part}");
        }
        assert!(tried.contains(&format!("alertname=\"{name}\"")), "tests/alerts.yml does not try {name}");
    }
}

#[test]
fn the_configuration_loads_both_rule_files() {
    for file in ["rules.yml", "alerts.yml"] {
        assert!(rheostat_dashboards::PROMETHEUS.contains(&format!("- {file}")), "prometheus.yml does not load {file}");
    }
}
