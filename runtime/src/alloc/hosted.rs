//! The process's allocator as a resource.

use super::{Class, SCOPES_MAX, open_scopes, totals};
use crate::observe::families::*;
use crate::observe::{Address, AddressError, Kind, Knob, Reading, Resource, TurnError, Turned, Value};
use crate::sync::Arc;
use std::fmt;

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
        (self.beneath)(reading);
    }

    fn knobs(&self) -> Vec<Knob> {
        Vec::new()
    }

    fn turn(&self, knob: &str, _to: &Value) -> Result<Turned, TurnError> {
        let (resource, knob) = (self.address.to_string(), knob.to_owned());
        Err(TurnError::UnknownKnob { resource, knob, has: Vec::new() })
    }
}

impl fmt::Debug for HostedAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedAllocator").field("address", &self.address.to_string()).finish_non_exhaustive()
    }
}
