//! The structures behind a queue, and the one place that chooses between them.

use super::cas_failures::SharedLost;
use super::grace::Guard;
use super::{CapacityError, Kind, PushError, Ring, Segmented};
use crossbeam_queue::{ArrayQueue, SegQueue};
use std::collections::VecDeque;

/// A structure at work.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each era and never moved; a box would cost every operation"
)]
pub(super) enum Backend<T> {
    Ring(Ring<T>),
    Segmented(Segmented<T>),
    ArrayQueue(ArrayQueue<T>),
    SegQueue(SegQueue<T>),
    /// Takes nothing and holds nothing: what a closed queue ends in.
    End,
}

impl<T> Backend<T> {
    /// `lost` is asked for by those that count the compare-exchanges they lose.
    pub(super) fn new(kind: Kind, capacity: usize, lost: impl FnOnce() -> SharedLost) -> Result<Self, CapacityError> {
        Ok(match kind {
            Kind::Ring => Backend::Ring(Ring::with_lost(capacity, capacity, 0, lost())?),
            Kind::Segmented => Backend::Segmented(Segmented::with_lost(lost())),
            Kind::ArrayQueue => Backend::ArrayQueue(ArrayQueue::new(capacity)),
            Kind::SegQueue => Backend::SegQueue(SegQueue::new()),
        })
    }

    /// `None` for what a closed queue ends in.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Backend::Ring(_) => Some(Kind::Ring),
            Backend::Segmented(_) => Some(Kind::Segmented),
            Backend::ArrayQueue(_) => Some(Kind::ArrayQueue),
            Backend::SegQueue(_) => Some(Kind::SegQueue),
            Backend::End => None,
        }
    }

    /// True for a structure that keeps no limit: what is pushed to it has to be counted first.
    #[inline(always)]
    pub(super) fn is_unbounded(&self) -> bool {
        matches!(self, Backend::SegQueue(_))
    }

    /// Takes the limit in place. False when that needs a structure of another size.
    pub(super) fn resize(&self, capacity: usize) -> bool {
        match self {
            Backend::Ring(ring) => ring.set_limit(capacity).is_ok(),
            Backend::ArrayQueue(queue) => queue.capacity() == capacity,
            Backend::Segmented(_) | Backend::SegQueue(_) => true,
            Backend::End => false,
        }
    }

    /// Pushes. `limit` is for the structure that takes one with every push: others have theirs, or none.
    #[inline(always)]
    pub(super) fn try_push(&self, item: T, limit: usize) -> Result<(), PushError<T>> {
        match self {
            Backend::Ring(ring) => ring.try_push(item),
            Backend::ArrayQueue(queue) => queue.push(item).map_err(PushError::Full),
            Backend::Segmented(queue) => queue.push_below(limit, item).map_err(PushError::Full),
            Backend::SegQueue(queue) => {
                queue.push(item);
                Ok(())
            }
            Backend::End => Err(PushError::Closed(item)),
        }
    }

    /// Pops, under the caller's pin.
    #[inline]
    pub(super) fn try_pop(&self, guard: &Guard<'_>) -> Option<T> {
        match self {
            Backend::Ring(ring) => ring.try_pop().ok(),
            Backend::Segmented(queue) => queue.pop_pinned(guard),
            Backend::ArrayQueue(queue) => queue.pop(),
            Backend::SegQueue(queue) => queue.pop(),
            Backend::End => None,
        }
    }

    /// Pushes up to `max` items from the front of `items`; returns how many. `limit` is as for
    /// [`try_push`](Self::try_push).
    pub(super) fn push_bulk(&self, items: &mut Vec<T>, max: usize, limit: usize) -> usize {
        let max = max.min(items.len());
        match self {
            // A run that the room counted outside cuts short goes one by one: the ring takes what it has room for.
            Backend::Ring(ring) if max == items.len() => ring.push_bulk(items),
            Backend::Segmented(queue) => queue.push_run_below(limit, items, max),
            Backend::End => 0,
            _ => self.push_each(items, max, limit),
        }
    }

    fn push_each(&self, items: &mut Vec<T>, max: usize, limit: usize) -> usize {
        // A deque gives items away from its front, takes the refused one back there, and becomes the same vector again.
        let mut left = VecDeque::from(std::mem::take(items));
        let mut pushed = 0;
        while pushed < max
            && let Some(item) = left.pop_front()
        {
            match self.try_push(item, limit) {
                Ok(()) => pushed += 1,
                Err(error) => {
                    left.push_front(error.into_inner());
                    break;
                }
            }
        }
        *items = left.into();
        pushed
    }

    /// Pops up to `max` items to the end of `out`, under the caller's pin; returns how many.
    pub(super) fn pop_bulk(&self, out: &mut Vec<T>, max: usize, guard: &Guard<'_>) -> usize {
        match self {
            Backend::Ring(ring) => ring.pop_bulk(out, max),
            Backend::Segmented(queue) => queue.pop_bulk(out, max),
            _ => {
                let before = out.len();
                out.extend(std::iter::from_fn(|| self.try_pop(guard)).take(max));
                out.len() - before
            }
        }
    }

    /// True for a structure that can be closed itself, without waiting for anybody.
    pub(super) fn is_closable(&self) -> bool {
        matches!(self, Backend::Ring(_))
    }

    /// Closes a structure that can be closed: from then on pushes fail, and it is drained when nothing is in it.
    pub(super) fn close(&self) {
        if let Backend::Ring(ring) = self {
            ring.close();
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Backend::Ring(ring) => ring.len(),
            Backend::Segmented(queue) => queue.len(),
            Backend::ArrayQueue(queue) => queue.len(),
            Backend::SegQueue(queue) => queue.len(),
            Backend::End => 0,
        }
    }

    /// True when every item that has begun to show has been claimed by a pop.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Backend::Ring(ring) => ring.is_empty(),
            Backend::Segmented(queue) => queue.is_empty(),
            Backend::ArrayQueue(queue) => queue.is_empty(),
            Backend::SegQueue(queue) => queue.is_empty(),
            Backend::End => true,
        }
    }
}
