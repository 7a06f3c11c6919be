//! Who sleeps, and who wakes them (O3).

use super::bias::{Bias, Mark};
use super::slots::TICKET;
use super::{AWAITED, CLOSED, Ring};
use crate::sync::Flag;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};

/// The announcement of sleepers in a position word.
#[derive(Clone, Copy)]
pub(super) struct Awaited<'a> {
    word: &'a AtomicUsize,
    mark: &'a Mark,
    bias: &'a Bias,
}

impl Flag for Awaited<'_> {
    fn raise(&self) {
        self.bias.revoke_and(self.mark, || self.word.fetch_or(AWAITED, Relaxed)); // O3, I6
    }
    fn lower(&self) {
        self.word.fetch_and(!AWAITED, Relaxed); // I6: the flag is up, so there is no bias.
    }
}

impl<T> Ring<T> {
    /// Wakes every consumer that sleeps in a pop, so that it looks again whether to give up.
    pub fn wake_consumers(&self) {
        self.item_waits.parking.wake_all(&self.consumers_asleep());
    }

    pub(super) fn wake_producers(&self) {
        self.room_waits.parking.wake_all(&self.producers_asleep());
    }

    pub(super) fn consumers_asleep(&self) -> Awaited<'_> {
        Awaited { word: &self.tail.word, mark: &self.tail.mark, bias: &self.shape.push_bias }
    }

    pub(super) fn producers_asleep(&self) -> Awaited<'_> {
        Awaited { word: &self.head.word, mark: &self.head.mark, bias: &self.shape.pop_bias }
    }

    /// O3: true when every ticket handed to a producer has been handed to a consumer, and more may come.
    pub(super) fn has_no_item(&self) -> bool {
        let tail = self.tail.word.load(Acquire);
        tail & CLOSED == 0 && tail & TICKET == self.head.word.load(Acquire) & TICKET
    }

    /// O3: true when no consumer has so much as claimed what would make room, and one still may.
    pub(super) fn has_no_room(&self) -> bool {
        let tail = self.tail.word.load(Acquire);
        tail & CLOSED == 0 && self.length(tail & TICKET, self.head.word.load(Acquire)) >= self.limit() as isize
    }

    /// After a push that claimed from `tail`. A run wakes one as well: it wakes the next if it leaves something.
    #[inline(always)]
    pub(super) fn published(&self, tail: usize) {
        if tail & AWAITED != 0 && !cfg!(rt_mutant = "ring_sleepers_unheard") {
            self.wake_consumer();
        }
    }

    /// After a pop that moved `head` to `next`.
    #[inline(always)]
    pub(super) fn vacated(&self, head: usize, next: usize) {
        if head & AWAITED != 0 {
            self.wake_producer(next);
        }
    }

    #[cold]
    fn wake_consumer(&self) {
        self.item_waits.parking.wake_one(&self.consumers_asleep());
    }

    /// Wakes a producer if there is room, seen from `head`. While a lowered limit drains there is none, and the pop
    /// that makes the first room sees so: the ring takes no pushes until then.
    #[cold]
    fn wake_producer(&self, head: usize) {
        if self.length(self.tail.word.load(Relaxed), head) < self.limit() as isize {
            self.room_waits.parking.wake_one(&self.producers_asleep());
        }
    }

    /// A consumer that slept was perhaps woken for a run, and took less.
    pub(super) fn pass_item_on(&self, was_announced: bool) {
        if was_announced && self.tail.word.load(Relaxed) & AWAITED != 0 && !self.is_empty() {
            self.wake_consumer();
        }
    }

    /// A producer that slept was perhaps woken for a run of free slots, and used less.
    pub(super) fn pass_room_on(&self, was_announced: bool) {
        let head = self.head.word.load(Relaxed);
        if was_announced && head & AWAITED != 0 {
            self.wake_producer(head);
        }
    }
}
