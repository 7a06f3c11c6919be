//! Garbage that was gathered from bags: full blocks as they are, and the pieces of those that were not full.
//!
//! Who gathers is in the midst of somebody's operation, and where a reader slept there may be millions of objects. So
//! blocks change hands and are not copied: 16 bytes for 63 objects, instead of 24 for each, in memory that would have to
//! be fetched for it.

use super::bag::{Filled, Garbage};

/// Garbage in no order. What is in it is leaked unless it is [emptied](Self::empty).
#[derive(Default)]
pub(super) struct Pile {
    filled: Vec<Filled>,
    pieces: Vec<Garbage>,
}

impl Pile {
    pub(super) fn is_empty(&self) -> bool {
        self.filled.is_empty() && self.pieces.is_empty()
    }

    pub(super) fn add(&mut self, filled: Filled) {
        if filled.len() > 0 {
            self.filled.push(filled);
        }
    }

    pub(super) fn add_pieces(&mut self, pieces: impl Iterator<Item = Garbage>) {
        self.pieces.extend(pieces);
    }

    /// Adds all of another pile, whose memory is taken over where this one is empty.
    pub(super) fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else {
            self.filled.extend(other.filled);
            self.pieces.extend(other.pieces);
        }
    }

    /// At most `most` objects, or a block: blocks first, so that pieces never keep the bulk waiting.
    pub(super) fn take(&mut self, most: usize) -> Self {
        let (mut taken, mut objects) = (Self::default(), 0);
        while let Some(filled) = self.filled.pop_if(|filled| objects == 0 || objects + filled.len() <= most) {
            objects += filled.len();
            taken.filled.push(filled);
        }
        let pieces_left = self.pieces.len().saturating_sub(most.saturating_sub(objects));
        taken.pieces = self.pieces.split_off(pieces_left);
        taken
    }

    pub(super) fn empty(self, mut each: impl FnMut(Garbage)) {
        self.pieces.into_iter().for_each(&mut each);
        self.filled.into_iter().for_each(|filled| filled.empty(&mut each));
    }
}
