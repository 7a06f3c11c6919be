//! Asks Prometheus what Grafana would ask, and remembers what went wrong.

use super::board::{self, Query};
use super::names::family_of;
use super::server::{Prometheus, number};
use super::{promql, rules};
use rheostat_runtime::observe::{Family, families};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time shown: longer than any host here has lived.
const SHOWN: Duration = Duration::from_secs(120);
/// Quantiles of what need not have happened even under load: NaN is an answer.
const MAY_BE_UNRECORDED: [&Family; 3] =
    [&families::MAP_LOCK_WAIT, &families::MAP_SAMPLED_STALL, &families::SCHEDULER_REGION_TIME];
/// Absent where the kernel does not report pressure.
const PRESSURE: [&Family; 2] = [&families::PRESSURE_WAITING, &families::PRESSURE_STALLED];

/// What Grafana knows of one dashboard.
pub struct Grafana<'p> {
    prometheus: &'p Prometheus,
    /// What stands for each variable in an expression.
    values: BTreeMap<String, String>,
    /// Every value a variable could have.
    choices: BTreeMap<String, Vec<String>>,
    pressure: bool,
    /// How many questions were asked.
    pub asked: usize,
    /// What went wrong with them.
    pub faults: Vec<String>,
}

impl<'p> Grafana<'p> {
    /// Knows nothing but what Grafana fills in by itself.
    pub fn attach(prometheus: &'p Prometheus) -> Self {
        // As they are for scrapes 1 s apart: four scrapes, the step of marks, the time shown.
        let shown = format!("{}s", SHOWN.as_secs());
        let own = [("__rate_interval", "4s"), ("__interval", "10s"), ("__range", &shown)];
        let values = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let supported = prometheus.ask("/api/v1/query", &[("query", families::PRESSURE_SUPPORTED.name)]);
        let pressure = supported.is_ok_and(|data| number(&data["result"][0]["value"][1]) == Some(1.0));
        Self { prometheus, values, choices: BTreeMap::new(), pressure, asked: 0, faults: Vec::new() }
    }

    /// Fills each variable from those before it: All where it can be picked, else the first value.
    pub fn fill_variables(&mut self, board: &Value) {
        for variable in board::variables(board) {
            self.asked += 1;
            let path = format!("/api/v1/label/{}/values", variable.label);
            let series = board::filled(&variable.series, &self.values);
            let data = self.prometheus.ask(&path, &[("match[]", &series)]);
            let data = data.unwrap_or_else(|error| panic!("variable {}: {error} of {series}", variable.name));
            let choices: Vec<_> = data.as_array().into_iter().flatten().map(board::text).collect();
            let Some(first) = choices.first() else {
                self.faults.push(format!("variable {}: no value in {series}", variable.name));
                continue;
            };
            let value = match variable.all_value {
                Some(pattern) => pattern,
                None if variable.all => format!("({})", choices.join("|")),
                None => first.clone(),
            };
            self.values.insert(variable.name.clone(), value);
            self.choices.insert(variable.name, choices);
        }
    }

    /// The query must return a number; that of a repeated panel, for each value it is repeated for.
    pub fn expect_data(&mut self, query: &Query) {
        let choices = query.repeat.as_ref().and_then(|name| Some((name, self.choices.get(name)?.clone())));
        let Some((name, choices)) = choices else {
            return self.expect_filled(query, &self.values.clone());
        };
        for choice in choices {
            let mut values = self.values.clone();
            values.insert(name.clone(), choice);
            self.expect_filled(query, &values);
        }
    }

    fn expect_filled(&mut self, query: &Query, values: &BTreeMap<String, String>) {
        let expr = board::filled(&query.expr, values);
        if expr.contains('$') {
            self.faults.push(format!("{}: nothing fills a variable in {expr}", query.place));
        } else {
            self.expect_number(&query.place, &expr, query.instant);
        }
    }

    fn expect_number(&mut self, place: &str, expr: &str, instant: bool) {
        self.asked += 1;
        let families = families_behind(expr);
        let reads = |these: &[&Family]| families.iter().any(|family| these.iter().any(|this| this.name == family.name));
        let samples = match self.samples(expr, instant) {
            Ok(samples) => samples,
            Err(error) => return self.faults.push(format!("{place}: Prometheus says {error} of {expr}")),
        };
        if samples.is_empty() {
            if self.pressure || !reads(&PRESSURE) {
                self.faults.push(format!("{place}: no data for {expr}"));
            }
        } else if samples.iter().all(|sample| number(&sample[1]).is_none()) && !reads(&MAY_BE_UNRECORDED) {
            self.faults.push(format!("{place}: not one number for {expr}"));
        }
    }

    /// Time and value of every sample of every series in the answer.
    fn samples(&self, expr: &str, instant: bool) -> Result<Vec<Value>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let (start, end) = ((now - SHOWN).as_secs_f64().to_string(), now.as_secs_f64().to_string());
        let mut data = if instant {
            self.prometheus.ask("/api/v1/query", &[("query", expr), ("time", &end)])?
        } else {
            let query = [("query", expr), ("start", &start), ("end", &end), ("step", "1")];
            self.prometheus.ask("/api/v1/query_range", &query)?
        };
        let series = data["result"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(series
            .into_iter()
            .flat_map(|mut series| match series["values"].take() {
                Value::Array(values) => values,
                _ => vec![series["value"].take()],
            })
            .collect())
    }

    /// Prometheus has the rules that we have, evaluates all, and each looks at something that is there.
    pub fn expect_healthy_rules(&mut self) {
        let data = self.prometheus.ask("/api/v1/rules", &[]).expect("the rules");
        let groups = data["groups"].as_array().into_iter().flatten();
        let loaded: Vec<_> = groups.flat_map(|group| group["rules"].as_array()).flatten().collect();
        let names: Vec<_> = loaded.iter().map(|rule| board::text(&rule["name"])).collect();
        let ours = rules::all();
        for rule in &ours {
            if !names.contains(&rule.name) {
                self.faults.push(format!("rule {}: Prometheus does not have it", rule.name));
            }
        }
        assert_eq!(names.len(), ours.len(), "Prometheus has {names:?}, which are not all found in the files");
        for rule in loaded.iter().filter(|rule| rule["health"] != "ok") {
            self.faults.push(format!("rule {}: is {}, {}", rule["name"], rule["health"], rule["lastError"]));
        }
        for rule in ours {
            let place = format!("rule {}", rule.name);
            if !rule.alert {
                self.expect_number(&place, &rule.expr, false);
                self.expect_number(&place, &rule.name, false);
            }
            // An alert is silent on a good day, but not because it looks at nothing.
            for selector in promql::read(&rule.expr).selectors {
                self.expect_number(&place, &selector.text, false);
            }
        }
    }
}

/// The families that an expression reads, itself or through what is recorded.
fn families_behind(expr: &str) -> Vec<&'static Family> {
    let recorded = rules::all();
    let of = |selector: promql::Selector| match recorded.iter().find(|rule| rule.name == selector.metric) {
        Some(rule) => families_behind(&rule.expr),
        None => family_of(&selector.metric).into_iter().collect(),
    };
    promql::read(expr).selectors.into_iter().flat_map(of).collect()
}
