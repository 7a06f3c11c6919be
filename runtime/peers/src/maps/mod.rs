//! Maps from `u64` to `u64`. The phases are defined in the README.

#[cfg(any(have_cuckoo, have_tbb, have_cds))]
mod cpp;
pub mod handover;
mod ours;
mod rust;
mod steps;

use crate::Options;
use crate::measure::{self, Contender, Figure, brief};
use crate::memory::{self, Heap};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use steps::{Keys, Kind, Step, Steps};

/// A map as its user would use it.
trait Peer: Sync {
    /// The value under the key.
    fn get(&self, key: u64) -> Option<u64>;
    /// Puts a value in, whether the key was there or not; says whether it was new.
    fn put(&self, key: u64, value: u64) -> bool;
    /// Takes the entry out; says whether it was there.
    fn remove(&self, key: u64) -> bool;
    /// Before and after a thread uses maps of this kind.
    fn attach() {}
    fn detach() {}
}

/// The columns of the table.
const PHASES: [&str; 5] = ["inserts from empty", "read", "95/5", "zipf 0.99, 95/5", "70/10/10/10"];
/// Entries of a table, and the operations of each of its phases. Below some millions, more operations than entries:
/// one pass over a small map would be over before it is measured.
const SIZES: [(usize, u64); 3] = [(10_000, 4_000_000), (1_000_000, 4_000_000), (10_000_000, 10_000_000)];
const QUICK_SIZES: [(usize, u64); 2] = [(10_000, 100_000), (100_000, 100_000)];
const THREADS: [usize; 3] = [1, 2, 4];

/// A table of any size, with as many operations as one of those above would have.
fn size(entries: usize, quick: bool) -> (usize, u64) {
    let least = if quick { QUICK_SIZES[0].1 } else { SIZES[0].1 };
    (entries, if quick { least } else { least.max(entries as u64) })
}

/// What is done to the maps of one repetition.
struct Work {
    options: Options,
    entries: usize,
    threads: usize,
    operations: u64,
    /// Bytes per entry of each contender, measured with the first table of a size.
    memory: Rc<RefCell<BTreeMap<String, String>>>,
}

/// One repetition: a fresh map goes through all phases.
fn repetition<P: Peer>(make: &dyn Fn(usize) -> P, work: &Work, seed: u64) -> Vec<Option<Figure>> {
    let Work { entries, threads, operations, .. } = *work;
    memory::wake_host();
    P::attach();
    let (keys, map) = (Keys::new(seed), make(entries));
    let parts = |steps: &[Steps], phase: fn(&P, &mut dyn Iterator<Item = Step>) -> Tally| {
        let bodies = steps.iter().map(|steps| -> Box<dyn FnOnce() -> Tally + Send + '_> {
            let map = &map;
            Box::new(move || {
                P::attach();
                let tally = phase(map, &mut steps.iter());
                P::detach();
                tally
            })
        });
        let all = steps.iter().map(Steps::len).sum();
        let (figure, tallies) = measure::together(all, bodies.collect());
        (figure, tallies.into_iter().fold(Tally::default(), Tally::and))
    };
    let each = operations / threads as u64;
    let streams = |stream: &dyn Fn(u64) -> Steps| -> Vec<Steps> { (0..threads as u64).map(stream).collect() };

    let (inserts, tally) = parts(&streams(&|part| keys.inserts(entries, threads, part)), perform);
    assert_eq!(tally.added, entries as u64, "each key was new once");
    let (read, tally) = parts(&streams(&|part| keys.uniform(entries, each, 0, part)), perform);
    assert_eq!(tally.hits, each * threads as u64, "every read key is there");
    let (mixed, tally) = parts(&streams(&|part| keys.uniform(entries, each, 5, part)), perform);
    assert_eq!((tally.hits + tally.updates, tally.added), (each * threads as u64, 0), "every key is there");
    let (skewed, tally) = parts(&streams(&|part| keys.zipf(entries, each, 5, part)), perform);
    assert_eq!((tally.hits + tally.updates, tally.added), (each * threads as u64, 0), "every key is there");
    let (churn, tally) = parts(&streams(&|part| keys.churn(entries, each, part)), perform);
    let left = keys.all(2 * entries).filter(|key| map.get(*key).is_some()).count() as u64;
    assert_eq!(entries as u64 + tally.added - tally.removed, left, "what was added and not removed is there");
    drop(map);
    P::detach();
    [inserts, read, mixed, skewed, churn].map(Some).into()
}

