//! Knobs: parameters that can be set while their resource runs.

use std::fmt;
use std::time::Duration;

/// A knob's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// One of a closed set of words.
    Choice(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(number) => write!(f, "{number}"),
            Value::Choice(word) => f.write_str(word),
        }
    }
}

/// Which values a knob takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// Whole numbers, both ends included.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Range::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

impl Range {
    /// Checks a value against the range.
    ///
    /// # Errors
    /// [`TurnError::Type`] for the wrong kind of value, [`TurnError::Range`] for one outside.
    pub fn check(&self, knob: &str, value: &Value) -> Result<(), TurnError> {
        let refuse = |error: fn(String, String, String) -> TurnError| {
            Err(error(knob.to_owned(), value.to_string(), self.to_string()))
        };
        match (self, value) {
            (Range::Integer { min, max }, Value::Integer(number)) if (min..=max).contains(&number) => Ok(()),
            (Range::Choice(words), Value::Choice(word)) if words.contains(&word.as_str()) => Ok(()),
            (Range::Integer { .. }, Value::Integer(_)) | (Range::Choice(_), Value::Choice(_)) => {
                refuse(|knob, value, range| TurnError::Range { knob, value, range })
            }
            _ => refuse(|knob, value, range| TurnError::Type { knob, value, range }),
        }
    }
}

/// The words of a closed set, in the order of its `ALL`: what a knob takes that chooses one of them.
#[cfg(not(any(rt_loom, rt_shuttle)))]
macro_rules! words {
    ($set:ty) => {{
        let mut words = [""; <$set>::ALL.len()];
        let mut index = 0;
        // A `const` has no iterators.
        while index < words.len() {
            words[index] = <$set>::ALL[index].as_str();
            index += 1;
        }
        words
    }};
}
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(crate) use words;

/// A knob as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Knob {
    /// Name below its resource: `workers`.
    pub name: &'static str,
    /// The value in force.
    pub value: Value,
    /// The values it takes.
    pub range: Range,
    /// What one step is: `threads`, `records`; empty for a choice.
    pub unit: &'static str,
    /// One sentence on what turning it does.
    pub help: &'static str,
}

/// A knob that was turned.
#[derive(Debug, Clone, PartialEq)]
pub struct Turned {
    /// Value before.
    pub from: Value,
    /// Value in force now.
    pub to: Value,
    /// How long the hand-over took, until the resource ran at the new value.
    pub took: Duration,
    /// False when the resource had not yet settled inside the time a turn may take (a shrinking worker still
    /// holds its batch); the value is in force all the same and settling goes on. How it ends,
    /// [`Resource::settled`](super::Resource::settled) says.
    pub settled: bool,
    /// What else is to be said of it: that it turned back what was under way.
    pub reason: Option<String>,
}

/// A knob that a resource turned of its own accord, or tried to.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnTurn {
    /// The knob.
    pub knob: &'static str,
    /// What was in force before.
    pub from: Value,
    /// What it turned to.
    pub to: Value,
    /// What it saw that spoke for it, with numbers.
    pub reason: String,
    /// How long the hand-over took, or why there was none.
    pub turned: Result<Duration, TurnError>,
}

/// Why a knob was not turned. The resource runs on as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// The resource has no such knob.
    #[error("{resource} has no knob `{knob}`; it has {}", if .has.is_empty() { "none".to_owned() } else { .has.join(", ") })]
    UnknownKnob {
        /// The resource asked.
        resource: String,
        /// The knob asked for.
        knob: String,
        /// The knobs there are.
        has: Vec<String>,
    },
    /// A number where a word belongs, or the other way round.
    #[error("{knob} takes {range}, not `{value}`")]
    Type {
        /// The knob.
        knob: String,
        /// The value refused.
        value: String,
        /// What it takes.
        range: String,
    },
    /// Outside the range.
    #[error("{value} is out of range: {knob} takes {range}")]
    Range {
        /// The knob.
        knob: String,
        /// The value refused.
        value: String,
        /// What it takes.
        range: String,
    },
    /// The hand-over itself failed and was undone.
    #[error("{knob} was not turned: {why}")]
    Failed {
        /// The knob.
        knob: String,
        /// What failed, and what to do.
        why: String,
    },
}
