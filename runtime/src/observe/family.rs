//! A metric family: the declaration that readings, exporter, screens and dashboards share.

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Only grows; rates are taken by whoever looks.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution; see [`Spread`](super::Spread).
    Histogram,
    /// One counter for each part of a structure (a shard, a stripe). For screens and the API: as series it would be a
    /// label of hundreds of values, so it is never exported.
    Strip,
}

/// The unit of a family, which its name ends in (before `_total`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number of the thing the name says.
    Count,
    /// Records, entries, blocks: what a structure holds.
    Items,
    /// Bytes.
    Bytes,
    /// Seconds. Histograms and counters of this unit are recorded in nanoseconds and exported in seconds.
    Seconds,
    /// Seconds since 1970.
    Timestamp,
    /// Between 0 and 1.
    Ratio,
}

/// One metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Full name, `rheostat_..`, with unit and `_total` where they belong.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub what: What,
    /// Unit of the exported value.
    pub unit: Unit,
    /// One sentence on what is counted, exactly.
    pub help: &'static str,
    /// Names of the labels beyond the resource's own address, each a closed set.
    pub labels: &'static [&'static str],
}

impl Family {
    /// What a raw number of this family is multiplied by on its way out: times are kept in nanoseconds.
    pub fn scale(&self) -> f64 {
        if self.unit == Unit::Seconds { 1e-9 } else { 1.0 }
    }
}
