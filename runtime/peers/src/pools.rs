//! Allocators of blocks. The cases are defined in the README.

use crate::Options;
use crate::measure::{self, Contender, Figure};
use mimalloc::MiMalloc;
use rheostat_runtime::pool::{Block, Level, LocalBlock, LocalPool, Pool, PoolLimits};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::{Arc, mpsc};

const LIVE: usize = 1000;
const PAIRS: u64 = 4_000_000;
const LIMITS: PoolLimits = PoolLimits { bytes_max: 64 << 20 };

/// Something that gives out blocks, as its user would use it.
trait Heap {
    type Held<'a>
    where
        Self: 'a;

    /// A block of `len` bytes.
    fn take(&self, len: usize) -> Self::Held<'_>;
    /// Where it begins.
    fn start(held: &Self::Held<'_>) -> *const u8;
}

/// A level of ours.
struct Ours(Arc<Pool>);

impl Ours {
    fn at(level: Level) -> Self {
        Self(Pool::new("peer", level, LIMITS).expect("the system has room for a pool"))
    }
}

impl Heap for Ours {
    type Held<'a> = Block;

    #[inline]
    fn take(&self, len: usize) -> Block {
        self.0.alloc(len).expect("the pool is large enough")
    }

    fn start(held: &Block) -> *const u8 {
        held.as_ptr()
    }
}

/// Our level unlocked as a type.
struct Local(LocalPool);

impl Heap for Local {
    type Held<'a> = LocalBlock<'a>;

    #[inline]
    fn take(&self, len: usize) -> LocalBlock<'_> {
        self.0.alloc(len).expect("the pool is large enough")
    }

    fn start(held: &LocalBlock<'_>) -> *const u8 {
        held.as_ptr()
    }
}

/// An allocator that is called directly, whatever the program's own is.
struct Direct<A>(A);

struct Raw<'a, A: GlobalAlloc>(&'a A, *mut u8, Layout);

// SAFETY: a block of a global allocator may be freed on any thread.
unsafe impl<A: GlobalAlloc + Sync> Send for Raw<'_, A> {}

impl<A: GlobalAlloc> Drop for Raw<'_, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: allocated there with that layout, and dropped once.
        unsafe { self.0.dealloc(self.1, self.2) }
    }
}

impl<A: GlobalAlloc> Heap for Direct<A> {
    type Held<'a>
        = Raw<'a, A>
    where
        A: 'a;

    #[inline]
    fn take(&self, len: usize) -> Raw<'_, A> {
        let layout = Layout::from_size_align(len, 16).expect("a small block");
        // SAFETY: no case asks for no bytes.
        Raw(&self.0, unsafe { self.0.alloc(layout) }, layout)
    }

    fn start(held: &Raw<'_, A>) -> *const u8 {
        held.1
    }
}

/// Takes a block and gives it back, so many times.
fn pairs<H: Heap>(heap: &H, len: usize, pairs: u64) {
    for _ in 0..pairs {
        let held = heap.take(black_box(len));
        black_box(H::start(&held));
    }
}

/// Exchanges one of [`LIVE`] blocks for one of another length, so many times.
fn exchanges<H: Heap>(heap: &H, seed: u64, exchanges: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut live: Vec<_> = (0..LIVE).map(|_| heap.take(random.usize(16..=1024))).collect();
    for _ in 0..exchanges {
        let place = random.usize(..LIVE);
        live[place] = heap.take(random.usize(16..=1024));
        black_box(H::start(&live[place]));
    }
}

/// One thread takes blocks and sends them, by the hundred, to another that gives them back.
fn handed_over<H: Heap + Sync>(heap: &H, blocks: u64) -> Figure
where
    for<'a> H::Held<'a>: Send,
{
    const RUN: u64 = 100;
    let (sender, receiver) = mpsc::sync_channel::<Vec<H::Held<'_>>>(8);
    let bodies: Vec<Box<dyn FnOnce() + Send + '_>> = vec![
        Box::new(move || {
            for _ in 0..blocks / RUN {
                sender.send((0..RUN).map(|_| heap.take(64)).collect()).expect("the other thread receives");
            }
        }),
        Box::new(move || receiver.into_iter().for_each(drop)),
    ];
    measure::together(blocks, bodies).0
}

fn on_threads<H: Heap + Sync>(heap: &H, threads: u64, work: impl Fn(&H, u64) + Sync) -> Figure {
    let work = &work;
    let body = |index| -> Box<dyn FnOnce() + Send + '_> { Box::new(move || work(heap, index)) };
    measure::together(PAIRS, (0..threads).map(body).collect()).0
}

const COLUMNS: [&str; 9] = [
    "64 B, 1 thread",
    "2 threads",
    "8 threads",
    "256 B",
    "1 KiB",
    "16 B to 1 KiB, 1000 live",
    "2 threads",
    "one takes, one gives back",
    "64 KiB",
];

/// What one thread alone can be asked: the figures of an allocator that is not shared.
fn alone<H: Heap>(heap: impl Fn() -> H + Sync, seed: u64) -> Vec<Option<Figure>> {
    let heap = &heap;
    let pair = |len| Some(measure::alone(PAIRS, move || pairs(&heap(), len, PAIRS)).0);
    let random = Some(measure::alone(PAIRS, move || exchanges(&heap(), seed, PAIRS)).0);
    vec![pair(64), None, None, pair(256), pair(1024), random, None, None, pair(65_536)]
}

fn shared<H: Heap + Sync>(heap: impl Fn() -> H + Sync, seed: u64) -> Vec<Option<Figure>>
where
    for<'a> H::Held<'a>: Send,
{
    let mut figures = alone(&heap, seed);
    let side_by_side = |threads| Some(on_threads(&heap(), threads, |heap, _| pairs(heap, 64, PAIRS / threads)));
    figures[1] = side_by_side(2);
    figures[2] = side_by_side(8);
    figures[6] = Some(on_threads(&heap(), 2, |heap, index| exchanges(heap, seed + index, PAIRS / 2)));
    figures[7] = Some(handed_over(&heap(), PAIRS / 4));
    figures
}

/// Runs and prints the table.
pub fn run(options: Options) {
    let contender = |name: &str, run: Box<dyn FnMut(u64) -> Vec<Option<Figure>>>| Contender {
        name: name.to_owned(),
        run,
        remark: format!("{PAIRS} pairs each"),
    };
    let level = |level: Level| -> Box<dyn FnMut(u64) -> Vec<Option<Figure>>> {
        match level {
            Level::Unlocked => Box::new(|seed| alone(|| Ours::at(Level::Unlocked), seed)),
            level => Box::new(move |seed| shared(move || Ours::at(level), seed)),
        }
    };
    let local = || Local(LocalPool::new(LIMITS).expect("the system has room for a pool"));
    let mut contenders = vec![contender("*local", Box::new(move |seed| alone(local, seed)))];
    for each in Level::ALL {
        contenders.push(contender(&format!("*{each}"), level(each)));
    }
    contenders.push(contender("mimalloc", Box::new(|seed| shared(|| Direct(MiMalloc), seed))));
    contenders.push(contender("glibc", Box::new(|seed| shared(|| Direct(System), seed))));
    let rows = measure::repeat(options, contenders);
    measure::print("Pools: ns for a block taken and given back", &COLUMNS, "equal work", &rows);
}
