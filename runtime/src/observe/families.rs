//! Every metric family of the product, one table per kind. Exporter, screens, rules and dashboards take the names
//! from here; a test holds the Grafana and Prometheus files to it.
//!
//! Base units, plural units, `_total` on counters, as Prometheus' naming guide asks. Samples carry the labels of
//! the resource's address (`pipeline`, `stage`, `queue` ...) and then those listed here, each a closed set.

use super::family::{Family, Unit, What};

macro_rules! families {
    ($(#[$doc:meta])* $table:ident: $($id:ident = $what:ident $unit:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Family =
                Family { name: $name, what: What::$what, unit: Unit::$unit, help: $help, labels: &[$($label),*] };
        )*
        $(#[$doc])*
        pub static $table: &[&Family] = &[$(&$id),*];
    };
}

families! {
    /// Families of a pipeline.
    PIPELINE:
    PIPELINE_RUNNING = Gauge Count "rheostat_pipeline_running" [] "1 while the pipeline takes input or holds records, 0 once it has drained.";
    PIPELINE_SOURCE_ITEMS = Counter Items "rheostat_pipeline_source_items_total" [] "Records the source handed to the first stage.";
    PIPELINE_SOURCE_BYTES = Counter Bytes "rheostat_pipeline_source_bytes_total" [] "Bytes the source handed to the first stage.";
    PIPELINE_SOURCE_BATCHES = Counter Count "rheostat_pipeline_source_batches_total" [] "Batches the source handed to the first stage; of text, each is a block of the pool that the pipeline lives in.";
    PIPELINE_INPUT_BYTES = Gauge Bytes "rheostat_pipeline_input_bytes" [] "Bytes of input known so far, for progress; 0 when unknown.";
    PIPELINE_SOURCE_STATE = Counter Seconds "rheostat_pipeline_source_state_seconds_total" ["state"] "Wall time of the source in the exclusive states busy, idle (paced) and backpressured.";
    PIPELINE_LAPS = Counter Count "rheostat_pipeline_laps_total" [] "Times a repeating source began its input anew.";
    PIPELINE_REFUSED_FILES = Counter Count "rheostat_pipeline_refused_files_total" [] "Inputs the source could not read or took for binary.";
    PIPELINE_REPLACED = Counter Count "rheostat_pipeline_replaced_sequences_total" [] "Invalid UTF-8 sequences that were replaced.";
    PIPELINE_CUT = Counter Items "rheostat_pipeline_cut_items_total" [] "Records longer than the record limit, handed on in pieces.";
    PIPELINE_DEAD_LETTERS = Counter Items "rheostat_pipeline_dead_letter_items_total" [] "Records set aside because an op failed on them.";
    PIPELINE_SOURCE_ALLOC_BYTES = Counter Bytes "rheostat_pipeline_source_allocated_bytes_total" [] "Bytes the source's thread allocated; absent in a process that does not track.";
    PIPELINE_SOURCE_FREED_BYTES = Counter Bytes "rheostat_pipeline_source_freed_bytes_total" [] "Bytes the source's thread freed, whoever had allocated them.";
    PIPELINE_LATENCY = Histogram Seconds "rheostat_pipeline_latency_seconds" [] "From the source handing over a batch to the last stage having done with what it became.";
}

families! {
    /// Families of a stage.
    STAGE:
    STAGE_WORKERS = Gauge Count "rheostat_stage_workers" [] "Worker threads running.";
    STAGE_WORKERS_TARGET = Gauge Count "rheostat_stage_workers_target" [] "Worker threads asked for.";
    STAGE_IN_ITEMS = Counter Items "rheostat_stage_in_items_total" [] "Records the stage has done with.";
    STAGE_OUT_ITEMS = Counter Items "rheostat_stage_out_items_total" [] "Records the stage handed on.";
    STAGE_BYTES = Counter Bytes "rheostat_stage_in_bytes_total" [] "Bytes of the records the stage has done with.";
    STAGE_BATCHES = Counter Count "rheostat_stage_batches_total" [] "Batches the stage has done with.";
    STAGE_OUT_BATCHES = Counter Count "rheostat_stage_out_batches_total" [] "Batches the stage handed on; of text, each is a block of the pool that its pipeline lives in.";
    STAGE_BATCH_LIMIT = Gauge Items "rheostat_stage_batch_limit_items" [] "Records at most in a batch handed to the stage.";
    STAGE_STATE = Counter Seconds "rheostat_stage_state_seconds_total" ["state"] "Wall time of the stage's workers in the exclusive states busy, idle and backpressured; the states sum to workers times wall time.";
    STAGE_QUEUE_ENQUEUED = Counter Items "rheostat_stage_queue_enqueued_items_total" [] "Records put into the stage's queue.";
    STAGE_QUEUE_DEQUEUED = Counter Items "rheostat_stage_queue_dequeued_items_total" [] "Records taken out of the stage's queue.";
    STAGE_QUEUE_DEPTH = Gauge Items "rheostat_stage_queue_depth_items" [] "Records in the stage's queue: enqueued minus dequeued, dequeued read first.";
    STAGE_QUEUE_BATCHES = Gauge Count "rheostat_stage_queue_depth_batches" [] "Batches in the stage's queue.";
    STAGE_QUEUE_CAPACITY = Gauge Count "rheostat_stage_queue_capacity_batches" [] "Batches the stage's queue takes before those who push are held back.";
    STAGE_QUEUE_WAIT = Histogram Seconds "rheostat_stage_queue_seconds" [] "Time from a batch being ready for the stage's queue until a worker took it, the wait for room included.";
    STAGE_SERVICE = Histogram Seconds "rheostat_stage_service_seconds" [] "Time a worker spent on a batch, without waiting to hand its results on.";
    STAGE_ERRORS = Counter Items "rheostat_stage_errors_total" ["reason"] "Records set aside, by reason: panic or refused.";
    STAGE_ALLOCATIONS = Counter Count "rheostat_alloc_attributed_total" [] "Blocks the stage's workers allocated; absent in a process that does not track, and for a stage past the limit on scopes.";
    STAGE_ALLOC_BYTES = Counter Bytes "rheostat_alloc_attributed_bytes_total" [] "Bytes the stage's workers allocated.";
    STAGE_FREES = Counter Count "rheostat_alloc_attributed_frees_total" [] "Blocks the stage's workers freed, whoever had allocated them.";
    STAGE_FREED_BYTES = Counter Bytes "rheostat_alloc_attributed_freed_bytes_total" [] "Bytes the stage's workers freed, whoever had allocated them: less than it allocated is freed elsewhere, or kept.";
    STAGE_SAMPLED_LIVE = Gauge Bytes "rheostat_alloc_live_bytes" [] "Bytes the stage's workers allocated that are not freed, estimated from samples since a heap profile was first taken; absent before.";
    STAGE_FREED_ELSEWHERE = Counter Bytes "rheostat_alloc_freed_elsewhere_bytes_total" [] "Bytes the stage's workers allocated that were freed in another scope or outside of any, estimated from samples; absent before a heap profile was first taken.";
}

families! {
    /// Families of a hosted queue.
    QUEUE:
    QUEUE_ENQUEUED = Counter Items "rheostat_queue_enqueued_items_total" [] "Items accepted.";
    QUEUE_DEQUEUED = Counter Items "rheostat_queue_dequeued_items_total" [] "Items taken out.";
    QUEUE_DEPTH = Gauge Items "rheostat_queue_depth_items" [] "Items in the queue: enqueued minus dequeued, dequeued read first.";
    QUEUE_CAPACITY = Gauge Items "rheostat_queue_capacity_items" [] "Items the queue takes before it is full.";
    QUEUE_REJECTED = Counter Items "rheostat_queue_rejected_items_total" ["reason"] "Items given back to those who pushed them, by reason: full or closed.";
    QUEUE_EMPTY_POPS = Counter Count "rheostat_queue_empty_pops_total" [] "Pops that found nothing.";
    QUEUE_CAS_FAILURES = Counter Count "rheostat_queue_cas_failures_total" ["op"] "Compare-exchanges that pushes and pops lost to others and tried again; absent until the queue has been of a kind that counts them.";
    QUEUE_FULL_TIME = Counter Seconds "rheostat_queue_full_seconds_total" [] "Time producers were held back, summed over threads.";
    QUEUE_EMPTY_TIME = Counter Seconds "rheostat_queue_empty_seconds_total" [] "Time consumers waited for items, summed over threads.";
    QUEUE_WAIT = Histogram Seconds "rheostat_queue_wait_seconds" [] "Time from push to pop, of one item in 64.";
    QUEUE_KIND = Gauge Count "rheostat_queue_kind" ["kind"] "1 for the kind that takes what is pushed; 0 for all when closed.";
    QUEUE_HANDING_OVER = Gauge Count "rheostat_queue_handing_over" [] "1 while a structure that was turned away from still holds items, else 0.";
}

families! {
    /// Families of a hosted map.
    MAP:
    MAP_OPS = Counter Count "rheostat_map_ops_total" ["op", "outcome"] "Completed operations by kind and by whether the key was there (hit) or not (miss).";
    MAP_ENTRIES = Gauge Items "rheostat_map_entries" [] "Entries in the map.";
    MAP_ENTRIES_LIMIT = Gauge Items "rheostat_map_entries_limit" [] "Entries the map takes before it refuses new keys.";
    MAP_BYTES = Gauge Bytes "rheostat_map_bytes" [] "Bytes of the map's keys and values; what the backend takes beside them is not in it.";
    MAP_BYTES_LIMIT = Gauge Bytes "rheostat_map_limit_bytes" [] "Bytes of keys and values the map takes before it refuses more.";
    MAP_REFUSED = Counter Count "rheostat_map_refused_total" ["reason"] "Updates refused, by reason: full, key or value too long, out of bytes, or no block in the pool that values live in.";
    MAP_LOCK_CONTENTIONS = Counter Count "rheostat_map_lock_contentions_total" [] "Lock acquisitions that had to wait; absent until the map has been on a backend whose locks can be seen: sharded, flat.";
    MAP_LOCK_WAIT = Histogram Seconds "rheostat_map_lock_wait_seconds" [] "Time a contended acquisition waited; uncontended ones are not timed.";
    MAP_CAS_FAILURES = Counter Count "rheostat_map_cas_failures_total" [] "Compare-exchanges that operations lost to others and tried again; absent until the map has been on a backend that counts them.";
    MAP_CONTENTION_SEEN = Gauge Count "rheostat_map_contention_seen" ["by"] "1 for how contention of the backend in force is seen: hook, where it happens; or sample, as stalls of one operation in 64.";
    MAP_SAMPLED_OPS = Counter Count "rheostat_map_sampled_ops_total" [] "Operations that were timed, one in 64 of each thread's, on backends that do not show contention; absent until the map has been on one.";
    MAP_SAMPLED_STALLS = Counter Count "rheostat_map_sampled_stalls_total" [] "Those of them that took over 16.4 us.";
    MAP_SAMPLED_STALL = Histogram Seconds "rheostat_map_sampled_stall_seconds" [] "How long those took.";
    MAP_SEQLOCK_RETRIES = Counter Count "rheostat_map_seqlock_retries_total" [] "Reads begun again as a writer was inside the cache line; absent until the map has been on flat, as are the four below.";
    MAP_SEQLOCK_FALLBACKS = Counter Count "rheostat_map_seqlock_fallbacks_total" [] "Reads that took the writers' lock after 64 tries.";
    MAP_HELPS = Counter Count "rheostat_map_helps_total" [] "Operations that moved a part of a growing or shrinking table in passing.";
    MAP_MIGRATED = Counter Count "rheostat_map_migrated_buckets_total" [] "Buckets of growing or shrinking tables that were moved to the next.";
    MAP_RESIZES = Counter Count "rheostat_map_resizes_total" [] "Tables that were left for one of another size.";
    MAP_GROWTH = Gauge Ratio "rheostat_map_growth_ratio" [] "The share of a growing or shrinking table that has moved to the next; 0 while nothing moves. Absent on a backend we cannot look into, as are the three below.";
    MAP_LOAD = Gauge Ratio "rheostat_map_load_ratio" [] "Entries over slots (flat) or buckets (fixed).";
    MAP_PROBE_MEAN = Gauge Count "rheostat_map_probe_mean_steps" [] "Cache lines (flat) or entries (fixed) to look at to find that a key is not there, on average over 250 chains.";
    MAP_PROBE_MAX = Gauge Count "rheostat_map_probe_max_steps" [] "The same in the longest of those chains.";
    MAP_SHARD_OPS = Strip Count "rheostat_map_shard_ops" [] "Operations by shard, in shard order, estimated from one in 64 of each thread's; absent on a backend without shards.";
    MAP_SHARD_CONTENTIONS = Strip Count "rheostat_map_shard_lock_contentions" [] "Lock acquisitions that had to wait, by shard.";
    MAP_SHARD_SKEW = Gauge Ratio "rheostat_map_shard_skew_ratio" [] "Operations of the busiest shard over the mean of all, over the last 10 s or so; 1 is even.";
    MAP_BACKEND = Gauge Count "rheostat_map_backend" ["backend"] "1 for the backend in force.";
    MAP_HANDOVERS = Counter Count "rheostat_map_handovers_total" ["outcome"] "Hand-overs that are over: done, on the backend asked for, or undone, back where they began.";
    MAP_HANDOVER_PHASE = Gauge Count "rheostat_map_handover_phase" ["phase"] "1 for the phase of the last hand-over: opening, moving, going_back, done or undone; 0 for all before the first.";
    MAP_HANDOVER_KEYS = Gauge Items "rheostat_map_handover_items" [] "Entries the last hand-over, or its way back, began with.";
    MAP_HANDOVER_MOVED = Gauge Items "rheostat_map_handover_progress_items" [] "Entries of those that its migrator has moved; writers move the others.";
    MAP_HANDOVER_MOVES = Counter Items "rheostat_map_handover_moved_items_total" [] "Entries moved by migrators in all hand-overs, on ways back too.";
    MAP_HANDOVER_FAILURES = Counter Count "rheostat_map_handover_failures_total" [] "Moves in which a key's or value's own code panicked; they are tried again.";
    MAP_HANDOVER_RETRIES = Counter Count "rheostat_map_handover_retries_total" [] "Operations that began again because a hand-over changed where to look.";
    MAP_HANDOVER_LOCK_WAITS = Counter Count "rheostat_map_handover_lock_waits_total" [] "Writes and moves that had to wait for another of their stripe during a hand-over.";
    MAP_HANDOVER_STALL = Histogram Seconds "rheostat_map_handover_stall_seconds" [] "How long those waited.";
}

families! {
    /// Families of an allocator pool.
    POOL:
    POOL_ALLOCS = Counter Count "rheostat_pool_allocs_total" ["size_class"] "Blocks handed out.";
    POOL_FREES = Counter Count "rheostat_pool_frees_total" ["size_class"] "Blocks given back.";
    POOL_LIVE = Gauge Bytes "rheostat_pool_live_bytes" ["size_class"] "Bytes of blocks handed out and not yet given back: allocs minus frees times block size.";
    POOL_REQUESTED = Gauge Bytes "rheostat_pool_requested_bytes" ["size_class"] "Bytes that were asked for by the blocks in use; below the live bytes by what their class is longer.";
    POOL_SLABS = Gauge Bytes "rheostat_pool_slab_bytes" ["size_class"] "Bytes the pool holds from the system for this class: blocks in use and free, and large blocks that are kept.";
    POOL_MAPPED = Gauge Bytes "rheostat_pool_mapped_bytes" ["size_class"] "Bytes of the chunks that the class has, with what was never touched of them.";
    POOL_REFUSALS = Counter Count "rheostat_pool_refusals_total" ["size_class"] "Requests that got no block; with the blocks handed out, all requests.";
    POOL_REMOTE_FREES = Counter Count "rheostat_pool_remote_frees_total" ["size_class"] "Blocks given back by another thread than they were handed out to; collections and boxes in the pool are not told apart.";
    POOL_CACHE_FILLS = Counter Count "rheostat_pool_cache_fills_total" ["size_class"] "Times a thread's cache was filled from the shared pool; 0 at levels without caches.";
    POOL_CACHE_FLUSHES = Counter Count "rheostat_pool_cache_flushes_total" ["size_class"] "Times a thread's cache was emptied into the shared pool; 0 at levels without caches.";
    POOL_DEPOT_EXCHANGES = Counter Count "rheostat_pool_depot_exchanges_total" ["size_class"] "Whole magazines that threads exchanged at the depot; 0 at levels without.";
    POOL_LOCK_CONTENTIONS = Counter Count "rheostat_pool_lock_contentions_total" ["size_class"] "Lock acquisitions that had to wait.";
    POOL_CAS_FAILURES = Counter Count "rheostat_pool_cas_failures_total" ["size_class"] "Compare-exchanges on lists of free blocks that another thread won.";
    POOL_GUARDED = Gauge Count "rheostat_pool_guarded" [] "1 while what is handed out is guarded, else 0.";
    POOL_GUARDED_BLOCKS = Gauge Items "rheostat_pool_guarded_items" [] "Blocks in use that were handed out guarded; they are looked at when they come home, also after the guard was turned off.";
    POOL_UNGUARDED = Counter Count "rheostat_pool_unguarded_allocs_total" [] "Blocks handed out unguarded while the pool was guarded: past the limit on those it keeps a book of, or with no room for a canary.";
    POOL_GUARD_BYTES = Gauge Bytes "rheostat_pool_guard_bytes" [] "Bytes the guard's book takes beside the pool.";
    POOL_FAULTS = Counter Count "rheostat_pool_faults_total" ["kind"] "Faults the guard found, by kind: overrun, underrun, write_after_free, double_free, foreign, inside, layout.";
    POOL_LIMIT = Gauge Bytes "rheostat_pool_limit_bytes" [] "Bytes the pool holds from the system at most.";
    POOL_LEVEL = Gauge Count "rheostat_pool_level" ["level"] "1 for the concurrency level in force.";
}

families! {
    /// Families of the process's allocator.
    ALLOCATOR:
    ALLOCATOR_ALLOCATIONS = Counter Count "rheostat_allocator_allocations_total" ["class"] "Blocks allocated, by class of scope: outside of any, pipelines, runs, other (past the limit on scopes).";
    ALLOCATOR_BYTES = Counter Bytes "rheostat_allocator_allocated_bytes_total" ["class"] "Bytes allocated, as asked for, by class of scope.";
    ALLOCATOR_FREES = Counter Count "rheostat_allocator_frees_total" ["class"] "Blocks freed, by the class of scope that freed them.";
    ALLOCATOR_FREED_BYTES = Counter Bytes "rheostat_allocator_freed_bytes_total" ["class"] "Bytes freed, by the class of scope that freed them; allocated minus freed, over all classes, is what is live.";
    ALLOCATOR_SCOPES = Gauge Count "rheostat_allocator_scopes" [] "Scopes open now that are told apart.";
    ALLOCATOR_SCOPES_LIMIT = Gauge Count "rheostat_allocator_scopes_limit" [] "Scopes that are told apart at most; further ones are counted as other.";
    ALLOCATOR_SAMPLING = Gauge Bytes "rheostat_allocator_sampling_interval_bytes" [] "Bytes from one sample of the heap profile to the next, on average; 0 while it is off.";
    ALLOCATOR_SAMPLES = Gauge Count "rheostat_allocator_samples" [] "Samples of blocks that are not freed yet.";
    ALLOCATOR_SAMPLES_DROPPED = Counter Count "rheostat_allocator_samples_dropped_total" [] "Blocks that should have been sampled when there was no room for another.";
    ALLOCATOR_OPTION = Gauge Count "rheostat_allocator_option" ["option"] "Options of mimalloc in force, by their names in the configuration: 0 or 1, 2 for auto, milliseconds, -1 for never.";
    ALLOCATOR_RESERVED = Gauge Bytes "rheostat_allocator_reserved_bytes" [] "Address space that mimalloc has reserved; absent with mimalloc 2.";
    ALLOCATOR_COMMITTED = Gauge Bytes "rheostat_allocator_committed_bytes" [] "Memory that mimalloc has committed: what it may use without asking again. What is resident of it is less.";
    ALLOCATOR_COMMITTED_PEAK = Gauge Bytes "rheostat_allocator_committed_peak_bytes" [] "The most that was committed at once.";
    ALLOCATOR_PAGES = Gauge Count "rheostat_allocator_pages" [] "Pages of mimalloc's in use; each holds blocks of one size.";
    ALLOCATOR_THREADS = Gauge Count "rheostat_allocator_threads" [] "Threads that mimalloc keeps a heap for.";
    ALLOCATOR_HEAPS = Gauge Count "rheostat_allocator_heaps" [] "Heaps of mimalloc's.";
    ALLOCATOR_PURGED = Counter Bytes "rheostat_allocator_purged_bytes_total" [] "Bytes that were freed and given back to the system.";
    ALLOCATOR_MMAPS = Counter Count "rheostat_allocator_mmap_calls_total" [] "Times mimalloc asked the system for memory.";
}

families! {
    /// Families of a scheduler.
    SCHEDULER:
    SCHEDULER_THREADS = Gauge Count "rheostat_scheduler_threads" [] "Threads in force.";
    SCHEDULER_THREADS_LIVE = Gauge Count "rheostat_scheduler_threads_live" [] "Threads alive, those of a retiring pool included.";
    SCHEDULER_REGIONS = Counter Count "rheostat_scheduler_regions_total" [] "Parallel regions that have ended, those that panicked included.";
    SCHEDULER_REGION_TIME = Histogram Seconds "rheostat_scheduler_region_seconds" [] "Time of a parallel region, entry to end.";
    SCHEDULER_PANICS = Counter Count "rheostat_scheduler_panics_total" [] "Parallel regions, and jobs nobody waited for, that ended in a panic.";
    SCHEDULER_SWAPS = Counter Count "rheostat_scheduler_swaps_total" [] "Times the thread count was turned.";
}

families! {
    /// Families of a domain of reclamation.
    RECLAIM:
    RECLAIM_RETIRED_OBJECTS = Counter Items "rheostat_reclaim_retired_objects_total" [] "Objects taken out of structures, to be freed once nobody can be reading them.";
    RECLAIM_RETIRED_BYTES = Counter Bytes "rheostat_reclaim_retired_bytes_total" [] "Bytes of the objects retired; retired minus freed is the backlog.";
    RECLAIM_FREED_OBJECTS = Counter Items "rheostat_reclaim_freed_objects_total" [] "Retired objects that were freed.";
    RECLAIM_FREED_BYTES = Counter Bytes "rheostat_reclaim_freed_bytes_total" [] "Bytes of the retired objects that were freed.";
    RECLAIM_PERIODS = Counter Count "rheostat_reclaim_periods_total" [] "Grace periods that have ended.";
    RECLAIM_PANICS = Counter Count "rheostat_reclaim_panics_total" [] "Objects whose drop panicked; they count as freed.";
    RECLAIM_EXCESSES = Counter Count "rheostat_reclaim_excesses_total" [] "Times a thread went on although garbage was over its limit.";
    RECLAIM_PINNED = Gauge Count "rheostat_reclaim_pinned_threads" [] "Threads that hold a guard.";
    RECLAIM_EPOCH_LAG = Gauge Count "rheostat_reclaim_epoch_lag" [] "Epochs from the oldest guard to the clock: 1 while a guard holds a grace period up, otherwise 0.";
    RECLAIM_OLDEST_PIN = Gauge Seconds "rheostat_reclaim_oldest_pin_seconds" [] "For how long, at least, the oldest guard has held up the grace period under way; 0 when none does.";
    RECLAIM_GARBAGE_LIMIT = Gauge Bytes "rheostat_reclaim_garbage_limit_bytes" [] "Garbage above which threads that retire wait or count an excess.";
}

families! {
    /// Families of the host itself.
    HOST:
    BUILD_INFO = Gauge Count "rheostat_build_info" ["version", "profile"] "1, with what was built.";
    UPTIME = Gauge Seconds "rheostat_uptime_seconds" [] "Time since the host started.";
    CHANGES = Counter Count "rheostat_control_changes_total" ["outcome"] "Turned knobs by outcome: applied, failed, settling when the turn returned, unknown where a resource went before its turn had settled. Those that were settling count once more by how they end.";
    JOURNAL_ERRORS = Counter Count "rheostat_journal_write_errors_total" [] "Changes that could not be written to the journal file; they are kept in memory.";
    RUNS = Gauge Count "rheostat_runs" ["state"] "Runs by state: queued, running, finished.";
    CONNECTIONS = Gauge Count "rheostat_control_connections" [] "Open control connections.";
    CONNECTIONS_REFUSED = Counter Count "rheostat_control_connections_refused_total" [] "Control connections refused because the limit was reached.";
    REQUESTS = Counter Count "rheostat_control_requests_total" ["class"] "Control requests by class of status: 2xx, 4xx, 5xx.";
    STREAM_CLIENTS = Gauge Count "rheostat_telemetry_clients" [] "Clients attached to the stream.";
    SERIES = Gauge Count "rheostat_telemetry_series" [] "Series in the last exposition.";
    SERIES_REJECTED = Counter Count "rheostat_telemetry_series_rejected_total" [] "Series left out of history because its limit was reached.";
    SCRAPE_TIME = Gauge Seconds "rheostat_telemetry_scrape_seconds" [] "How long the last exposition took to make.";
    LIMIT = Gauge Count "rheostat_limit" ["limit"] "The host's limits, by their names in the configuration and in the units of those names.";
    LOOK_TIMESTAMP = Gauge Timestamp "rheostat_telemetry_look_timestamp_seconds" [] "When the host last began to look at its resources for streams and history, in seconds since 1970; every quarter second, unless it stands still.";
    LOOK_PANICS = Counter Count "rheostat_telemetry_look_panics_total" [] "Resources that panicked when they were read, and looks that did; the others are not affected.";
    SELF_TIME = Counter Seconds "rheostat_telemetry_self_seconds_total" [] "Time the host spent on reading, keeping and exposing figures.";
    PRESSURE_SUPPORTED = Gauge Count "rheostat_pressure_supported" [] "1 where the kernel reports pressure; without it the pressure families are absent.";
    PRESSURE_WAITING = Counter Seconds "rheostat_pressure_waiting_seconds_total" ["resource"] "Time in which some task of the machine waited for cpu, memory or io.";
    PRESSURE_STALLED = Counter Seconds "rheostat_pressure_stalled_seconds_total" ["resource"] "Time in which all tasks of the machine waited for cpu, memory or io.";
    PROCESS_CPU = Counter Seconds "process_cpu_seconds_total" [] "CPU time of the process, user and system.";
    PROCESS_RSS = Gauge Bytes "process_resident_memory_bytes" [] "Resident memory of the process.";
    PROCESS_VIRTUAL = Gauge Bytes "process_virtual_memory_bytes" [] "Virtual memory of the process.";
    PROCESS_THREADS = Gauge Count "process_threads" [] "Threads of the process.";
    PROCESS_FDS = Gauge Count "process_open_fds" [] "Open file descriptors of the process.";
    PROCESS_FDS_MAX = Gauge Count "process_max_fds" [] "File descriptors the process may open.";
    PROCESS_START = Gauge Timestamp "process_start_time_seconds" [] "When the process started, in seconds since 1970.";
    PROCESS_FAULTS = Counter Count "process_page_faults_total" ["type"] "Page faults: major or minor.";
    PROCESS_SWITCHES = Counter Count "process_context_switches_total" ["type"] "Context switches of the process's threads: voluntary or involuntary.";
}

/// All tables.
pub fn all() -> impl Iterator<Item = &'static Family> {
    [PIPELINE, STAGE, QUEUE, MAP, POOL, ALLOCATOR, SCHEDULER, RECLAIM, HOST].into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = std::collections::HashSet::new();
        for family in all() {
            let name = family.name;
            assert!(seen.insert(name), "{name} is declared twice");
            assert!(name.starts_with("rheostat_") || name.starts_with("process_"), "{name}: prefix");
            assert_eq!(name.ends_with("_total"), family.what == What::Counter, "{name}: _total is for counters");
            let stem = name.trim_end_matches("_total");
            match family.unit {
                Unit::Seconds | Unit::Timestamp => assert!(stem.ends_with("_seconds"), "{name}: unit"),
                Unit::Bytes => assert!(stem.ends_with("_bytes"), "{name}: unit"),
                Unit::Ratio => assert!(stem.ends_with("_ratio"), "{name}: unit"),
                Unit::Count | Unit::Items => {}
            }
            assert!(family.help.ends_with('.'), "{name}: help is a sentence");
        }
    }
}
