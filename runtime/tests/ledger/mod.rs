//! Items that are counted as they are dropped, and the order that a consumer may see them in.

use std::sync::Arc;
// Not the runtime's: under shuttle what only counts beside a queue would be steps to schedule.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Which of the items of some producers have been dropped, and how often.
pub struct Ledger {
    drops: Vec<AtomicUsize>,
    each: usize,
}

/// One item of one producer.
pub struct Item {
    pub producer: usize,
    pub number: usize,
    ledger: Arc<Ledger>,
}

impl Ledger {
    pub fn new(producers: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { drops: (0..producers * each).map(|_| AtomicUsize::new(0)).collect(), each })
    }

    /// All of a producer's items, made at once: those that it never comes to push are dropped as well.
    pub fn items(self: &Arc<Self>, producer: usize) -> std::vec::IntoIter<Item> {
        let items: Vec<Item> = (0..self.each).map(|number| Item { producer, number, ledger: self.clone() }).collect();
        items.into_iter()
    }

    pub fn assert_each_dropped_once(&self) {
        for (index, drops) in self.drops.iter().enumerate() {
            let drops = drops.load(Relaxed);
            assert_eq!(drops, 1, "drops of item {} of producer {}", index % self.each, index / self.each);
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.ledger.drops[self.producer * self.ledger.each + self.number].fetch_add(1, Relaxed);
    }
}

/// One consumer's view: the items of each producer come in the order in which they were pushed.
#[derive(Default)]
pub struct Order {
    next: Vec<usize>,
    pub seen: usize,
}

impl Order {
    pub fn see(&mut self, item: &Item) {
        if self.next.len() <= item.producer {
            self.next.resize(item.producer + 1, 0);
        }
        let next = &mut self.next[item.producer];
        assert!(item.number >= *next, "item {} of producer {} after {}", item.number, item.producer, *next - 1);
        *next = item.number + 1;
        self.seen += 1;
    }
}
