//! The sites that allocate: a stack and a scope, numbered in the order of their first sample.

use super::samples::Weight;
use std::hash::{BuildHasher, Hash, Hasher};

/// Sites that are told apart.
pub const SITES_MAX: usize = 4096;
/// Frames kept of a stack, innermost first.
pub const DEPTH_MAX: usize = 48;
const SLOTS: usize = 2 * SITES_MAX;
/// The site of all that found no room.
const OVERFLOW: u16 = 0;

/// Return addresses, innermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stack {
    frames: [usize; DEPTH_MAX],
    depth: usize,
}

impl Stack {
    const EMPTY: Self = Self { frames: [0; DEPTH_MAX], depth: 0 };

    /// The stack outside of the function in whose frame that address is. Allocates nothing.
    ///
    /// The stack grows downwards, so that function and what it called are the frames whose stack pointer is not above it,
    /// whatever was inlined and whatever their names are.
    pub(super) fn outside(within: usize) -> Self {
        let mut stack = Self::EMPTY;
        let walk = |frame: &backtrace::Frame| {
            // At the end of a thread's stack some platforms have a frame of no function.
            if frame.sp().addr() > within && !frame.ip().is_null() {
                stack.frames[stack.depth] = frame.ip().addr();
                stack.depth += 1;
            }
            stack.depth < DEPTH_MAX
        };
        // SAFETY: the walk itself keeps no state between calls but on Windows; the lock it leaves out is for symbols,
        // which are not looked up here.
        unsafe { backtrace::trace_unsynchronized(walk) };
        stack
    }

    pub(super) fn frames(&self) -> &[usize] {
        &self.frames[..self.depth]
    }
}

/// A site and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub stack: Stack,
    pub name: u16,
    /// Allocated since the profile was begun.
    pub allocated: Weight,
    /// Not freed yet.
    pub live: Weight,
}

impl Entry {
    fn new(stack: Stack, name: u16) -> Self {
        Self { stack, name, allocated: Weight::default(), live: Weight::default() }
    }
}

pub(super) struct Sites {
    /// Never grows beyond its first capacity.
    entries: Vec<Entry>,
    /// Numbers of entries by hash; [`OVERFLOW`] where there is none. Linear probing; sites are never taken out.
    index: Box<[u16]>,
    hasher: foldhash::fast::RandomState,
}

impl Sites {
    pub(super) fn new() -> Self {
        let mut entries = Vec::with_capacity(SITES_MAX);
        entries.push(Entry::new(Stack::EMPTY, super::scope::OTHER_NAME));
        Self { entries, index: vec![OVERFLOW; SLOTS].into(), hasher: foldhash::fast::RandomState::default() }
    }

    /// The number of the site, given to it now if it is new; that of the overflow when there is no room.
    pub(super) fn of(&mut self, stack: &Stack, name: u16) -> u16 {
        let mut hasher = self.hasher.build_hasher();
        stack.frames().hash(&mut hasher);
        name.hash(&mut hasher);
        let mut slot = hasher.finish() as usize % SLOTS;
        loop {
            let site = self.index[slot];
            if site == OVERFLOW {
                break;
            }
            let entry = &self.entries[usize::from(site)];
            if entry.name == name && entry.stack == *stack {
                return site;
            }
            slot = (slot + 1) % SLOTS;
        }
        if self.entries.len() == SITES_MAX {
            return OVERFLOW;
        }
        self.index[slot] = self.entries.len() as u16;
        self.entries.push(Entry::new(*stack, name));
        self.index[slot]
    }

    pub(super) fn allocated(&mut self, site: u16, weight: Weight) {
        let entry = &mut self.entries[usize::from(site)];
        entry.allocated += weight;
        entry.live += weight;
    }

    pub(super) fn freed(&mut self, site: u16, weight: Weight) {
        self.entries[usize::from(site)].live -= weight;
    }

    /// Forgets what was allocated; what lives stays.
    pub(super) fn begin_anew(&mut self) {
        for entry in &mut self.entries {
            entry.allocated = Weight::default();
        }
    }

    /// Copies all sites to where there is room for them.
    pub(super) fn copy_into(&self, to: &mut Vec<Entry>) {
        to.extend_from_slice(&self.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(seed: usize) -> Stack {
        let mut stack = Stack::EMPTY;
        (stack.frames[0], stack.frames[1], stack.depth) = (seed, seed / 7, 2);
        stack
    }

    #[test]
    fn sites_are_told_apart_up_to_the_limit_and_never_grow_beyond() {
        let mut sites = Sites::new();
        let room = sites.entries.capacity();
        let numbers: Vec<_> = (1..SITES_MAX).map(|seed| sites.of(&stack(seed), 3)).collect();
        assert!(numbers.iter().enumerate().all(|(index, &site)| usize::from(site) == index + 1));
        assert_eq!(sites.of(&stack(1), 3), numbers[0]);
        assert_eq!((sites.of(&stack(1), 4), sites.of(&stack(SITES_MAX), 3)), (OVERFLOW, OVERFLOW));
        assert_eq!(sites.entries.capacity(), room);
    }

    #[inline(never)]
    fn called() -> Stack {
        let within = std::hint::black_box(0u8);
        inner(std::ptr::from_ref(&within).addr())
    }

    #[inline(never)]
    fn inner(within: usize) -> Stack {
        std::hint::black_box(Stack::outside(within))
    }

    #[test]
    fn a_stack_begins_at_the_caller_of_the_one_that_asks() {
        let (first, second) = (called(), called());
        assert!(first.depth > 2, "{first:?}");
        let lines = |stack: &Stack| (stack.frames()[0], stack.frames()[1..].to_vec());
        let ((here, outer), (there, outer_too)) = (lines(&first), lines(&second));
        assert_ne!(here, there, "two calls of this function");
        assert_eq!(outer, outer_too, "and one call of it");
    }
}
