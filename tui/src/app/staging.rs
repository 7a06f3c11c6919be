//! A change that is staged: shown beside what is in force, and not yet asked for.

use rheostat_api::{Knob, KnobValue, Range};

/// A knob and the value it might be turned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// Address of the resource.
    pub address: String,
    /// The knob.
    pub knob: String,
    /// The value in force when it was staged.
    pub from: KnobValue,
    /// The values it takes.
    pub range: Range,
    /// What one step is.
    pub unit: String,
    to: Edit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Edit {
    /// Digits as typed; empty while everything was erased.
    Number(String),
    /// Index into the choices.
    Choice(usize),
}

/// Digits of the longest whole number there is, with its sign.
const DIGITS_MAX: usize = 20;

impl Staging {
    /// Stages the number in force, to be changed, or the choice after the one in force.
    pub fn new(address: &str, knob: &Knob) -> Self {
        let to = match (&knob.range, &knob.value) {
            (Range::Choice { choices }, value) => {
                let word = value.to_string();
                let in_force = choices.iter().position(|choice| *choice == word);
                Edit::Choice(in_force.map_or(0, |index| (index + 1) % choices.len()))
            }
            (Range::Integer { .. }, value) => Edit::Number(value.to_string()),
        };
        Self {
            address: address.to_owned(),
            knob: knob.name.clone(),
            from: knob.value.clone(),
            range: knob.range.clone(),
            unit: knob.unit.clone(),
            to,
        }
    }

    /// The staged value; `None` while there is none.
    pub fn value(&self) -> Option<KnobValue> {
        match (&self.to, &self.range) {
            (Edit::Number(digits), _) => digits.parse().ok().map(KnobValue::Integer),
            (Edit::Choice(index), Range::Choice { choices }) => choices.get(*index).cloned().map(KnobValue::Choice),
            (Edit::Choice(_), Range::Integer { .. }) => None,
        }
    }

    /// The staged value as it is typed.
    pub fn text(&self) -> String {
        match &self.to {
            Edit::Number(digits) => digits.clone(),
            Edit::Choice(_) => self.value().map_or_else(String::new, |value| value.to_string()),
        }
    }

    /// Why the staged value would be refused; `None` if it would not.
    pub fn fault(&self) -> Option<String> {
        match (self.value(), &self.range) {
            (None, _) => Some("no value yet".to_owned()),
            (Some(KnobValue::Integer(value)), Range::Integer { min, max }) if !(*min..=*max).contains(&value) => {
                Some(format!("outside {min}..{max}"))
            }
            (Some(value), _) if value == self.from => Some("already in force".to_owned()),
            _ => None,
        }
    }

    /// Moves the value by steps, within its range; a choice goes round.
    pub fn step(&mut self, by: i64) {
        let now = self.value();
        match (&mut self.to, &self.range) {
            (Edit::Number(digits), Range::Integer { min, max }) => {
                let now = if let Some(KnobValue::Integer(now)) = now { now } else { *min };
                *digits = now.saturating_add(by).max(*min).min(*max).to_string();
            }
            (Edit::Choice(index), Range::Choice { choices }) if !choices.is_empty() => {
                let count = choices.len() as i64;
                *index = (*index as i64 + by).rem_euclid(count) as usize;
            }
            _ => {}
        }
    }

    /// Types a digit. The first one replaces the value in force.
    pub fn digit(&mut self, digit: char) {
        let untouched = self.text() == self.from.to_string();
        if let Edit::Number(digits) = &mut self.to {
            if untouched {
                digits.clear();
            }
            if digits.len() < DIGITS_MAX {
                digits.push(digit);
            }
        }
    }

    /// Takes the last digit back.
    pub fn erase(&mut self) {
        if let Edit::Number(digits) = &mut self.to {
            digits.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Staging {
        let range = Range::Integer { min: 1, max: 64 };
        let (unit, help) = ("threads".into(), String::new());
        Staging::new("stage", &Knob { name: "workers".into(), value: KnobValue::Integer(4), range, unit, help })
    }

    #[test]
    fn steps_stay_within_the_range() {
        let mut staging = workers();
        assert_eq!(staging.fault().as_deref(), Some("already in force"));
        staging.step(1);
        assert_eq!((staging.value(), staging.fault()), (Some(KnobValue::Integer(5)), None));
        staging.step(i64::MAX);
        assert_eq!(staging.value(), Some(KnobValue::Integer(64)));
        staging.step(i64::MIN);
        assert_eq!(staging.value(), Some(KnobValue::Integer(1)));
    }

    #[test]
    fn typing_replaces_the_value_in_force() {
        let mut staging = workers();
        "16".chars().for_each(|digit| staging.digit(digit));
        assert_eq!((staging.value(), staging.fault()), (Some(KnobValue::Integer(16)), None));
        "0000".chars().for_each(|digit| staging.digit(digit));
        assert_eq!(staging.fault().as_deref(), Some("outside 1..64"));
        (0..9).for_each(|_| staging.erase());
        assert_eq!((staging.value(), staging.fault().as_deref()), (None, Some("no value yet")));
        staging.step(1);
        assert_eq!(staging.value(), Some(KnobValue::Integer(2)));
    }

    #[test]
    fn a_number_too_long_to_be_one_is_no_value() {
        let mut staging = workers();
        (0..99).for_each(|_| staging.digit('9'));
        assert_eq!(staging.value(), None);
        assert_eq!(staging.text().len(), DIGITS_MAX);
    }

    #[test]
    fn choices_go_round() {
        let choices = ["sharded", "lock_free"].map(String::from).to_vec();
        let knob = Knob {
            name: "backend".into(),
            value: KnobValue::Choice("lock_free".into()),
            range: Range::Choice { choices },
            unit: String::new(),
            help: String::new(),
        };
        let mut staging = Staging::new("map.words", &knob);
        let sharded = Some(KnobValue::Choice("sharded".into()));
        assert_eq!((staging.value(), staging.fault()), (sharded.clone(), None), "one key stages the other choice");
        staging.step(1);
        assert_eq!(staging.fault().as_deref(), Some("already in force"));
        staging.step(1);
        assert_eq!(staging.value(), sharded);
        staging.digit('7');
        assert_eq!(staging.text(), "sharded");
        let empty = Knob { range: Range::Choice { choices: vec![] }, ..knob };
        let mut staging = Staging::new("map.words", &empty);
        staging.step(1);
        assert_eq!(staging.value(), None);
    }
}
