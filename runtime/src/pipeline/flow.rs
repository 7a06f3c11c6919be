//! What the stages of one pipeline share: its end, its dead letters, its latency.

use crate::observe::{Cells, Spread};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Why a record was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The op panicked on it.
    Panic,
    /// The op refused it.
    Refused,
}

impl Reason {
    /// The reason as it is spelled in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Panic => "panic",
            Reason::Refused => "refused",
        }
    }
}

/// A record that an op failed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stage whose op failed.
    pub stage: String,
    /// How it failed.
    pub reason: Reason,
    /// What it said.
    pub why: String,
    /// The record, or its first 4 KiB; empty when it is a Rust value, which only its closure could describe.
    pub record: Vec<u8>,
}

/// Dead letters kept: the latest 1000, 4 KiB of each.
const LETTERS_MAX: usize = 1000;
const RECORD_BYTES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    kept: Mutex<VecDeque<DeadLetter>>,
    total: Cells<1>,
}

impl DeadLetters {
    pub fn keep(&self, stage: &str, reason: Reason, why: String, mut record: Vec<u8>) {
        self.total.add(0, 1);
        record.truncate(RECORD_BYTES_MAX);
        let mut kept = self.kept.lock();
        if kept.len() == LETTERS_MAX {
            kept.pop_front();
        }
        kept.push_back(DeadLetter { stage: stage.to_owned(), reason, why, record });
    }

    pub fn total(&self) -> u64 {
        self.total.sum(0)
    }

    pub fn all(&self) -> Vec<DeadLetter> {
        self.kept.lock().iter().cloned().collect()
    }
}

#[derive(Debug)]
pub(super) struct Flow {
    pub dead_letters: DeadLetters,
    /// From the source to the end of the last stage.
    pub latency: Spread,
    stopping: AtomicBool,
    abandoned: AtomicBool,
    /// Parts (source and stages) that have not come to their end.
    open: AtomicUsize,
    ended: Mutex<()>,
    end: Condvar,
}

impl Flow {
    /// A flow of `parts` parts.
    pub fn new(parts: usize) -> Self {
        Self {
            dead_letters: DeadLetters::default(),
            latency: Spread::new(),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            open: AtomicUsize::new(parts),
            ended: Mutex::new(()),
            end: Condvar::new(),
        }
    }

    /// Asks the source to stop; what it handed over goes its way.
    pub fn stop(&self) {
        // Relaxed, as below: flags that are polled and publish nothing.
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Asks everybody to drop what they hold.
    pub fn abandon(&self) {
        self.stop();
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// One part has come to its end. Release, so that who sees the last end sees all that was done before.
    pub fn part_ended(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Taken and dropped, so that nobody checks and sleeps between the two lines.
            drop(self.ended.lock());
            self.end.notify_all();
        }
    }

    pub fn has_ended(&self) -> bool {
        self.open_parts() == 0
    }

    /// Parts that have not come to their end.
    pub fn open_parts(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until every part has ended; false when that took longer than `timeout`.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout.min(Duration::from_secs(365 * 86_400));
        let mut ended = self.ended.lock();
        while !self.has_ended() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.end.wait_for(&mut ended, left);
        }
        true
    }
}
