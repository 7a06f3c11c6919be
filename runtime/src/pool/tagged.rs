//! A list of free blocks that any thread pushes to and pops from by compare-exchange.
//!
//! Source: R. K. Treiber, "Systems Programming: Coping with Parallelism" (1986), with the tag of the IBM System/370
//! manual's free-list example against the reuse of a head.
//!
//! ```text
//! head   63 .. 32   31 .. 0
//!        tag        number of the first block, all ones when empty
//! ```
//! Writers: `head` everyone, by compare-exchange; a block's link whoever pushes it, before the exchange.
//! I1  Having popped a block, or taken all, is having it to oneself; pushing gives that up.
//! I2  Each pop, and each taking of all, raises the tag. A pop that has read a link and is then overtaken by a pop of the
//!     same block fails its exchange, also when the block is back on top: the tag is another. It would have to come round,
//!     2^32 pops while one thread stands between two instructions, to be mistaken.
//! O1  A push's exchange is Release and pairs with the Acquire load (or failed exchange) of the head in a pop: the
//!     popper sees the block's link, and what its last holder did with its bytes. Exchanges between the two continue the
//!     release sequence, so a block pushed below others is covered too.
//! O2  A pop may read a link that a later holder is writing; it then fails by I2. So one link may be loaded Relaxed.
//! O3  A pop of several goes on from a link only if the head is still what it was: then nothing had been popped when the
//!     link was loaded, and it names a block of the list. Links are stored Release and here loaded Acquire, so that who
//!     has read what a later holder wrote also sees that the head is another.
//! Progress: lock-free. A pop or push that fails does so because another succeeded.

use super::chain::Chain;
use super::number::{BlockId, Links};
use crate::sync::Backoff;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The list. Its links are handed in, for they are kept with the class.
#[derive(Debug)]
pub struct TaggedList {
    head: AtomicU64,
}

const TAG: u64 = 1 << 32;
const FIRST: u64 = TAG - 1;

fn first(head: u64) -> Option<BlockId> {
    BlockId::from_word((head & FIRST) as u32)
}

/// `head` with another first block, and with the next tag.
fn retagged(head: u64, first: u32) -> u64 {
    let next = if cfg!(rt_mutant = "pool_tag_stays") { head } else { head.wrapping_add(TAG) };
    next & !FIRST | u64::from(first)
}

impl Default for TaggedList {
    fn default() -> Self {
        Self::with_tag(0)
    }
}

impl TaggedList {
    /// An empty list whose tag starts at `tag`, for those who want to see it wrap.
    pub fn with_tag(tag: u32) -> Self {
        Self { head: AtomicU64::new(u64::from(tag) << 32 | FIRST) }
    }

    /// Pushes a chain; adds to `lost` each exchange that another thread won.
    #[inline]
    pub fn push(&self, chain: Chain, links: &Links, lost: &mut u64) {
        let mut backoff = Backoff::new();
        let mut head = self.head.load(Ordering::Relaxed); // Only compared.
        let published = if cfg!(rt_mutant = "pool_push_unpublished") { Ordering::Relaxed } else { Ordering::Release };
        loop {
            links.of(chain.last).store((head & FIRST) as u32, Ordering::Release); // O3
            let to = head & !FIRST | u64::from(BlockId::to_word(Some(chain.first)));
            match self.head.compare_exchange_weak(head, to, published, Ordering::Relaxed) {
                Ok(_) => return, // O1
                Err(now) => head = now,
            }
            *lost += 1;
            backoff.spin();
        }
    }

    /// Pops the first block; adds to `lost` each exchange that another thread won.
    #[inline]
    pub fn pop(&self, links: &Links, lost: &mut u64) -> Option<BlockId> {
        let mut backoff = Backoff::new();
        let mut head = self.head.load(Ordering::Acquire); // O1
        loop {
            let id = first(head)?;
            let next = links.of(id).load(Ordering::Relaxed); // O2
            let to = retagged(head, next);
            match self.head.compare_exchange_weak(head, to, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(id),
                Err(now) => head = now,
            }
            *lost += 1;
            backoff.spin();
        }
    }

    /// Pops up to `most` blocks, by one exchange. Takes time in proportion to them; `most` is at least one.
    pub fn pop_some(&self, most: u32, links: &Links, lost: &mut u64) -> Option<Chain> {
        let mut backoff = Backoff::new();
        let mut head = self.head.load(Ordering::Acquire); // O1
        loop {
            let found = self.walk(head, most, links)?;
            let exchanged = found.and_then(|(chain, next)| {
                let to = retagged(head, next);
                let exchange = self.head.compare_exchange_weak(head, to, Ordering::Acquire, Ordering::Acquire);
                exchange.map(|_| chain)
            });
            match exchanged {
                Ok(chain) => return Some(chain),
                Err(now) => head = now,
            }
            *lost += 1;
            backoff.spin();
        }
    }

    /// The first blocks under `head`, up to `most`, and the link of the last of them; or what has become of the head
    /// meanwhile. `None` when there are no blocks.
    fn walk(&self, head: u64, most: u32, links: &Links) -> Option<Result<(Chain, u32), u64>> {
        let first = first(head)?;
        let (mut chain, mut next) = (Chain { first, last: first, len: 1 }, links.of(first).load(Ordering::Acquire));
        while chain.len < most as usize
            && let Some(id) = BlockId::from_word(next)
        {
            let now = self.head.load(Ordering::Acquire); // O3
            if now != head {
                return Some(Err(now));
            }
            (chain.last, chain.len) = (id, chain.len + 1);
            next = links.of(id).load(Ordering::Acquire);
        }
        Some(Ok((chain, next)))
    }

    /// Takes all blocks there are.
    pub fn take_all(&self, links: &Links) -> Option<Chain> {
        let mut head = self.head.load(Ordering::Acquire); // O1
        loop {
            let id = first(head)?;
            let to = retagged(head, BlockId::to_word(None));
            match self.head.compare_exchange_weak(head, to, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(measured(id, links)),
                Err(now) => head = now,
            }
        }
    }
}

/// The chain that begins with `first` and goes on to the link that names no block.
fn measured(first: BlockId, links: &Links) -> Chain {
    let (mut last, mut len) = (first, 1);
    while let Some(next) = BlockId::from_word(links.of(last).load(Ordering::Relaxed)) {
        last = next;
        len += 1;
    }
    Chain { first, last, len }
}
