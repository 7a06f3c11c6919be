//! What was, for those who connect late.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer of `GET /v1/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct History {
    /// Distance of points in milliseconds: 1000 for the last 15 minutes, 10000 for the last 6 hours.
    pub step_ms: u64,
    /// The series asked for.
    pub series: Vec<Series>,
}

/// One series. Counters are given as rates per second, gauges as levels, histograms as quantiles of each step
/// under the labels `quantile="0.5"` and `"0.99"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Series {
    /// Address of the resource.
    pub address: String,
    /// The metric family.
    pub family: String,
    /// Labels beyond the address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Time of the first point, in milliseconds since 1970.
    pub start_ms: u64,
    /// The points, oldest first; `null` where nothing is known.
    pub points: Vec<Option<f64>>,
}
