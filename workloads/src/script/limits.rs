//! How much one workload may ask for. Past these a file is wrong, not ambitious.

use rheostat_runtime::sync::thread;
use std::time::Duration;

/// Bytes of a workload file; looked at before anything is parsed.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Variables of a file.
pub const VARS_MAX: usize = 256;
/// Data sets of a file.
pub const DATA_MAX: usize = 64;
/// Targets of a file.
pub const TARGETS_MAX: usize = 64;
/// Patterns of a data set.
pub const PATTERNS_MAX: usize = 10_000;
/// Stages of a pipeline.
pub const STAGES_MAX: usize = 32;
/// Phases of a file.
pub const PHASES_MAX: usize = 64;
/// Groups of a phase.
pub const GROUPS_MAX: usize = 32;
/// Entries in `event` of a phase.
pub const EVENTS_MAX: usize = 256;
/// Turns of a phase, over all its events.
pub const TURNS_MAX: u64 = 100_000;
/// Thresholds of a file.
pub const THRESHOLDS_MAX: usize = 256;
/// Tables of a file.
pub const TABLES_MAX: usize = 16;
/// Rows of a table.
pub const ROWS_MAX: u64 = 1000;
/// Longest phase.
pub const PHASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Shortest phase: below it, starting the workers is all there is to measure.
pub const PHASE_MIN: Duration = Duration::from_millis(1);
/// Longest run.
pub const RUN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a run may take that says nothing else.
pub const RUN_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Operations of a phase that ends by count.
pub const COUNT_MAX: u64 = 1_000_000_000_000;
/// Operations kept to be explained by an order, some 100 bytes each.
pub const RECORDED_MAX: u64 = 200_000;
/// Keys of a map.
pub const ITEMS_MAX: u64 = 1_000_000_000;
/// Items of a queue.
pub const QUEUE_CAPACITY_MAX: u64 = rheostat_runtime::queue::HOSTED_CAPACITY_MAX as u64;
/// Bytes of an item or a value.
pub const VALUE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a block.
pub const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Blocks a worker holds.
pub const LIVE_MAX: u64 = 1_000_000;
/// Least bytes a pool may hold from the system.
pub const POOL_BYTES_MIN: u64 = 64 << 10;
/// Least bytes of a queue's item or a pool's block: whose it is, and which one.
pub const ITEM_BYTES_MIN: u64 = 16;
/// Exponents of a zipfian distribution.
pub const THETA_MAX: f64 = 10.0;
/// Weights of a mix.
pub const WEIGHT_MAX: u64 = 1_000_000;
/// Bytes that the targets of a run may be expected to need.
pub const MEMORY_MAX: u64 = 16 << 30;

/// Workers of a group, of a stage, and of all groups of a phase: 8 to the core, at least 16, at most 256.
pub fn workers_max() -> u64 {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    (8 * cores).clamp(16, 256)
}

/// Operations a second of a group: one an hour, and what no core can do.
pub const RATE_MIN: f64 = 1.0 / 3600.0;
/// The most.
pub const RATE_MAX: f64 = 100e6;
/// Entries of a scan, or of a page of a walk.
pub const SCAN_MAX: u64 = 100_000;
/// How long a reader may stand still.
pub const HOLD_MAX: Duration = Duration::from_secs(3600);

/// Records of a batch.
pub const BATCH_MAX: u64 = 64 << 10;
/// Batches in the queue of a stage.
pub const STAGE_CAPACITY_MAX: u64 = 1024;
