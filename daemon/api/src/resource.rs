//! Resources as they are read over the wire.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Everything a host runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Resources {
    /// Ordered by address; stages follow their pipeline in the order of its flow.
    pub resources: Vec<Resource>,
}

/// One resource, its knobs and what it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Resource {
    /// `map.words`, `pipeline.words.count`.
    pub address: String,
    /// `pipeline`, `stage`, `queue`, `map`, `pool`, `scheduler` ...
    pub kind: String,
    /// Address of the pool that what it holds lives in, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of a map, what its values are: `counters`, `bytes` or `words`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// Its knobs as they stand.
    pub knobs: Vec<Knob>,
    /// Its samples, in the order of its family table.
    pub samples: Vec<Sample>,
}

impl Resource {
    /// The sum of a family's values over all labels; `None` if the resource says nothing of it.
    pub fn value(&self, family: &str) -> Option<f64> {
        self.samples
            .iter()
            .filter(|sample| sample.family == family)
            .filter_map(|sample| sample.value)
            .reduce(|a, b| a + b)
    }

    /// The value of a family under one label.
    pub fn value_where(&self, family: &str, label: &str, is: &str) -> Option<f64> {
        let mut samples = self.samples.iter().filter(|sample| sample.family == family);
        samples.find(|sample| sample.labels.get(label).is_some_and(|value| value == is))?.value
    }

    /// The quantiles of a histogram family.
    pub fn quantiles(&self, family: &str) -> Option<&Quantiles> {
        self.samples.iter().find(|sample| sample.family == family)?.quantiles.as_ref()
    }

    /// The totals of its parts under a strip family.
    pub fn strip(&self, family: &str) -> Option<&[f64]> {
        self.samples.iter().find(|sample| sample.family == family)?.strip.as_deref()
    }

    /// The knob of that name.
    pub fn knob(&self, name: &str) -> Option<&Knob> {
        self.knobs.iter().find(|knob| knob.name == name)
    }
}

/// A parameter that can be set while the resource runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Knob {
    /// Name below its resource: `workers`.
    pub name: String,
    /// The value in force.
    pub value: KnobValue,
    /// The values it takes.
    pub range: Range,
    /// What one step is: `threads`, `records`; empty for a choice.
    pub unit: String,
    /// One sentence on what turning it does.
    pub help: String,
}

/// A knob's value: a whole number or a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum KnobValue {
    /// A whole number.
    Integer(i64),
    /// One of a closed set of words.
    Choice(String),
}

impl KnobValue {
    /// Reads a value as people type it: a whole number if it is one, else a word.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| KnobValue::Choice(text.to_owned()), KnobValue::Integer)
    }
}

impl fmt::Display for KnobValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KnobValue::Integer(number) => write!(f, "{number}"),
            KnobValue::Choice(word) => f.write_str(word),
        }
    }
}

/// The values a knob takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Range {
    /// Whole numbers, both ends included.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A closed set of words.
    Choice {
        /// The words.
        choices: Vec<String>,
    },
}

/// One number of a resource. Counters and gauges carry `value`, histograms `quantiles`, counters by part `strip`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sample {
    /// The metric family, as Prometheus knows it.
    pub family: String,
    /// Labels beyond the resource's address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Total of a counter or level of a gauge, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Summary of a histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Quantiles>,
    /// Totals of a structure's parts (shards, stripes) in their order, in base units. Not among the Prometheus series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<Vec<f64>>,
}

/// A histogram in brief. `count` and `sum` are totals since the resource began; the quantiles are those of the last
/// five seconds and absent when nothing was recorded in them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Quantiles {
    /// Values recorded so far.
    pub count: u64,
    /// Their sum, in base units.
    pub sum: f64,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// The greatest value ever recorded.
    pub max: f64,
}
