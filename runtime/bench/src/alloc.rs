//! What tracking costs: pairs of an allocation and its free through mimalloc, and through `Tracked` around it.

use crate::measure::{Contender, compare, pin};
use mimalloc::MiMalloc;
use rheostat_runtime::alloc::{Class, Scope, Tracked};
use rustix::time::{ClockId, clock_gettime};
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

const PAIRS: u64 = 20_000_000;
/// Blocks that live at once in the second case.
const LIVE: usize = 1000;

static BARE: MiMalloc = MiMalloc;
static TRACKED: Tracked<MiMalloc> = Tracked::new(MiMalloc);

/// Time that the calling thread has had a processor: what others do on a busy machine is not in it.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds of one thread's own for a pair, with all threads at it at once, and the pairs that were done.
fn per_pair(threads: usize, scope: &Scope, pairs: impl Fn(u64) + Sync) -> (f64, u64) {
    let each = PAIRS / threads as u64;
    let barrier = Barrier::new(threads);
    let run = &|core| {
        pin(core);
        // What is allocated outside of every scope is counted too; in one, as a stage does, it is the same work.
        let _in = scope.enter();
        barrier.wait();
        let began = own_time();
        pairs(each);
        own_time() - began
    };
    let slowest = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|core| scope.spawn(move || run(core))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a bench thread panicked")).max().unwrap_or_default()
    });
    (slowest.as_nanos() as f64 / each as f64, each * threads as u64)
}

/// One block at a time.
fn in_a_row(allocator: &impl GlobalAlloc, pairs: u64) {
    let layout = Layout::from_size_align(64, 8).expect("a layout");
    for _ in 0..pairs {
        // SAFETY: the layout is not of size zero, and the block is freed once with it.
        unsafe {
            let block = black_box(allocator.alloc(layout));
            block.write(1);
            allocator.dealloc(block, layout);
        }
    }
}

/// A thousand blocks of 16 to 1024 bytes, of which a random one is replaced each time.
fn among_others(allocator: &impl GlobalAlloc, pairs: u64) {
    let layout = |random: u64| Layout::from_size_align(16 + (random >> 54) as usize, 8).expect("a layout");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut live: Vec<(*mut u8, Layout)> = (0..LIVE)
        .map(|_| {
            let layout = layout(random());
            // SAFETY: the layout is not of size zero.
            (unsafe { allocator.alloc(layout) }, layout)
        })
        .collect();
    for _ in 0..pairs {
        let random = random();
        let (block, old) = &mut live[(random % LIVE as u64) as usize];
        let new = layout(random);
        // SAFETY: the block was allocated with its layout, and another stands in its place now.
        unsafe {
            allocator.dealloc(*block, *old);
            (*block, *old) = (allocator.alloc(new), new);
            block.write(1);
        }
    }
    for (block, layout) in live {
        // SAFETY: as above, for the last time.
        unsafe { allocator.dealloc(block, layout) };
    }
}

/// Prints the tables.
pub fn run() {
    // The first allocation opts the process in.
    in_a_row(&TRACKED, 1);
    let scope = Scope::new(Class::Runs, "test");
    for threads in [1, 2, 4] {
        let case = |name: &str| format!("{name}, {threads} threads, ns per pair of one thread");
        compare(
            &case("64 B, one block at a time"),
            "ns",
            9,
            vec![
                Contender::new("mimalloc", || per_pair(threads, &scope, |pairs| in_a_row(&BARE, pairs))),
                Contender::new("Tracked<mimalloc>", || per_pair(threads, &scope, |pairs| in_a_row(&TRACKED, pairs))),
            ],
        );
        compare(
            &case("16 to 1024 B at random, 1000 live"),
            "ns",
            9,
            vec![
                Contender::new("mimalloc", || per_pair(threads, &scope, |pairs| among_others(&BARE, pairs))),
                Contender::new("Tracked<mimalloc>", || {
                    per_pair(threads, &scope, |pairs| among_others(&TRACKED, pairs))
                }),
            ],
        );
    }
    let scope = scope.counts().expect("the process tracks");
    println!("\n{} pairs were counted, {} bytes", scope.frees, scope.freed_bytes);
    let entered = Scope::new(Class::Runs, "test");
    compare(
        "entering a scope and leaving it, ns",
        "ns",
        9,
        vec![Contender::new("Scope::enter", || {
            let began = own_time();
            (0..PAIRS).for_each(|_| drop(black_box(entered.enter())));
            ((own_time() - began).as_nanos() as f64 / PAIRS as f64, PAIRS)
        })],
    );
}
