//! Counts records into a hosted map.
//!
//! Each worker counts into a table of its own and adds the sums to the map when it flushes: a word that occurs a
//! thousand times between two flushes costs the map one update. The map lags behind by at most a flush interval,
//! and holds the exact counts once the pipeline has drained.

use super::records::Records;
use crate::map::CounterMap;
use crate::pipeline::{Op, Outbox, Reason, Refused};
use crate::sync::Arc;
use std::collections::HashMap;

/// Keys a worker keeps: about a megabyte for words. A table that grows past it is flushed and begun anew.
const KEYS_MAX: usize = 16 << 10;

/// Counts records by their bytes.
pub(super) struct Count {
    map: Arc<CounterMap>,
    /// Keys stay with a count of zero after a flush, since the next batch is likely to hold them again.
    sums: HashMap<Box<[u8]>, i64, foldhash::fast::RandomState>,
    is_dirty: bool,
}

impl Count {
    pub fn into(map: Arc<CounterMap>) -> Self {
        Self { map, sums: HashMap::default(), is_dirty: false }
    }
}

impl Op<Records, Records> for Count {
    fn run(&mut self, input: &mut Records, next: &mut usize, out: &mut Outbox<'_, Records>) -> Result<(), Refused> {
        self.is_dirty = true;
        for record in input.iter_from(*next) {
            match self.sums.get_mut(record) {
                Some(sum) => *sum += 1,
                None => {
                    self.sums.insert(record.into(), 1);
                }
            }
            *next += 1;
        }
        if self.sums.len() > KEYS_MAX {
            self.flush(out);
            self.sums.clear();
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Outbox<'_, Records>) {
        self.is_dirty = false;
        for (key, sum) in &mut self.sums {
            let sum = std::mem::take(sum);
            if sum == 0 {
                continue;
            }
            if let Err(why) = self.map.add(key, sum) {
                out.set_aside(key.to_vec(), Reason::Refused, format!("{sum} counts not added: {why}"));
            }
        }
    }

    fn is_dirty(&self) -> bool {
        self.is_dirty
    }
}
