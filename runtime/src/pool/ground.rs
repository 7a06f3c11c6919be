//! The memory of a pool, in chunks that are given to size classes and taken back from them.
//!
//! Constraints. Chunks are 64 KiB, and lie side by side in one region of reserved addresses, so that blocks have
//! numbers (`number`). A chunk belongs to one class at a time; its blocks are carved in order, as they are needed, and
//! memory that was never carved is never touched. Beside the chunks lie the links of their blocks, 4 bytes for each:
//! 4096 to the chunk in one array for classes below 256 bytes, 256 in another for all others.
//!
//! I1  A place in a chunk is carved once for each time that the chunk is given to a class.
//! I2  `held` counts the bytes carved and those of large blocks, kept ones too, and never exceeds the limit: it is
//!     raised before anything is carved, and lowered when a chunk or a region goes back.
//! I3  Chunks that were committed once stay so, and their links with them (I2 of `number`): a chunk that goes back to
//!     the system reads as zero.
//! I4  Every byte of a committed chunk is initialised whenever a block begins: the system gives zeroes, a `Block` is
//!     only ever written bytes, and what else was made of a block, whose padding is nothing to the compiler, is made
//!     bytes again before it comes home (`bytes_again` in `allocator`). Large blocks likewise.
//! Progress: blocking. Everything here is growth, or the way back.
//!
//! Not promised: that the tail of a chunk, which is too short for a block, is of use.

use super::chain::{Chain, List};
use super::number::{BlockId, CHUNK_BYTES, CHUNKS_MAX, Geometry, Links};
use super::region::Region;
use super::shelf::{Run, Shelf};
use super::size_class::{CLASSES, SizeClass};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::ptr::NonNull;

/// Chunks that are committed at a time, at least.
const COMMIT_CHUNKS: usize = 16;
/// The most at a time.
const COMMIT_CHUNKS_MAX: usize = 1024;
const DENSE_BITS: u32 = 12;
const SPARSE_BITS: u32 = 8;
const LINK_BYTES: usize = size_of::<u32>();

/// Why there is no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMemory {
    /// The limit, with what is held.
    Limit {
        /// Bytes held.
        held: usize,
    },
    /// The system.
    System {
        /// Bytes asked for.
        bytes: usize,
    },
}

/// What a pool's memory comes to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// Bytes carved for the class.
    pub carved: usize,
    /// Bytes of the chunks it has.
    pub chunks: usize,
}

/// The memory.
#[derive(Debug)]
pub struct Ground {
    region: Region,
    dense: Region,
    sparse: Region,
    held: AtomicUsize,
    bytes_max: usize,
    huge_pages: bool,
    plots: Mutex<Plots>,
}

#[derive(Debug)]
struct Plots {
    /// By class: the chunk that is being carved.
    cutting: [Cutting; CLASSES],
    chunks: Vec<Chunk>,
    /// Chunks that were given back and lie before one that was not, the last of them first: the first is given out
    /// next, so that chunks in use gather at the beginning, where a fixed pool wants them.
    returned: Vec<u32>,
    /// Where the last chunk ends that a class has, in chunks.
    reached: usize,
    committed: usize,
    /// Chunks that may be used.
    usable: usize,
    /// No system call for more; set at level `fixed`.
    fixed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cutting {
    chunk: u32,
    next: u32,
    uncut: u32,
    extent: Extent,
}

#[derive(Debug, Clone, Copy, Default)]
struct Chunk {
    /// The index of the class that has it.
    class: u8,
    carved: u32,
    idle: u32,
}

impl Ground {
    /// Reserves addresses for a pool of `bytes_max`; `None` when the system refuses.
    pub fn new(bytes_max: usize, huge_pages: bool) -> Option<Self> {
        // The longest blocks leave almost half of a chunk, and every class may have one that it has just begun.
        let usable = (bytes_max / (CHUNK_BYTES / 2)).saturating_add(2 * CLASSES).min(CHUNKS_MAX);
        let usable = usable.next_multiple_of(COMMIT_CHUNKS).min(CHUNKS_MAX);
        let region = Region::reserve(usable * CHUNK_BYTES)?;
        if huge_pages {
            region.prefer_huge_pages();
        }
        let plots = Plots {
            cutting: [Cutting::default(); CLASSES],
            chunks: Vec::new(),
            returned: Vec::new(),
            reached: 0,
            committed: 0,
            usable,
            fixed: false,
        };
        Some(Self {
            region,
            dense: Region::reserve((usable << DENSE_BITS) * LINK_BYTES)?,
            sparse: Region::reserve((usable << SPARSE_BITS) * LINK_BYTES)?,
            held: AtomicUsize::new(0),
            bytes_max,
            huge_pages,
            plots: Mutex::new(plots),
        })
    }

