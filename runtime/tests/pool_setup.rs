//! Pools made otherwise than by default: what each setting of a setup does, and what the presets set.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::POOL_CACHE_FILLS;
use rheostat_runtime::observe::{Reading, Resource};
use rheostat_runtime::pool::{Block, Level, LevelAsked, Pool, PoolLimits, PoolSetup, PoolSetupError, Preset};
use rheostat_runtime::sync::Arc;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn pool(setup: PoolSetup) -> Arc<Pool> {
    Pool::with_setup("made", setup).unwrap()
}

#[test]
fn every_block_is_aligned_as_the_setup_says() {
    for alignment in (1..=6).map(|bits| 1 << bits) {
        let pool = pool(PoolSetup { alignment, ..PoolSetup::default() });
        let lens = (0..2000).chain([5000, 65_536, 70_000]);
        let blocks: Vec<Block> = lens.map(|len| pool.alloc(len).unwrap()).collect();
        assert!(blocks.iter().all(|block| block.as_ptr().addr().is_multiple_of(alignment)), "{alignment}");
        let coarser = pool.alloc_aligned_to(17, 256).unwrap();
        assert!(coarser.as_ptr().addr().is_multiple_of(256));
        let finer: Vec<Block> = (0..100).map(|_| pool.alloc_aligned_to(17, 1).unwrap()).collect();
        assert!(finer.iter().all(|block| block.as_ptr().addr().is_multiple_of(alignment)), "{alignment}");
        let zeroed = pool.alloc_zeroed(17).unwrap();
        assert!(zeroed.as_ptr().addr().is_multiple_of(alignment) && zeroed.iter().all(|&byte| byte == 0));
    }
    for alignment in [0, 1, 3, 24, 128] {
        let refused = Pool::with_setup("made", PoolSetup { alignment, ..PoolSetup::default() }).unwrap_err();
        assert_eq!(refused, PoolSetupError::Alignment { pool: "pool.made".into(), alignment, max: 64 });
    }
}

#[test]
fn what_is_there_from_the_start_needs_no_page_fault() {
    let faults = || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // Behind the name in parentheses: state, five ids, flags, then minor faults.
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(7).unwrap().parse::<u64>().unwrap()
    };
    let used = |bytes_initial| {
        let pool = pool(PoolSetup { bytes_initial, ..PoolSetup::default() });
        // Rows, magazines and the room for what is kept are memory too.
        let mut blocks: Vec<Block> = Vec::with_capacity(4 * MIB / 4096);
        drop(pool.alloc(4096).unwrap());
        let before = faults();
        for _ in 0..4 * MIB / 4096 {
            let mut block = pool.alloc(4096).unwrap();
            block.fill(1);
            blocks.push(block);
        }
        assert_eq!(pool.held_bytes(), 4 * MIB, "what is there is not held before it is carved");
        faults() - before
    };
    // The vector's own pages are in both.
    let (touched, untouched) = (used(4 * MIB), used(0));
    assert!(touched + 900 < untouched, "{touched} faults, and {untouched} where nothing was there");
}

#[test]
fn more_from_the_start_than_the_limit_means_all_of_it() {
    let limits = PoolLimits { bytes_max: MIB };
    let pool =
        pool(PoolSetup { limits, bytes_initial: PoolSetup::ALL, level: Level::Mutex.into(), ..PoolSetup::default() });
    let blocks: Vec<Block> = std::iter::from_fn(|| pool.alloc(4096).ok()).collect();
    assert_eq!(blocks.len(), MIB / 4096);
}

#[test]
fn a_thread_takes_from_behind_in_proportion_to_what_it_may_cache() {
    let fills = |cache_bytes| {
        let pool = pool(PoolSetup { cache_bytes, ..PoolSetup::default() });
        let blocks: Vec<Block> = (0..1000).map(|_| pool.alloc(1024).unwrap()).collect();
        // Carved, and so held, are what was taken and the rest of the last magazine.
        assert!(pool.held_bytes() - MIB * 1000 / 1024 <= cache_bytes.max(2 * KIB) / 2, "{cache_bytes}");
        drop(blocks);
        let mut reading = Reading::default();
        pool.read(&mut reading);
        reading.total_of(&POOL_CACHE_FILLS).unwrap()
    };
    assert_eq!([0, 8 * KIB, 32 * KIB, 64 * KIB].map(fills), [1000, 250, 63, 32]);
}

#[test]
fn chunks_go_back_when_more_idles_than_may() {
    let left = |idle_bytes| {
        let pool = pool(PoolSetup { idle_bytes, level: Level::LockFree.into(), ..PoolSetup::default() });
        let blocks: Vec<Block> = (0..8 * MIB / 1024).map(|_| pool.alloc(1024).unwrap()).collect();
        drop(blocks);
        pool.held_bytes()
    };
    let (little, much) = (left(256 * KIB), left(4 * MIB));
    assert!(little <= MIB && much > 2 * MIB && much <= 6 * MIB, "{little} and {much} bytes left");
    assert_eq!(left(PoolSetup::ALL), 8 * MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn huge_pages_are_asked_for_where_one_has_room() {
    /// Whether the system has been asked for huge pages where a block lies.
    fn asked(block: &Block) -> bool {
        let at = block.as_ptr().addr();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let ends = range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
            if let Some((Ok(from), Ok(to))) = ends {
                inside = (from..to).contains(&at);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split_whitespace().any(|flag| flag == "hg");
            }
        }
        panic!("no mapping has {at:#x}");
    }
    let of = |huge_pages| {
        let pool = pool(PoolSetup { huge_pages, ..PoolSetup::default() });
        [100, 3 * MIB, MIB].map(|len| asked(&pool.alloc(len).unwrap()))
    };
    assert_eq!(of(false), [false; 3]);
    if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        assert_eq!(of(true), [true, true, false]);
    }
}

#[test]
fn presets_are_what_they_say_and_any_part_can_be_changed() {
    for preset in Preset::ALL {
        assert_eq!(preset.as_str().parse(), Ok(preset));
        let setup = preset.setup();
        let pool = pool(setup);
        assert_eq!((pool.level_asked(), LevelAsked::At(pool.level())), (setup.level, setup.level), "{preset}");
        assert!(pool.alloc(17).unwrap().as_ptr().addr().is_multiple_of(setup.alignment));
    }
    assert!("quick".parse::<Preset>().is_err());
    let [performance, memory, realtime] = Preset::ALL.map(Preset::setup);
    let figures = |setup: PoolSetup| (setup.level, setup.cache_bytes, setup.alignment);
    assert_eq!(figures(performance), (Level::ThreadCached.into(), 64 * KIB, 16));
    assert_eq!((performance.bytes_initial, performance.idle_bytes, performance.huge_pages), (8 * MIB, 4 * MIB, true));
    assert_eq!(figures(memory), (Level::LockFree.into(), 16 * KIB, 8));
    assert_eq!((memory.bytes_initial, memory.idle_bytes, memory.huge_pages), (512 * KIB, MIB, false));
    assert_eq!(figures(realtime), (Level::Fixed.into(), 8 * KIB, 8));
    // A fixed pool of its limit, and not a byte more.
    let fixed = pool(realtime);
    let blocks: Vec<Block> = std::iter::from_fn(|| fixed.alloc(4096).ok()).collect();
    assert_eq!(blocks.len(), 16 * MIB / 4096);
    let lesser = pool(PoolSetup { limits: PoolLimits { bytes_max: MIB }, level: Level::Mutex.into(), ..realtime });
    assert_eq!((lesser.level(), lesser.alloc(2 * MIB).is_err()), (Level::Mutex, true));
}
