//! A turn of a knob, spelled as everywhere: `ADDRESS.KNOB=VALUE`.

use crate::wording;
use rheostat_api::{Knob, KnobValue, Range};
use std::fmt;
use std::str::FromStr;

/// A knob and the value it is to be turned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Address of the resource.
    pub address: String,
    /// The knob.
    pub knob: String,
    /// The value it is turned to.
    pub to: KnobValue,
}

impl Turn {
    /// Whether that knob takes the value.
    ///
    /// # Errors
    /// A sentence that says what it takes.
    pub fn check(&self, knob: &Knob) -> Result<(), String> {
        let fits = match (&knob.range, &self.to) {
            (Range::Integer { min, max }, KnobValue::Integer(to)) => (min..=max).contains(&to),
            (Range::Choice { choices }, to) => choices.contains(&to.to_string()),
            (Range::Integer { .. }, KnobValue::Choice(_)) => false,
        };
        if fits { Ok(()) } else { Err(format!("it takes {}", wording::range(&knob.range, &knob.unit))) }
    }
}

impl FromStr for Turn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "write ADDRESS.KNOB=VALUE, as in pipeline.words.count.workers=8";
        let (path, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`: {shape}"))?;
        let (address, knob) = path.trim().rsplit_once('.').ok_or_else(|| format!("`{path}` names no knob: {shape}"))?;
        let value = value.trim();
        if address.is_empty() || knob.is_empty() || value.is_empty() {
            return Err(format!("`{text}` is incomplete: {shape}"));
        }
        Ok(Self { address: address.to_owned(), knob: knob.to_owned(), to: KnobValue::parse(value) })
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.address, self.knob, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_read_as_typed() {
        let turn = "pipeline.words.count.workers=8".parse::<Turn>().unwrap();
        assert_eq!((turn.address.as_str(), turn.knob.as_str()), ("pipeline.words.count", "workers"));
        assert_eq!(turn.to, KnobValue::Integer(8));
        assert_eq!("map.words.backend=sharded".parse::<Turn>().unwrap().to, KnobValue::Choice("sharded".into()));
        assert_eq!("a.b=-1".parse::<Turn>().unwrap().to, KnobValue::Integer(-1));
    }

    #[test]
    fn a_knob_takes_only_what_lies_in_its_range() {
        let taken = |range: Range, to: &str| {
            let knob =
                Knob { name: "k".into(), value: KnobValue::parse(to), range, unit: String::new(), help: "".into() };
            format!("a.k={to}").parse::<Turn>().unwrap().check(&knob)
        };
        let number = Range::Integer { min: 1, max: 64 };
        let word = Range::Choice { choices: vec!["sharded".into(), "7".into()] };
        for (range, to) in [(&number, "1"), (&number, "64"), (&word, "sharded"), (&word, "7")] {
            assert_eq!(taken(range.clone(), to), Ok(()), "{to}");
        }
        for (range, to) in [(&number, "0"), (&number, "65"), (&number, "many"), (&word, "locked"), (&word, "8")] {
            let refusal = taken(range.clone(), to).unwrap_err();
            assert!(refusal.contains(&wording::range(range, "")), "{to}: {refusal}");
        }
    }

    #[test]
    fn half_a_turn_is_refused_with_the_shape_of_a_whole_one() {
        for half in
            ["", "workers", "workers=8", ".workers=8", "map.words.=1", "map.words.backend=", "map.words.backend"]
        {
            let refusal = half.parse::<Turn>().unwrap_err();
            assert!(refusal.contains("ADDRESS.KNOB=VALUE"), "{half}: {refusal}");
        }
    }
}