    /// Where the blocks of a class lie, and their links, for as long as the ground is there.
    pub fn lay_out(&self, class: SizeClass) -> (Geometry, Links) {
        let geometry = Geometry::new(self.region.start(), class.bytes());
        let (links, bits) = if is_dense(class) { (&self.dense, DENSE_BITS) } else { (&self.sparse, SPARSE_BITS) };
        // SAFETY: links are committed with their chunks, before any of their blocks is carved (I3).
        let links = unsafe { Links::new(links.start().cast::<AtomicU32>(), bits) };
        (geometry, links)
    }

    /// The shelf of a class on this ground. It may be used as long as the ground is there.
    pub fn shelf(&self, class: SizeClass, magazine_blocks: u32) -> Shelf {
        let (geometry, links) = self.lay_out(class);
        Shelf::new(geometry, links, magazine_blocks, 0)
    }

    /// Bytes held from the system.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// The limit.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether memory is to lie on huge pages.
    pub fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// What a class has.
    pub fn extent(&self, class: usize) -> Extent {
        self.plots.lock().cutting[class].extent
    }

    /// Chunks that classes have.
    pub fn chunks_in_use(&self) -> usize {
        let plots = self.plots.lock();
        plots.reached - plots.returned.len()
    }

    /// Raises `held` by up to `most` times `bytes`, as often as the limit allows, and says how often.
    pub fn hold(&self, bytes: usize, most: usize) -> Result<usize, NoMemory> {
        let room = |held: usize| ((self.bytes_max - held) / bytes).min(most);
        self.held
            .fetch_update(Relaxed, Relaxed, |held| Some(room(held)).filter(|&n| n > 0).map(|n| held + n * bytes))
            .map(room)
            .map_err(|held| NoMemory::Limit { held })
    }

    /// Lowers it again.
    pub fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    /// Carves up to `most` blocks of a class.
    pub fn carve(&self, class: SizeClass, most: u32) -> Result<Run, NoMemory> {
        let mut plots = self.plots.lock();
        let (index, bytes) = (class.index(), class.bytes());
        let uncut = match plots.cutting[index].uncut {
            0 => (CHUNK_BYTES / bytes) as u32,
            uncut => uncut,
        };
        let len = self.hold(bytes, most.min(uncut) as usize)? as u32;
        if plots.cutting[index].uncut == 0 {
            let chunk = self.chunk(&mut plots).inspect_err(|_| self.let_go(len as usize * bytes))?;
            let cutting = &mut plots.cutting[index];
            (cutting.chunk, cutting.next, cutting.uncut) = (chunk, 0, uncut);
            cutting.extent.chunks += CHUNK_BYTES;
        }
        let cutting = &mut plots.cutting[index];
        let run = Run { first: BlockId::new(cutting.chunk, cutting.next), len };
        cutting.next += len;
        cutting.uncut -= len;
        cutting.extent.carved += len as usize * bytes;
        let chunk = &mut plots.chunks[run.first.chunk() as usize];
        chunk.class = index as u8;
        chunk.carved += len;
        Ok(run)
    }

    /// A chunk that no class has.
    fn chunk(&self, plots: &mut Plots) -> Result<u32, NoMemory> {
        if let Some(chunk) = plots.returned.pop() {
            return Ok(chunk);
        }
        if plots.reached == plots.usable {
            return Err(NoMemory::Limit { held: self.held() });
        }
        if plots.reached == plots.committed {
            let step = (plots.committed / 4).clamp(COMMIT_CHUNKS, COMMIT_CHUNKS_MAX).next_multiple_of(COMMIT_CHUNKS);
            self.commit(plots, step.min(plots.usable - plots.committed))?;
        }
        plots.reached += 1;
        Ok(plots.reached as u32 - 1)
    }

    fn commit(&self, plots: &mut Plots, chunks: usize) -> Result<(), NoMemory> {
        let from = plots.committed;
        let committed = plots.chunks.try_reserve(chunks).is_ok()
            && plots.returned.try_reserve(plots.chunks.len() + chunks).is_ok()
            && [
                (&self.region, CHUNK_BYTES),
                (&self.dense, LINK_BYTES << DENSE_BITS),
                (&self.sparse, LINK_BYTES << SPARSE_BITS),
            ]
            .into_iter()
            .all(|(region, bytes)| region.commit(from * bytes, chunks * bytes));
        if !committed {
            return Err(NoMemory::System { bytes: chunks * CHUNK_BYTES });
        }
        plots.committed += chunks;
        let len = plots.committed;
        plots.chunks.resize(len, Chunk::default());
        Ok(())
    }

