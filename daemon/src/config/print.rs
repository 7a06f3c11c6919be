//! A configuration as the TOML that would say it, with every default written out.

use super::raw::*;
use super::{Allocator, Config, EagerCommit, Op, Source, Values};
use rheostat_runtime::pool::PoolSetup;
use serde_spanned::Spanned;
use std::fmt;
use std::path::Path;
use std::time::Duration;

fn said<T>(value: T) -> Written<T> {
    Some(Spanned::new(0..0, value))
}

fn number(value: usize) -> Written<i64> {
    said(i64::try_from(value).unwrap_or(i64::MAX))
}

fn size(value: usize) -> Written<Size> {
    said(Size(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn switch(on: bool) -> Written<Switch> {
    said(Switch(on))
}

fn millis(value: Duration) -> Written<i64> {
    said(i64::try_from(value.as_millis()).unwrap_or(i64::MAX))
}

fn path(value: &Path) -> Written<String> {
    said(value.display().to_string())
}

fn named<C, R>(items: &[C], entry: impl Fn(&C) -> (&String, R)) -> Named<R> {
    items.iter().map(entry).map(|(name, raw)| (Spanned::new(0..0, name.clone()), raw)).collect()
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = written(self);
        f.write_str(&toml::to_string(&raw).map_err(|_| fmt::Error)?)
    }
}

fn written(config: &Config) -> RawConfig {
    let (control, limits, resources) = (&config.control, &config.limits, &config.resources);
    RawConfig {
        control: RawControl {
            socket: path(&control.socket),
            listen: control.listen.and_then(|address| said(address.to_string())),
            token_file: path(&control.token_file),
        },
        metrics: RawMetrics { listen: said(config.metrics.map_or_else(|| "off".into(), |a| a.to_string())) },
        allocator: allocator_written(&config.allocator),
        limits: RawLimits {
            header_bytes: size(limits.header_bytes),
            headers: number(limits.headers),
            header_timeout_ms: millis(limits.header_timeout),
            body_bytes: size(limits.body_bytes),
            upload_bytes: size(limits.upload_bytes),
            request_timeout_ms: millis(limits.request_timeout),
            connections: number(limits.connections),
            connections_reserved: number(limits.connections_reserved),
            streams: number(limits.streams),
            runs_queued: number(limits.runs_queued),
            history_series: number(limits.history_series),
            operations: number(limits.operations),
            key_bytes: size(limits.key_bytes),
            value_bytes: size(limits.value_bytes),
            journal_bytes: size(limits.journal_bytes),
            workers: number(limits.knobs.workers_max),
            batch: number(limits.knobs.batch_max),
            capacity: number(limits.knobs.capacity_max),
        },
        stop: RawStop { limit_ms: millis(config.stop_limit) },
        state: RawState { dir: path(&config.state_dir) },
        map: named(&resources.maps, |map| {
            let values = match map.values {
                Values::Counters => RawValues::Counters,
                Values::Bytes => RawValues::Bytes,
                Values::Words => RawValues::Words,
            };
            let (backend, entries_max) = (said(Spelled(map.backend)), number(map.entries_max));
            let (buckets, bytes_max) = (number(map.buckets), size(map.bytes_max));
            let (values, turn_bytes_max) = (said(values), size(map.turn_bytes_max));
            (
                &map.name,
                RawMap {
                    values,
                    pool: map.pool.clone().and_then(said),
                    backend,
                    buckets,
                    entries_max,
                    bytes_max,
                    turn_bytes_max,
                },
            )
        }),
        queue: named(&resources.queues, |queue| {
            (&queue.name, RawQueue { kind: said(Spelled(queue.kind)), capacity: number(queue.capacity) })
        }),
        pool: named(&resources.pools, |pool| (&pool.name, pool_written(&pool.setup))),
        scheduler: named(&resources.schedulers, |scheduler| {
            (&scheduler.name, RawScheduler { threads: number(scheduler.threads) })
        }),
        pipeline: named(&resources.pipelines, |pipeline| {
            let stage = pipeline.stages.iter().map(|stage| Spanned::new(0..0, stage_written(stage))).collect();
            let raw =
                RawPipeline { source: source_written(&pipeline.source), pool: said(pipeline.pool.clone()), stage };
            (&pipeline.name, raw)
        }),
    }
}

fn allocator_written(allocator: &Allocator) -> RawAllocator {
    RawAllocator {
        eager_commit: said(match allocator.eager_commit {
            EagerCommit::Auto => RawEagerCommit::Auto,
            EagerCommit::On => RawEagerCommit::Switched(Switch(true)),
            EagerCommit::Off => RawEagerCommit::Switched(Switch(false)),
        }),
        large_os_pages: switch(allocator.large_os_pages),
        purge_delay_ms: allocator.purge_delay.map_or_else(|| said(-1), millis),
        statistics_at_exit: switch(allocator.statistics_at_exit),
    }
}

/// Without its preset, as every setting is there.
fn pool_written(setup: &PoolSetup) -> RawPool {
    RawPool {
        preset: None,
        level: said(Spelled(setup.level)),
        bytes_max: size(setup.limits.bytes_max),
        bytes_initial: size(setup.bytes_initial.min(setup.limits.bytes_max)),
        alignment: number(setup.alignment),
        cache_bytes: size(setup.cache_bytes),
        idle_bytes: size(setup.idle_bytes),
        huge_pages: switch(setup.huge_pages),
        guarded: switch(setup.guarded),
    }
}

fn source_written(source: &Source) -> Written<RawSource> {
    said(match source {
        Source::Stdin => RawSource { stdin: switch(true), ..RawSource::default() },
        Source::Files { patterns, base, repeat, bytes_per_second } => RawSource {
            files: said(patterns.clone()),
            base: path(base),
            repeat: switch(*repeat),
            bytes_per_second: bytes_per_second.and_then(|rate| said(Pace(i64::try_from(rate).unwrap_or(i64::MAX)))),
            stdin: None,
        },
    })
}

fn stage_written(stage: &super::Stage) -> RawStage {
    let blank = RawStage {
        name: said(stage.name.clone()),
        workers: number(stage.workers),
        batch: number(stage.batch),
        capacity: number(stage.capacity),
        ..RawStage::default()
    };
    match &stage.op {
        Op::Lines => RawStage { op: said(RawOp::Lines), ..blank },
        Op::Words => RawStage { op: said(RawOp::Words), ..blank },
        Op::Contains(text) => RawStage { op: said(RawOp::Filter), contains: said(text.clone()), ..blank },
        Op::Matches(regex) => RawStage { op: said(RawOp::Filter), regex: said(regex.clone()), ..blank },
        Op::Count { map } => RawStage { op: said(RawOp::Count), map: said(map.clone()), ..blank },
        Op::Write { path: file } => RawStage { op: said(RawOp::Write), path: path(file), ..blank },
    }
}