/// What came of the steps of a phase.
#[derive(Default)]
struct Tally {
    hits: u64,
    updates: u64,
    added: u64,
    removed: u64,
}

impl Tally {
    fn and(self, other: Tally) -> Tally {
        Tally {
            hits: self.hits + other.hits,
            updates: self.updates + other.updates,
            added: self.added + other.added,
            removed: self.removed + other.removed,
        }
    }
}

fn perform<P: Peer>(map: &P, steps: &mut dyn Iterator<Item = Step>) -> Tally {
    let mut tally = Tally::default();
    for Step { key, kind } in steps {
        match kind {
            Kind::Get => tally.hits += u64::from(black_box(map.get(key)).is_some()),
            Kind::Put if map.put(key, !key) => tally.added += 1,
            Kind::Put => tally.updates += 1,
            Kind::Remove => tally.removed += u64::from(map.remove(key)),
        }
    }
    tally
}

/// Makes the row of a contender; measures its memory, once, as that does not vary, and if it takes part.
fn contender<'a, P: Peer + 'a>(
    name: &str,
    heap: Heap,
    work: &'a Work,
    make: impl Fn(usize) -> P + 'a,
) -> Contender<'a> {
    let mut known = work.memory.borrow_mut();
    if !work.options.wants(name) {
        known.insert(name.into(), String::new());
    }
    let remark = known.entry(name.into()).or_insert_with(|| memory_per_entry(heap, work.entries, &make)).clone();
    Contender { name: name.into(), run: Box::new(move |seed| repetition(&make, work, seed)), remark }
}

fn memory_per_entry<P: Peer>(heap: Heap, entries: usize, make: &dyn Fn(usize) -> P) -> String {
    P::attach();
    let keys = Keys::new(0);
    let (map, grown, peak) = memory::of(heap, || {
        let map = make(entries);
        keys.all(entries).for_each(|key| _ = map.put(key, !key));
        map
    });
    drop(map);
    P::detach();
    let per_entry = |bytes: usize| brief(bytes as f64 / entries as f64);
    format!("{} / {}", per_entry(grown), peak.map_or("?".into(), per_entry))
}

/// Prints a table for each size and number of threads, and what our face adds to the structures behind it.
pub fn run(options: Options) {
    let sizes = if options.quick { &QUICK_SIZES[..] } else { &SIZES[..] };
    for (entries, operations) in options.entries.map_or(sizes.to_vec(), |only| vec![size(only, options.quick)]) {
        let memory = Rc::<RefCell<_>>::default();
        for threads in THREADS.into_iter().filter(|threads| options.threads.is_none_or(|only| only == *threads)) {
            let work = Work { options, entries, threads, operations, memory: memory.clone() };
            let mut contenders = ours::contenders(&work);
            contenders.extend(rust::contenders(&work));
            #[cfg(any(have_cuckoo, have_tbb, have_cds))]
            contenders.extend(cpp::contenders(&work));
            let rows = measure::repeat(options, contenders);
            let title = format!("Maps, {entries} entries, {}: ns per operation", measure::threads(threads));
            measure::print(&title, &PHASES, "bytes per entry, grown / at the peak of growing", &rows);
            measure::print_faces(&PHASES, &rows, &FACED);
        }
    }
    let missing: Vec<&str> = [("libcuckoo", cfg!(have_cuckoo)), ("oneTBB", cfg!(have_tbb)), ("libcds", cfg!(have_cds))]
        .into_iter()
        .filter_map(|(name, have)| (!have).then_some(name))
        .collect();
    if !missing.is_empty() {
        println!("\nNot in this build: {} (see the README on `--features cpp`).", missing.join(", "));
    }
}

/// Our face over a structure beside the crate that the structure is.
const FACED: [(&str, &str); 3] = [("**sharded**", "dashmap"), ("**lock_free**", "flurry"), ("**papaya**", "papaya")];