    /// Has all memory that the limit allows there and touched, and no more asked for from now on. Refused when a class
    /// has a chunk that lies beyond: then it says how many bytes there are up to its end. Refused as if by the system
    /// when the limit is more than there are numbers for. What was touched until then stays so until
    /// [`unfix`](Self::unfix).
    ///
    /// Others carve meanwhile, and nobody may give chunks back: what was touched would not be there any more.
    pub fn fix(&self) -> Result<(), NoMemory> {
        let usable = self.bytes_max / CHUNK_BYTES;
        if usable > self.region.bytes() / CHUNK_BYTES {
            return Err(NoMemory::System { bytes: self.bytes_max });
        }
        let fits = |plots: &Plots| {
            let held = plots.reached * CHUNK_BYTES;
            if plots.reached > usable { Err(NoMemory::Limit { held }) } else { Ok(()) }
        };
        fits(&self.plots.lock())?;
        self.touch(usable)?;
        let mut plots = self.plots.lock();
        fits(&plots)?;
        if !cfg!(rt_mutant = "pool_fixed_grows") {
            plots.usable = usable;
        }
        plots.fixed = true;
        Ok(())
    }

    /// Has memory for the first `bytes` of chunks there and touched, or for as many as the limit allows.
    pub fn provide(&self, bytes: usize) -> Result<(), NoMemory> {
        let usable = self.plots.lock().usable;
        self.touch(bytes.min(self.bytes_max).div_ceil(CHUNK_BYTES).min(usable))
    }

    /// Has the first chunks, and the links of their blocks, committed and touched. The system may take seconds to touch
    /// much, so others are not kept from the plots then.
    fn touch(&self, chunks: usize) -> Result<(), NoMemory> {
        let mut plots = self.plots.lock();
        if plots.committed < chunks {
            let missing = chunks - plots.committed;
            // In whole steps, for the links of one chunk are less than a page.
            let most = self.region.bytes() / CHUNK_BYTES - plots.committed;
            self.commit(&mut plots, missing.next_multiple_of(COMMIT_CHUNKS).min(most))?;
        }
        drop(plots);
        let sparse = (chunks * (LINK_BYTES << SPARSE_BITS)).next_multiple_of(4096);
        let populated = cfg!(rt_mutant = "pool_fixed_untouched")
            || self.region.populate(0, chunks * CHUNK_BYTES)
                && self.dense.populate(0, chunks * (LINK_BYTES << DENSE_BITS))
                && self.sparse.populate(0, sparse.min(self.sparse.bytes()));
        if populated { Ok(()) } else { Err(NoMemory::System { bytes: chunks * CHUNK_BYTES }) }
    }

    /// Lets it grow again, and shrink: what was touched for nobody yet goes back to the system.
    pub fn unfix(&self) {
        let mut plots = self.plots.lock();
        (plots.usable, plots.fixed) = (self.region.bytes() / CHUNK_BYTES, false);
        let chunks = &plots.chunks;
        let is_free = |chunk: usize| chunks[chunk].carved == 0;
        release(&self.region, CHUNK_BYTES, chunks.len(), is_free);
        let has_dense = |chunk: usize| is_dense(SizeClass::at(usize::from(chunks[chunk].class)));
        release(&self.dense, LINK_BYTES << DENSE_BITS, chunks.len(), |chunk| is_free(chunk) || !has_dense(chunk));
        // Those of one chunk are less than a page.
        let to_page = 4096 / (LINK_BYTES << SPARSE_BITS);
        let is_free_page = |page: usize| (page * to_page..(page + 1) * to_page).all(is_free);
        release(&self.sparse, 4096, chunks.len() / to_page, is_free_page);
    }

