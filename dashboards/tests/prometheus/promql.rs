//! As much of PromQL as it takes to find the selectors of an expression. Whether the rest of it is PromQL at all is
//! for Prometheus to say, in `live`.

use std::collections::BTreeSet;

/// Words that are followed by a list of labels in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "Inf", "NaN"];

/// A metric and what is asked of it: `rheostat_map_ops_total{map="words"}`.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Labels that are matched.
    pub labels: Vec<String>,
    /// The selector as it stands, without its range.
    pub text: String,
    /// The function or aggregation it is handed to; empty outside of any.
    pub reader: String,
}

/// What an expression refers to.
#[derive(Debug, Default)]
pub struct Expression {
    /// Every selector, in order.
    pub selectors: Vec<Selector>,
    /// Labels it groups or matches by.
    pub grouping: BTreeSet<String>,
}

/// Takes an expression apart.
pub fn read(text: &str) -> Expression {
    let mut expression = Expression::default();
    let mut readers: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            rest = past_quoted(rest);
        } else if first == '[' {
            rest = rest.split_once(']').expect("a range ends").1;
        } else if first == '(' {
            readers.push("");
            rest = &rest[1..];
        } else if first == ')' {
            readers.pop();
            rest = &rest[1..];
        } else if first.is_ascii_digit() {
            // Numbers and durations: letters directly after digits are units, not names.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if begins_name(first) {
            let (word, after) = split_name(rest);
            rest = after;
            let next = after.trim_start();
            if GROUPING.contains(&word) {
                if let Some(list) = next.strip_prefix('(') {
                    let (list, after) = list.split_once(')').expect("a list of labels ends");
                    let labels = list.split(',').map(|label| label.trim().to_owned());
                    expression.grouping.extend(labels.filter(|label| !label.is_empty()));
                    rest = after;
                }
            } else if let Some(after) = next.strip_prefix('(') {
                readers.push(word);
                rest = after;
            } else if !OPERATORS.contains(&word) && !labels_first(next) {
                let matchers = if after.starts_with('{') { &after[..matchers_len(after)] } else { "" };
                rest = &after[matchers.len()..];
                expression.selectors.push(Selector {
                    metric: word.to_owned(),
                    labels: matched_labels(matchers),
                    text: format!("{word}{matchers}"),
                    reader: readers.last().copied().unwrap_or_default().to_owned(),
                });
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    expression
}

/// Whether what went before is an aggregation with its labels first: `sum by (stage) (..)`.
fn labels_first(rest: &str) -> bool {
    rest.starts_with("by") || rest.starts_with("without")
}

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':'
}

fn split_name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !begins_name(c) && !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What follows the quoted text at the front.
fn past_quoted(text: &str) -> &str {
    let quote = text.chars().next().expect("a quote");
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return &text[at + 1..];
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("no end of quoted text in {text}");
}

/// Length of the braces at the front, with all they hold.
fn matchers_len(text: &str) -> usize {
    let mut rest = &text[1..];
    loop {
        match rest.chars().next().expect("matchers end") {
            '}' => return text.len() - rest.len() + 1,
            '"' | '\'' => rest = past_quoted(rest),
            other => rest = &rest[other.len_utf8()..],
        }
    }
}

fn matched_labels(matchers: &str) -> Vec<String> {
    let mut labels = Vec::new();
    let mut rest = matchers;
    while let Some(first) = rest.chars().next() {
        if begins_name(first) {
            let (label, after) = split_name(rest);
            labels.push(label.to_owned());
            rest = after;
        } else if first == '"' || first == '\'' {
            rest = past_quoted(rest);
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    labels
}

#[test]
fn selectors_of_an_expression() {
    let expression = read(
        r#"histogram_quantile(0.9, sum by (le, map) (rate(w_bucket{map=~"a}b|c",x!='y'}[5m]))) > 10 * s:m:r1m and on (map) up offset 1m"#,
    );
    let found: Vec<_> = expression.selectors.iter().map(|s| (s.metric.as_str(), s.reader.as_str())).collect();
    assert_eq!(found, [("w_bucket", "rate"), ("s:m:r1m", ""), ("up", "")]);
    assert_eq!(expression.selectors[0].labels, ["map", "x"]);
    assert_eq!(expression.selectors[0].text, r#"w_bucket{map=~"a}b|c",x!='y'}"#);
    assert_eq!(expression.grouping.into_iter().collect::<Vec<_>>(), ["le", "map"]);
}
