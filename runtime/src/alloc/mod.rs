//! Who allocates: a wrapper around the process's global allocator that charges every block to a scope.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Tracked`] | you write a binary and want to know what in it allocates: one line around its global allocator |
//! | [`Scope`] | you have work that allocations should be charged to; stages, sources and runs have theirs already |
//! | [`profile`] | you want to know which lines allocate what lives: a sample of blocks with their stacks and scopes |
//! | [`HostedAllocator`] | you host the process's allocator as a resource, with the sums by class of scope |
//! | [`ledger`] | you want to see how it is counted, or to check it |
//!
//! What a scope counts is what *threads did while they were in it*: blocks they allocated, and blocks they freed,
//! whoever had allocated those. No header stands before a block to say where it came from, so a block that one stage
//! allocates and the next one frees is an allocation of the first and a free of the second. **Freed elsewhere** is
//! therefore not counted but seen: a stage whose allocated bytes run ahead of its freed ones hands blocks on (or keeps
//! them), one whose freed bytes run ahead gets rid of what others made, and over all classes allocated minus freed is
//! what is live. While a heap profile is taken, samples say how much of a scope's is live and how much was freed in
//! another scope or outside of any: estimates, of what was sampled since. Bytes are those asked for; what the allocator
//! rounds up is in its own statistics.
//!
//! Without a `Tracked` allocator in the process, scopes cost a load when they are entered and say nothing.

// The protocol is checked by models; what stands on it needs statics and thread-locals without destructors.
pub mod ledger;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hosted;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub mod profile;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod scope;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod tracked;

pub use ledger::{Class, Counts};

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(crate) use self::scope::{current_name as current_scope, name as scope_name};

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use self::{
    hosted::HostedAllocator,
    scope::{Entered, SCOPES_MAX, Scope, is_tracked, open_scopes, totals},
    tracked::Tracked,
};
