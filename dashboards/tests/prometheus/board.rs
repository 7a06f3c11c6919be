//! The Grafana dashboard, as the queries that Grafana would send.

use serde_json::Value;
use std::collections::BTreeMap;

/// One expression of the dashboard.
#[derive(Debug, Clone)]
pub struct Query {
    /// Where it stands, for messages.
    pub place: String,
    /// The expression, variables and all.
    pub expr: String,
    /// Asked for one moment, not for the time shown.
    pub instant: bool,
    /// The variable for each value of which the panel is repeated.
    pub repeat: Option<String>,
}

/// A variable of the dashboard that is filled by a query.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The series whose labels it lists.
    pub series: String,
    /// The label.
    pub label: String,
    /// Whether All can be picked, and is at first.
    pub all: bool,
    /// What All stands for, if not for every value.
    pub all_value: Option<String>,
}

/// The dashboard's JSON.
pub fn json() -> Value {
    serde_json::from_str(rheostat_dashboards::GRAFANA).expect("the dashboard is JSON")
}

/// Every panel that is no row.
pub fn panels(board: &Value) -> Vec<&Value> {
    let outer = list(&board["panels"]);
    outer.iter().flat_map(|panel| list(&panel["panels"]).iter().chain([panel])).filter(|p| p["type"] != "row").collect()
}

/// Every expression of every panel.
pub fn queries(board: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in panels(board) {
        for target in list(&panel["targets"]) {
            let place =
                format!("panel {} {}, query {}", text(&panel["id"]), text(&panel["title"]), text(&target["refId"]));
            queries.push(Query {
                place,
                expr: text(&target["expr"]),
                instant: target["instant"] == true,
                repeat: panel["repeat"].as_str().map(str::to_owned),
            });
        }
    }
    queries
}

/// Every expression that draws marks.
pub fn annotations(board: &Value) -> Vec<Query> {
    let marks = list(&board["annotations"]["list"]).iter();
    marks
        .map(|mark| Query {
            place: format!("marks of {}", text(&mark["name"])),
            expr: text(&mark["expr"]),
            instant: false,
            repeat: None,
        })
        .collect()
}

/// The variables that are filled by queries, in the order in which Grafana fills them.
pub fn variables(board: &Value) -> Vec<Variable> {
    let all = list(&board["templating"]["list"]).iter().filter(|variable| variable["type"] == "query");
    all.map(|variable| {
        let query = text(&variable["query"]["query"]);
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inside.and_then(|inside| inside.rsplit_once(',')).expect("label_values(SERIES, LABEL)");
        Variable {
            name: text(&variable["name"]),
            series: series.to_owned(),
            label: label.trim().to_owned(),
            all: variable["includeAll"] == true,
            all_value: variable["allValue"].as_str().map(str::to_owned),
        }
    })
    .collect()
}

/// Puts values in the place of variables; one that is not known stays as it is, as in Grafana.
pub fn filled(expr: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = expr.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_at(part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len()));
        match values.get(name) {
            Some(value) => filled += value,
            None => filled.extend(["$", name]),
        }
        filled += rest;
    }
    filled
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a string or a number; empty when there is nothing.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
