//! One size class of a pool: the places where its free blocks are. Who may reach which, and when, is said in `stock`.

use super::chain::List;
use super::magazine::Depot;
use super::number::{BlockId, Geometry, Links};
use super::tagged::TaggedList;
use crate::sync::{CachePadded, Mutex};

/// Bytes that a hand holds, but for classes whose single block is more.
const HAND_BYTES: usize = 8 << 10;

/// One size class.
#[derive(Debug)]
pub struct Shelf {
    pub(super) geometry: Geometry,
    pub(super) links: Links,
    pub(super) magazine_blocks: u32,
    pub(super) shared: CachePadded<TaggedList>,
    pub(super) locked: CachePadded<Mutex<List>>,
    pub(super) depot: CachePadded<Mutex<Depot>>,
    /// Held by who grows the class, and by who has taken its free blocks away to look through them.
    pub(super) growth: Mutex<()>,
}

impl Shelf {
    /// With nothing in it.
    pub fn new(geometry: Geometry, links: Links, magazine_blocks: u32, tag: u32) -> Self {
        Self {
            geometry,
            links,
            magazine_blocks,
            shared: CachePadded::new(TaggedList::with_tag(tag)),
            locked: CachePadded::default(),
            depot: CachePadded::default(),
            growth: Mutex::new(()),
        }
    }

    /// Blocks in a hand: no more than in a magazine, and no more bytes than anybody minds in a thread that sleeps.
    pub(super) fn hand_blocks(&self) -> u32 {
        ((HAND_BYTES / self.geometry.bytes()) as u32).min(self.magazine_blocks).max(1)
    }

    /// Puts a list's blocks on `shared`.
    pub(super) fn share(&self, mut list: List, lost: &mut u64) {
        if let Some(chain) = list.take() {
            self.shared.push(chain, &self.links, lost);
        }
    }
}

/// Fresh blocks, side by side: the first, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The first.
    pub first: BlockId,
    /// How many, at least one.
    pub len: u32,
}

impl Run {
    /// All but the first, the last one first: pushed so, they come out in their order.
    pub fn rest(self) -> impl Iterator<Item = BlockId> {
        let places = self.first.place() + 1..self.first.place() + self.len;
        places.rev().map(move |place| BlockId::new(self.first.chunk(), place))
    }
}
