//! How the command ends: its exit codes, and the one place that prints what went wrong.

use crate::scrub::scrubbed;
use rheostat_api::{ClientError, RunVerdict};
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
}

impl Failure {
    /// A failure that ends the command with `exit`.
    pub fn new(exit: Exit, what: impl Display) -> Self {
        Self { exit, what: what.to_string(), cause: None, advice: None }
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

    /// Prints the failure on stderr, in the one shape all failures have.
    pub fn print(&self) {
        let mut text = format!("rheostat: {}\n", safe(&self.what));
        for (head, part) in [("because", &self.cause), ("try", &self.advice)] {
            if let Some(part) = part {
                text.push_str(&format!("  {head}: {}\n", safe(part)));
            }
        }
        // With stderr gone there is nobody left to tell.
        let _ = io::stderr().write_all(text.as_bytes());
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
                Failure::usage(problem.detail).advise("set RHEOSTAT_TOKEN to the content of the daemon's token file")
            }
            ClientError::Refused(problem) => {
                // 4xx is about what was asked; 409, 429 and 5xx are about the state the daemon is in.
                let exit = match problem.status {
                    409 | 429 => Exit::Error,
                    400..=499 => Exit::Usage,
                    _ => Exit::Error,
                };
                Failure::new(exit, problem.detail)
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
}
