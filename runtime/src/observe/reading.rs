//! One consistent look at a resource.

use super::{Family, Moment, Snapshot, now};

/// The number in a sample, raw: times in nanoseconds, everything else in its unit.
#[derive(Debug, Clone)]
pub enum Measure {
    /// A counter's total so far.
    Total(u64),
    /// A gauge's level.
    Level(f64),
    /// A histogram's buckets so far.
    Spread(Box<Snapshot>),
    /// The totals so far of a structure's parts, in their order.
    Strip(Box<[u64]>),
}

/// One number with its family and the labels beyond the resource's address.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The family it belongs to.
    pub family: &'static Family,
    /// Values of the family's labels, in their order.
    pub labels: Vec<&'static str>,
    /// The number.
    pub measure: Measure,
}

/// What a resource said when it was read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When the reading began.
    pub at: Moment,
    /// Everything it said, in the order of its family table.
    pub samples: Vec<Sample>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { at: now(), samples: Vec::new() }
    }
}

impl Reading {
    /// Adds a counter's total.
    pub fn total(&mut self, family: &'static Family, labels: &[&'static str], total: u64) {
        self.push(family, labels, Measure::Total(total));
    }

    /// Adds a gauge's level.
    pub fn level(&mut self, family: &'static Family, labels: &[&'static str], level: f64) {
        self.push(family, labels, Measure::Level(level));
    }

    /// Adds a histogram.
    pub fn spread(&mut self, family: &'static Family, labels: &[&'static str], spread: Snapshot) {
        self.push(family, labels, Measure::Spread(Box::new(spread)));
    }

    /// Adds the totals of a structure's parts.
    pub fn strip(&mut self, family: &'static Family, labels: &[&'static str], parts: Box<[u64]>) {
        self.push(family, labels, Measure::Strip(parts));
    }

    fn push(&mut self, family: &'static Family, labels: &[&'static str], measure: Measure) {
        debug_assert_eq!(family.labels.len(), labels.len(), "{} takes labels {:?}", family.name, family.labels);
        self.samples.push(Sample { family, labels: labels.to_vec(), measure });
    }

    /// The total of a counter, summed over its labels; `None` if the resource said nothing of it.
    pub fn total_of(&self, family: &Family) -> Option<u64> {
        self.of(family)
            .filter_map(|s| if let Measure::Total(n) = s.measure { Some(n) } else { None })
            .reduce(|a, b| a + b)
    }

    /// The level of a gauge, summed over its labels; `None` if the resource said nothing of it.
    pub fn level_of(&self, family: &Family) -> Option<f64> {
        self.of(family)
            .filter_map(|s| if let Measure::Level(n) = s.measure { Some(n) } else { None })
            .reduce(|a, b| a + b)
    }

    fn of(&self, family: &Family) -> impl Iterator<Item = &Sample> {
        let name = family.name;
        self.samples.iter().filter(move |sample| sample.family.name == name)
    }
}
