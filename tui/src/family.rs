//! The metric families that the screens and the status line read. The names belong to the runtime, which this
//! package does not link: a test holds this list to theirs.

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        #[cfg(test)]
        const ALL: &[&str] = &[$($name),*];
    };
}

names! {
    /// 1 while a pipeline takes input.
    PIPELINE_RUNNING = "rheostat_pipeline_running";
    /// Records of a pipeline's source.
    PIPELINE_SOURCE_ITEMS = "rheostat_pipeline_source_items_total";
    /// Bytes of a pipeline's source.
    PIPELINE_SOURCE_BYTES = "rheostat_pipeline_source_bytes_total";
    /// Batches of a pipeline's source.
    PIPELINE_SOURCE_BATCHES = "rheostat_pipeline_source_batches_total";
    /// Bytes there are to read.
    PIPELINE_INPUT_BYTES = "rheostat_pipeline_input_bytes";
    /// Times a repeating source began anew.
    PIPELINE_LAPS = "rheostat_pipeline_laps_total";
    /// States of the source.
    PIPELINE_SOURCE_STATE = "rheostat_pipeline_source_state_seconds_total";
    /// Records set aside.
    PIPELINE_DEAD_LETTERS = "rheostat_pipeline_dead_letter_items_total";
    /// Source to sink.
    PIPELINE_LATENCY = "rheostat_pipeline_latency_seconds";
    /// Bytes the source allocated.
    PIPELINE_SOURCE_ALLOC_BYTES = "rheostat_pipeline_source_allocated_bytes_total";
    /// Bytes the source freed.
    PIPELINE_SOURCE_FREED_BYTES = "rheostat_pipeline_source_freed_bytes_total";
    /// Workers running.
    STAGE_WORKERS = "rheostat_stage_workers";
    /// Workers asked for.
    STAGE_WORKERS_TARGET = "rheostat_stage_workers_target";
    /// Records done with.
    STAGE_IN_ITEMS = "rheostat_stage_in_items_total";
    /// Records handed on.
    STAGE_OUT_ITEMS = "rheostat_stage_out_items_total";
    /// Batches handed on.
    STAGE_OUT_BATCHES = "rheostat_stage_out_batches_total";
    /// Busy, idle, backpressured.
    STAGE_STATE = "rheostat_stage_state_seconds_total";
    /// Records put into a stage's queue.
    STAGE_QUEUE_ENQUEUED = "rheostat_stage_queue_enqueued_items_total";
    /// Records taken out of a stage's queue.
    STAGE_QUEUE_DEQUEUED = "rheostat_stage_queue_dequeued_items_total";
    /// Records in a stage's queue.
    STAGE_QUEUE_DEPTH = "rheostat_stage_queue_depth_items";
    /// Batches in a stage's queue.
    STAGE_QUEUE_BATCHES = "rheostat_stage_queue_depth_batches";
    /// Batches a stage's queue takes.
    STAGE_QUEUE_CAPACITY = "rheostat_stage_queue_capacity_batches";
    /// Wait in a stage's queue.
    STAGE_QUEUE_WAIT = "rheostat_stage_queue_seconds";
    /// Time spent on a batch.
    STAGE_SERVICE = "rheostat_stage_service_seconds";
    /// Records set aside by a stage.
    STAGE_ERRORS = "rheostat_stage_errors_total";
    /// Blocks a stage's workers allocated.
    STAGE_ALLOCATIONS = "rheostat_alloc_attributed_total";
    /// Bytes a stage's workers allocated.
    STAGE_ALLOC_BYTES = "rheostat_alloc_attributed_bytes_total";
    /// Bytes they freed.
    STAGE_FREED_BYTES = "rheostat_alloc_attributed_freed_bytes_total";
    /// Items accepted by a queue.
    QUEUE_ENQUEUED = "rheostat_queue_enqueued_items_total";
    /// Items taken out of a queue.
    QUEUE_DEQUEUED = "rheostat_queue_dequeued_items_total";
    /// Items in a queue.
    QUEUE_DEPTH = "rheostat_queue_depth_items";
    /// Items a queue takes.
    QUEUE_CAPACITY = "rheostat_queue_capacity_items";
    /// Time producers were held back.
    QUEUE_FULL_TIME = "rheostat_queue_full_seconds_total";
    /// Time consumers waited.
    QUEUE_EMPTY_TIME = "rheostat_queue_empty_seconds_total";
    /// From push to pop.
    QUEUE_WAIT = "rheostat_queue_wait_seconds";
    /// The kind in force.
    QUEUE_KIND = "rheostat_queue_kind";
    /// 1 while what was turned away from drains.
    QUEUE_HANDING_OVER = "rheostat_queue_handing_over";
    /// Operations on a map.
    MAP_OPS = "rheostat_map_ops_total";
    /// Entries of a map.
    MAP_ENTRIES = "rheostat_map_entries";
    /// Acquisitions that had to wait.
    MAP_LOCK_CONTENTIONS = "rheostat_map_lock_contentions_total";
    /// How long they waited.
    MAP_LOCK_WAIT = "rheostat_map_lock_wait_seconds";
    /// How contention of the backend in force is seen.
    MAP_CONTENTION_SEEN = "rheostat_map_contention_seen";
    /// Compare-exchanges lost to others.
    MAP_CAS_FAILURES = "rheostat_map_cas_failures_total";
    /// Operations that were timed, on backends that do not show contention.
    MAP_SAMPLED_OPS = "rheostat_map_sampled_ops_total";
    /// Those of them that took long.
    MAP_SAMPLED_STALLS = "rheostat_map_sampled_stalls_total";
    /// How long those took.
    MAP_SAMPLED_STALL = "rheostat_map_sampled_stall_seconds";
    /// Reads begun again.
    MAP_SEQLOCK_RETRIES = "rheostat_map_seqlock_retries_total";
    /// Reads that took the lock.
    MAP_SEQLOCK_FALLBACKS = "rheostat_map_seqlock_fallbacks_total";
    /// Operations that moved a part of a table.
    MAP_HELPS = "rheostat_map_helps_total";
    /// Tables left for another.
    MAP_RESIZES = "rheostat_map_resizes_total";
    /// The share of a table that has moved.
    MAP_GROWTH = "rheostat_map_growth_ratio";
    /// Entries over slots.
    MAP_LOAD = "rheostat_map_load_ratio";
    /// Steps of a miss.
    MAP_PROBE_MEAN = "rheostat_map_probe_mean_steps";
    /// Steps of the longest.
    MAP_PROBE_MAX = "rheostat_map_probe_max_steps";
    /// Operations by shard.
    MAP_SHARD_OPS = "rheostat_map_shard_ops";
    /// Acquisitions that had to wait, by shard.
    MAP_SHARD_CONTENTIONS = "rheostat_map_shard_lock_contentions";
    /// The busiest shard over the mean.
    MAP_SHARD_SKEW = "rheostat_map_shard_skew_ratio";
    /// The backend in force.
    MAP_BACKEND = "rheostat_map_backend";
    /// The phase of the last hand-over.
    MAP_HANDOVER_PHASE = "rheostat_map_handover_phase";
    /// Entries the last hand-over began with.
    MAP_HANDOVER_KEYS = "rheostat_map_handover_items";
    /// Entries it has moved.
    MAP_HANDOVER_MOVED = "rheostat_map_handover_progress_items";
    /// How long writes waited for one.
    MAP_HANDOVER_STALL = "rheostat_map_handover_stall_seconds";
    /// Blocks handed out.
    POOL_ALLOCS = "rheostat_pool_allocs_total";
    /// Blocks given back.
    POOL_FREES = "rheostat_pool_frees_total";
    /// Bytes of blocks in use.
    POOL_LIVE = "rheostat_pool_live_bytes";
    /// Bytes asked for by blocks in use.
    POOL_REQUESTED = "rheostat_pool_requested_bytes";
    /// Bytes carved for blocks.
    POOL_SLABS = "rheostat_pool_slab_bytes";
    /// Bytes of chunks.
    POOL_MAPPED = "rheostat_pool_mapped_bytes";
    /// Requests that got no block.
    POOL_REFUSALS = "rheostat_pool_refusals_total";
    /// Blocks freed by another thread than allocated them.
    POOL_REMOTE_FREES = "rheostat_pool_remote_frees_total";
    /// Caches filled from the shared pool.
    POOL_CACHE_FILLS = "rheostat_pool_cache_fills_total";
    /// Caches emptied into it.
    POOL_CACHE_FLUSHES = "rheostat_pool_cache_flushes_total";
    /// Magazines exchanged at the depot.
    POOL_DEPOT_EXCHANGES = "rheostat_pool_depot_exchanges_total";
    /// Acquisitions that had to wait.
    POOL_LOCK_CONTENTIONS = "rheostat_pool_lock_contentions_total";
    /// Compare-exchanges lost to others.
    POOL_CAS_FAILURES = "rheostat_pool_cas_failures_total";
    /// 1 while blocks are handed out guarded.
    POOL_GUARDED = "rheostat_pool_guarded";
    /// Guarded blocks in use.
    POOL_GUARDED_BLOCKS = "rheostat_pool_guarded_items";
    /// What guards have caught.
    POOL_FAULTS = "rheostat_pool_faults_total";
    /// Bytes it holds at most.
    POOL_LIMIT = "rheostat_pool_limit_bytes";
    /// The level in force.
    POOL_LEVEL = "rheostat_pool_level";
    /// Bytes the process allocated.
    ALLOCATOR_BYTES = "rheostat_allocator_allocated_bytes_total";
    /// Bytes it freed.
    ALLOCATOR_FREED_BYTES = "rheostat_allocator_freed_bytes_total";
    /// Blocks it allocated.
    ALLOCATOR_ALLOCATIONS = "rheostat_allocator_allocations_total";
    /// Bytes from one sample of the heap profile to the next; 0 for none.
    ALLOCATOR_SAMPLING = "rheostat_allocator_sampling_interval_bytes";
    /// Samples of the profile.
    ALLOCATOR_SAMPLES = "rheostat_allocator_samples";
    /// Samples there was no room for.
    ALLOCATOR_SAMPLES_DROPPED = "rheostat_allocator_samples_dropped_total";
    /// Address space reserved by mimalloc.
    ALLOCATOR_RESERVED = "rheostat_allocator_reserved_bytes";
    /// Memory it has committed.
    ALLOCATOR_COMMITTED = "rheostat_allocator_committed_bytes";
    /// The most of that.
    ALLOCATOR_COMMITTED_PEAK = "rheostat_allocator_committed_peak_bytes";
    /// Its pages in use.
    ALLOCATOR_PAGES = "rheostat_allocator_pages";
    /// Its heaps.
    ALLOCATOR_HEAPS = "rheostat_allocator_heaps";
    /// Bytes given back to the system.
    ALLOCATOR_PURGED = "rheostat_allocator_purged_bytes_total";
    /// Times the system was asked.
    ALLOCATOR_MMAPS = "rheostat_allocator_mmap_calls_total";
    /// Bytes retired.
    RECLAIM_RETIRED_BYTES = "rheostat_reclaim_retired_bytes_total";
    /// Bytes of them that were freed.
    RECLAIM_FREED_BYTES = "rheostat_reclaim_freed_bytes_total";
    /// For how long the oldest guard has held a grace period up.
    RECLAIM_OLDEST_PIN = "rheostat_reclaim_oldest_pin_seconds";
    /// Threads of a scheduler.
    SCHEDULER_THREADS = "rheostat_scheduler_threads";
    /// Parallel regions run.
    SCHEDULER_REGIONS = "rheostat_scheduler_regions_total";
}

/// The family whose rate says how busy a resource of this kind is; the one drawn as its trend.
pub fn throughput(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "pipeline" => PIPELINE_SOURCE_BYTES,
        "stage" => STAGE_IN_ITEMS,
        "queue" => QUEUE_DEQUEUED,
        "map" => MAP_OPS,
        "pool" => POOL_ALLOCS,
        "allocator" => ALLOCATOR_BYTES,
        "scheduler" => SCHEDULER_REGIONS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_of_the_runtime() {
        let declared: Vec<_> = rheostat_runtime::observe::families::all().map(|family| family.name).collect();
        for name in ALL {
            assert!(declared.contains(name), "{name} is no family of the runtime");
        }
    }
}
