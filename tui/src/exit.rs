//! How the command ends: its exit codes, and the one place that prints what went wrong.

use crate::scrub::scrubbed;
use rheostat_api::{ClientError, Problem, RunVerdict};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit codes, as `rheostat --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and every check passed.
    Pass,
    /// Something failed while it ran.
    Error,
    /// The command line, a file or a value was wrong.
    Usage,
    /// The verdict of a run.
    Verdict(RunVerdict),
    /// No daemon answers, or it stopped answering.
    Unreachable,
    /// Ended by this signal.
    Signal(i32),
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Pass => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Verdict(verdict) => verdict.exit_code(),
            Exit::Unreachable => 7,
            Exit::Signal(number) => 128_u8.saturating_add(u8::try_from(number).unwrap_or(0)),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// Why a command could not do what it was asked to: what failed, because of what, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    cause: Option<String>,
    advice: Option<String>,
    /// What the daemon said, where it is the daemon that refused.
    problem: Option<Box<Problem>>,
}

/// A failure as scripts get it: the fields of problem+json, those of them that are known, and what only a command has.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    advice: Option<&'a str>,
    exit: u8,
}

impl Failure {
    /// A failure that ends the command with `exit`.
    pub fn new(exit: Exit, what: impl Display) -> Self {
        Self { exit, what: what.to_string(), cause: None, advice: None, problem: None }
    }

    /// A mistake in what was asked for.
    pub fn usage(what: impl Display) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Adds why it failed.
    pub fn because(mut self, cause: impl Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds what to do.
    pub fn advise(mut self, advice: impl Display) -> Self {
        self.advice = Some(advice.to_string());
        self
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the failure on stderr, in the one shape all failures have: text for people, or a line of JSON.
    pub fn print(&self, json: bool) {
        let text = if json { self.json() } else { self.text() };
        // With stderr gone there is nobody left to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn json(&self) -> String {
        let problem = self.problem.as_deref();
        let told = Told {
            kind: problem.map(|problem| problem.kind.as_str()),
            title: problem.map(|problem| problem.title.as_str()),
            status: problem.map(|problem| problem.status),
            detail: &self.what,
            because: self.cause.as_deref(),
            advice: self.advice.as_deref(),
            exit: self.exit.code(),
        };
        // Nothing in it can fail to be JSON.
        serde_json::to_string(&told).unwrap_or_default() + "\n"
    }

    fn text(&self) -> String {
        let mut text = format!("rheostat: {}\n", safe(&self.what));
        for (head, part) in [("because", &self.cause), ("try", &self.advice)] {
            if let Some(part) = part {
                text.push_str(&format!("  {head}: {}\n", safe(part)));
            }
        }
        text
    }
}

/// Scrubs line by line: a message of several faults keeps its lines.
fn safe(text: &str) -> String {
    text.lines().map(scrubbed).collect::<Vec<_>>().join("\n    ")
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { endpoint, why } => {
                Failure::new(Exit::Unreachable, format!("no daemon answers at {endpoint}"))
                    .because(why)
                    .advise("start one with `rheostatd`, or name its socket with --socket PATH")
            }
            ClientError::Denied { endpoint, why, users } => {
                Failure::new(Exit::Unreachable, format!("the socket {endpoint} belongs to another user"))
                    .because(why)
                    .advise(format!("only {users} may use it; name a socket of your own with --socket PATH"))
            }
            ClientError::Refused(problem) if problem.status == 401 => {
                let failure = Failure::usage(&problem.detail);
                let failure = failure.advise("set RHEOSTAT_TOKEN to the content of the daemon's token file");
                Failure { problem: Some(Box::new(problem)), ..failure }
            }
            ClientError::Refused(problem) => {
                // 4xx is about what was asked; 409, 429 and 5xx are about the state the daemon is in.
                let exit = match problem.status {
                    409 | 429 => Exit::Error,
                    400..=499 => Exit::Usage,
                    _ => Exit::Error,
                };
                let failure = Failure::new(exit, &problem.detail);
                Failure { problem: Some(Box::new(problem)), ..failure }
            }
            ClientError::Broken { endpoint, why } => {
                Failure::new(Exit::Unreachable, format!("the daemon at {endpoint} broke off or answered wrongly"))
                    .because(why)
                    .advise("see whether it still runs, and whether it is of the same version as this command")
            }
            other => Failure::new(Exit::Error, other),
        }
    }
}

/// Why writing the answer ended.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::new(Exit::Error, "the answer could not be written").because(error)
    }
}

/// Prints on stderr what a command that did what it was asked has to warn of.
pub fn warn(what: impl Display) {
    // With stderr gone there is nobody left to tell.
    let _ = io::stderr().write_all(format!("rheostat: warning: {what}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_api::Problem;

    #[test]
    fn codes_are_those_the_help_promises() {
        let verdicts = [
            (RunVerdict::Pass, 0),
            (RunVerdict::Error, 1),
            (RunVerdict::Incorrect, 3),
            (RunVerdict::Failed, 4),
            (RunVerdict::Inconclusive, 5),
            (RunVerdict::Cancelled, 6),
        ];
        for (verdict, code) in verdicts {
            assert_eq!(Exit::Verdict(verdict).code(), code);
        }
        assert_eq!([Exit::Usage.code(), Exit::Unreachable.code(), Exit::Signal(15).code()], [2, 7, 143]);
    }

    #[test]
    fn refusals_of_what_was_asked_are_mistakes_of_usage() {
        let refused = |status| {
            let problem = Problem { kind: String::new(), title: String::new(), status, detail: "no".into() };
            Failure::from(ClientError::Refused(problem)).exit()
        };
        assert_eq!(
            [refused(404), refused(422), refused(409), refused(500)],
            [Exit::Usage, Exit::Usage, Exit::Error, Exit::Error]
        );
    }

    #[test]
    fn as_json_a_refusal_keeps_the_fields_of_its_problem() {
        let problem = Problem {
            kind: "urn:rheostat:out-of-range".into(),
            title: "Unprocessable Entity".into(),
            status: 422,
            detail: "0 is out of range\u{1b}".into(),
        };
        let failure = Failure::from(ClientError::Refused(problem)).advise("choose 1");
        let told: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:rheostat:out-of-range", "title": "Unprocessable Entity", "status": 422,
            "detail": "0 is out of range\u{1b}", "try": "choose 1", "exit": 2,
        });
        assert_eq!(told, expected);
        assert!(failure.text().contains("\\u{1b}"), "text is made safe for a terminal");
        let plain: serde_json::Value = serde_json::from_str(&Failure::usage("no").because("x").json()).unwrap();
        assert_eq!(plain, serde_json::json!({"detail": "no", "because": "x", "exit": 2}));
    }
}