    /// The block in which an address lies, if it was carved: its class, and where it begins.
    pub fn find(&self, address: NonNull<u8>) -> Option<(SizeClass, NonNull<u8>)> {
        let offset = (address.as_ptr() as usize).checked_sub(self.region.start().as_ptr() as usize)?;
        let plots = self.plots.lock();
        let chunk = plots.chunks.get(offset / CHUNK_BYTES).filter(|chunk| chunk.carved > 0)?;
        let class = SizeClass::at(usize::from(chunk.class));
        let place = offset % CHUNK_BYTES / class.bytes();
        let begins = offset / CHUNK_BYTES * CHUNK_BYTES + place * class.bytes();
        // SAFETY: a block that was carved lies in the region.
        (place < chunk.carved as usize).then(|| (class, unsafe { self.region.start().add(begins) }))
    }

    /// Looks through idle blocks of a class for chunks whose blocks are all among them, and gives those back to the
    /// system, but for as many as make `keep` bytes. Says what is left, and how many bytes were given back. `forget` is
    /// told before that, if there are any, which addresses lie in them.
    pub fn sift(
        &self,
        class: usize,
        idle: Chain,
        shelf: &Shelf,
        keep: usize,
        forget: impl FnOnce(&dyn Fn(usize) -> bool),
    ) -> (List, usize) {
        let mut rest = List::default();
        rest.append(idle, &shelf.links);
        let mut plots = self.plots.lock();
        if plots.fixed {
            return (rest, 0);
        }
        let bytes = shelf.geometry.bytes();
        let mut blocks = std::mem::take(&mut rest);
        while let Some(id) = blocks.pop(&shelf.links) {
            plots.chunks[id.chunk() as usize].idle += 1;
            rest.push(id, &shelf.links);
        }
        let (mut kept, mut released, mut gone) = (0, 0, Vec::new());
        blocks = std::mem::take(&mut rest);
        while let Some(id) = blocks.pop(&shelf.links) {
            let chunk = &mut plots.chunks[id.chunk() as usize];
            let whole = chunk.carved as usize * bytes;
            if chunk.idle == GOING {
                continue;
            }
            if chunk.idle > 0 && chunk.idle == chunk.carved && kept >= keep && gone.try_reserve(1).is_ok() {
                (chunk.idle, released) = (GOING, released + whole);
                gone.push(id.chunk());
                continue;
            }
            if chunk.idle == chunk.carved {
                kept += whole;
            }
            chunk.idle = 0;
            rest.push(id, &shelf.links);
        }
        gone.sort_unstable();
        if !gone.is_empty() {
            let base = self.region.start().as_ptr() as usize;
            let chunk_of = |address: usize| u32::try_from(address.checked_sub(base)? / CHUNK_BYTES).ok();
            forget(&|address| chunk_of(address).is_some_and(|chunk| gone.binary_search(&chunk).is_ok()));
        }
        for run in gone.chunk_by(|one, next| one + 1 == *next) {
            self.region.release(run[0] as usize * CHUNK_BYTES, run.len() * CHUNK_BYTES);
        }
        for &chunk in &gone {
            plots.chunks[chunk as usize] = Chunk::default();
            let cutting = &mut plots.cutting[class];
            cutting.extent.chunks -= CHUNK_BYTES;
            if cutting.chunk == chunk {
                cutting.uncut = 0;
            }
        }
        plots.cutting[class].extent.carved -= released;
        plots.take_back(&gone);
        drop(plots);
        self.let_go(released);
        (rest, released)
    }
}

/// Whether a chunk has more blocks of the class than there are links to a chunk in the sparse array.
fn is_dense(class: SizeClass) -> bool {
    CHUNK_BYTES / class.bytes() > 1 << SPARSE_BITS
}

/// Gives those parts of a region back that idle, of `parts` with so many bytes each, run by run.
fn release(region: &Region, bytes: usize, parts: usize, idles: impl Fn(usize) -> bool) {
    let mut from = 0;
    while from < parts {
        let len = (from..parts).take_while(|&part| idles(part) == idles(from)).count();
        if idles(from) {
            region.release(from * bytes, len * bytes);
        }
        from += len;
    }
}

impl Plots {
    /// Chunks that no class has any more. There is room for them (`commit`).
    fn take_back(&mut self, chunks: &[u32]) {
        if chunks.is_empty() {
            return;
        }
        self.returned.extend_from_slice(chunks);
        self.returned.sort_unstable_by(|one, other| other.cmp(one));
        let is_last = |&(chunk, end): &(&u32, usize)| *chunk as usize + 1 == end;
        let tail = self.returned.iter().zip((0..=self.reached).rev()).take_while(is_last).count();
        self.returned.drain(..tail);
        self.reached -= tail;
    }
}

/// In place of a chunk's idle blocks: it is on its way back.
const GOING: u32 = u32::MAX;
