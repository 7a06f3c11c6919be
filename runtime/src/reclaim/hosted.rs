//! A domain as a resource: what it says of itself, without knobs.

use super::{Domain, process_domain};
use crate::observe::families::*;
use crate::observe::{Address, AddressError, Kind, Knob, Reading, Resource, TurnError, Turned, Value};
use crate::sync::Arc;
use std::time::Duration;

/// The process's own domain at the address `domain.NAME`. Hosting it costs its readers nothing; each reading walks its
/// records, and begins a grace period if somebody reads and none is under way ([`Domain::statistics`]).
#[derive(Debug)]
pub struct HostedDomain {
    address: Address,
    domain: &'static Domain,
}

impl HostedDomain {
    /// Hosts the process's own domain.
    ///
    /// # Errors
    /// When `name` breaks the rule for names.
    pub fn of_process(name: &str) -> Result<Arc<Self>, AddressError> {
        Ok(Arc::new(Self { address: Address::new(Kind::Domain, name)?, domain: process_domain() }))
    }
}

impl Resource for HostedDomain {
    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        let seen = self.domain.statistics();
        reading.total(&RECLAIM_RETIRED_OBJECTS, &[], seen.retired_objects);
        reading.total(&RECLAIM_RETIRED_BYTES, &[], seen.retired_bytes);
        reading.total(&RECLAIM_FREED_OBJECTS, &[], seen.freed_objects);
        reading.total(&RECLAIM_FREED_BYTES, &[], seen.freed_bytes);
        reading.total(&RECLAIM_PERIODS, &[], seen.periods);
        reading.total(&RECLAIM_PANICS, &[], seen.panics);
        reading.total(&RECLAIM_EXCESSES, &[], seen.excesses);
        reading.level(&RECLAIM_PINNED, &[], seen.pinned_threads as f64);
        reading.level(&RECLAIM_EPOCH_LAG, &[], seen.epoch_lag as f64);
        reading.level(&RECLAIM_OLDEST_PIN, &[], seen.oldest_pin.unwrap_or(Duration::ZERO).as_nanos() as f64);
        reading.level(&RECLAIM_GARBAGE_LIMIT, &[], self.domain.limits().garbage_bytes_max as f64);
    }

    fn knobs(&self) -> Vec<Knob> {
        Vec::new()
    }

    fn turn(&self, knob: &str, _to: &Value) -> Result<Turned, TurnError> {
        let (resource, knob) = (self.address.to_string(), knob.to_owned());
        Err(TurnError::UnknownKnob { resource, knob, has: Vec::new() })
    }
}
