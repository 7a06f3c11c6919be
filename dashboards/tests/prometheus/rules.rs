//! Names and expressions of the rule files. They keep to a shape that needs no YAML reader: `live` compares what is
//! found here with what Prometheus finds.

/// A recording rule or an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The recorded metric, or the alert.
    pub name: String,
    /// Whether it is an alert.
    pub alert: bool,
    /// Its expression.
    pub expr: String,
    /// Everything between this rule and the next.
    pub text: String,
}

impl Rule {
    /// Kind and knob of each `rheostat set ADDRESS.KNOB=` in the rule's text.
    pub fn advised_knobs(&self) -> Vec<(String, String)> {
        let commands = without_templates(&self.text);
        let commands = commands.split("rheostat set ").skip(1);
        commands
            .map(|command| {
                let knob = command.split_once('=').and_then(|(knob, _)| knob.rsplit_once('.'));
                let (address, knob) = knob.expect("rheostat set ADDRESS.KNOB=VALUE");
                let kind = match address.split('.').collect::<Vec<_>>()[..] {
                    [kind, _] => kind,
                    [_, _, _] => "stage",
                    _ => panic!("{address} is no address"),
                };
                (kind.to_owned(), knob.to_owned())
            })
            .collect()
    }
}

/// The text with every `{{ template }}` taken for a name.
fn without_templates(text: &str) -> String {
    let parts = text.split("{{").enumerate();
    let parts = parts.map(|(at, part)| match at {
        0 => part.to_owned(),
        _ => format!("NAME{}", part.split_once("}}").expect("a template ends").1),
    });
    parts.collect()
}

/// All rules of both files, in the order in which Prometheus evaluates them.
pub fn all() -> Vec<Rule> {
    let files = [rheostat_dashboards::RULES, rheostat_dashboards::ALERTS];
    files.into_iter().flat_map(of).collect()
}

fn of(file: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut lines = file.lines().peekable();
    while let Some(line) = lines.next() {
        let stripped = line.trim_start();
        if stripped.starts_with('#') {
            continue;
        }
        for (key, alert) in [("- record: ", false), ("- alert: ", true)] {
            if let Some(name) = stripped.strip_prefix(key) {
                rules.push(Rule { name: name.to_owned(), alert, expr: String::new(), text: String::new() });
            }
        }
        let Some(rule) = rules.last_mut() else { continue };
        rule.text += line;
        rule.text += "\n";
        if let Some(first) = stripped.strip_prefix("expr: ") {
            let indent = line.len() - stripped.len();
            rule.expr = first.to_owned();
            if first == "|" {
                rule.expr.clear();
                let deeper = |line: &&str| line.len() - line.trim_start().len() > indent;
                while let Some(line) = lines.next_if(deeper) {
                    rule.expr += line.trim_start();
                    rule.expr += "\n";
                }
            }
        }
    }
    assert!(rules.iter().all(|rule| !rule.expr.is_empty()), "a rule without an expression in {rules:#?}");
    rules
}
