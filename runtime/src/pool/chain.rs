//! Free blocks of one class that are linked through the side array and owned together.
//!
//! A chain is the right to its blocks: whoever has it has them to himself. The link of its last block says nothing.

use super::number::{BlockId, Links};
use crate::sync::atomic::Ordering::{Relaxed, Release};

/// One or more free blocks.
#[derive(Debug)]
pub struct Chain {
    pub(super) first: BlockId,
    pub(super) last: BlockId,
    pub(super) len: usize,
}

/// Free blocks that one thread has to itself, or that lie behind a lock; last in, first out.
#[derive(Debug, Default)]
pub struct List(Option<Chain>);

impl List {
    /// Puts a block on top. Links are Release for O3 of `tagged`; what publishes a list publishes them too.
    #[inline]
    pub fn push(&mut self, id: BlockId, links: &Links) {
        match &mut self.0 {
            Some(chain) => {
                links.of(id).store(BlockId::to_word(Some(chain.first)), Release);
                chain.first = id;
                chain.len += 1;
            }
            None => self.0 = Some(Chain { first: id, last: id, len: 1 }),
        }
    }

    /// Takes the top block.
    #[inline]
    pub fn pop(&mut self, links: &Links) -> Option<BlockId> {
        let chain = self.0.as_mut()?;
        let id = chain.first;
        if chain.len == 1 {
            self.0 = None;
        } else {
            let next = links.of(id).load(Relaxed);
            chain.first = BlockId::from_word(next).expect("a block that is not its chain's last has a next one");
            chain.len -= 1;
        }
        Some(id)
    }

    /// Puts a whole chain on top.
    pub fn append(&mut self, chain: Chain, links: &Links) {
        match &mut self.0 {
            Some(below) => {
                links.of(chain.last).store(BlockId::to_word(Some(below.first)), Release);
                below.first = chain.first;
                below.len += chain.len;
            }
            None => self.0 = Some(chain),
        }
    }

    /// Puts a chain on top, if there is one.
    pub fn append_if(&mut self, chain: Option<Chain>, links: &Links) {
        chain.into_iter().for_each(|chain| self.append(chain, links));
    }

    /// Everything in it.
    pub fn take(&mut self) -> Option<Chain> {
        self.0.take()
    }

    /// Blocks in it.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chain| chain.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
