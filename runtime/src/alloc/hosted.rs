//! The process's allocator as a resource.

use super::{Class, SCOPES_MAX, is_tracked, open_scopes, profile, totals};
use crate::observe::families::*;
use crate::observe::{Address, AddressError, Kind, Knob, Range, Reading, Resource, TurnError, Turned, Value, now};
use crate::sync::Arc;
use std::fmt;

/// The greatest distance of samples: 1 GiB.
const SAMPLING_MAX: i64 = 1 << 30;

/// The process's allocator at the address `allocator.NAME`: what each class of scopes allocated, and what the allocator
/// beneath says of itself. Hosting it costs those who allocate nothing; a reading walks the rows of all threads.
pub struct HostedAllocator {
    address: Address,
    beneath: Box<dyn Fn(&mut Reading) + Send + Sync>,
}

impl HostedAllocator {
    /// Hosts the process's own allocator; `beneath` adds what the one beneath [`Tracked`](super::Tracked) has to say.
    ///
    /// # Errors
    /// When `name` breaks the rule for names.
    pub fn of_process(
        name: &str,
        beneath: impl Fn(&mut Reading) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, AddressError> {
        Ok(Arc::new(Self { address: Address::new(Kind::Allocator, name)?, beneath: Box::new(beneath) }))
    }
}

fn sampling() -> Knob {
    Knob {
        name: "sampling",
        value: Value::Integer(profile::interval() as i64),
        range: Range::Integer { min: 0, max: SAMPLING_MAX },
        unit: "bytes",
        help: "Bytes from one sample of the heap profile to the next, on average; 0 for off, 524288 for a profile.",
    }
}

impl Resource for HostedAllocator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        for (class, counts) in totals().into_iter().flatten() {
            let labels = [Class::as_str(class)];
            reading.total(&ALLOCATOR_ALLOCATIONS, &labels, counts.allocations);
            reading.total(&ALLOCATOR_BYTES, &labels, counts.allocated_bytes);
            reading.total(&ALLOCATOR_FREES, &labels, counts.frees);
            reading.total(&ALLOCATOR_FREED_BYTES, &labels, counts.freed_bytes);
        }
        reading.level(&ALLOCATOR_SCOPES, &[], open_scopes() as f64);
        reading.level(&ALLOCATOR_SCOPES_LIMIT, &[], SCOPES_MAX as f64);
        reading.level(&ALLOCATOR_SAMPLING, &[], profile::interval() as f64);
        let (samples, dropped) = profile::samples();
        reading.level(&ALLOCATOR_SAMPLES, &[], samples as f64);
        reading.total(&ALLOCATOR_SAMPLES_DROPPED, &[], dropped);
        (self.beneath)(reading);
    }

    fn knobs(&self) -> Vec<Knob> {
        // Whoever does not track has nothing to sample.
        if is_tracked() { vec![sampling()] } else { Vec::new() }
    }

    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        let began = now();
        let known = sampling();
        if knob != known.name {
            let (resource, has) = (self.address.to_string(), vec![known.name.to_owned()]);
            return Err(TurnError::UnknownKnob { resource, knob: knob.to_owned(), has });
        }
        known.range.check(known.name, to)?;
        if let Value::Integer(bytes) = to {
            profile::set_interval(*bytes as usize);
        }
        Ok(Turned { from: known.value, to: to.clone(), took: began.elapsed(), settled: true, reason: None })
    }
}

impl fmt::Debug for HostedAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedAllocator").field("address", &self.address.to_string()).finish_non_exhaustive()
    }
}
