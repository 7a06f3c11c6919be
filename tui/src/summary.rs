//! What happened between the first and the last snapshot, in a few lines.

use crate::{family, units};
use rheostat_api::{Host, Snapshot};
use std::collections::BTreeMap;
use std::fmt;

/// Totals since the first snapshot taken in.
#[derive(Debug, Default)]
pub struct Summary {
    first: Option<Totals>,
    last: Option<Totals>,
    rss_max: u64,
}

#[derive(Debug, Clone)]
struct Totals {
    uptime_s: f64,
    host: Host,
    changes: u64,
    /// Bytes and records by pipeline.
    pipelines: BTreeMap<String, (f64, f64)>,
}

impl Summary {
    /// Takes a snapshot in.
    pub fn take(&mut self, snapshot: &Snapshot) {
        let pipelines = snapshot.resources.iter().filter(|resource| resource.kind == "pipeline");
        let figures = pipelines.map(|pipeline| {
            let total = |family| pipeline.value(family).unwrap_or(0.0);
            let figures = (total(family::PIPELINE_SOURCE_BYTES), total(family::PIPELINE_SOURCE_ITEMS));
            (pipeline.address.clone(), figures)
        });
        let totals = Totals {
            uptime_s: snapshot.uptime_s,
            host: snapshot.host.clone(),
            changes: snapshot.last_change,
            pipelines: figures.collect(),
        };
        self.rss_max = self.rss_max.max(totals.host.rss_bytes);
        self.first.get_or_insert_with(|| totals.clone());
        self.last = Some(totals);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (&self.first, &self.last) else {
            return f.write_str("summary: nothing was seen");
        };
        let seconds = last.uptime_s - first.uptime_s;
        write!(f, "summary: {seconds:.1}s watched")?;
        for (address, (bytes, records)) in &last.pipelines {
            let (bytes_before, records_before) = first.pipelines.get(address).copied().unwrap_or_default();
            let (bytes, records) = (bytes - bytes_before, records - records_before);
            let per_s = |total: f64| (seconds > 0.0 && total >= 0.0).then(|| total / seconds);
            write!(
                f,
                "\n  {address}: {} read, {} records from the source, {} on average",
                units::bytes(bytes),
                units::count(records),
                units::or_unknown(per_s(bytes), units::bytes_rate),
            )?;
        }
        let cpu = (seconds > 0.0).then(|| (last.host.cpu_seconds - first.host.cpu_seconds) / seconds);
        write!(
            f,
            "\n  host: {} of {} cores on average, rss at most {}, {} knobs turned",
            units::or_unknown(cpu, |cores| format!("{cores:.2}")),
            last.host.cores,
            units::memory(self.rss_max as f64),
            last.changes.saturating_sub(first.changes),
        )
    }
}
