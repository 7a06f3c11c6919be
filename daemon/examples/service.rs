//! A service of your own that the dashboard, `rheostat` and Prometheus attach to: it hosts a pipeline, a map, a queue and a
//! pool of its own, and serves the control socket and the metrics as `rheostatd` does.
//!
//! `cargo run -p rheostat-daemon --example service`, and meanwhile in another terminal
//! `rheostat --socket /tmp/service/control.sock`.

use mimalloc::MiMalloc;
use rheostat_daemon::{Config, Origin, Overrides, Tracked, start};
use rheostat_runtime::alloc::{Class, Scope};
use rheostat_runtime::map::{Backend, CounterMap, MapLimits};
use rheostat_runtime::pipeline::{Pipeline, Refused, StageOptions};
use rheostat_runtime::pool::{Level, Pool, PoolLimits};
use rheostat_runtime::queue::{HostedQueue, Kind};
use std::path::Path;
use std::time::Duration;

/// So that the daemon knows which stage, and which scope, allocates.
#[global_allocator]
static ALLOCATOR: Tracked<MiMalloc> = Tracked::new(MiMalloc);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What the program itself says; a configuration in a file would be read with `Config::load`.
    let text = "[limits]\nruns_queued = 1\n";
    let overrides = Overrides {
        socket: Some("/tmp/service/control.sock".into()),
        state_dir: Some("/tmp/service/state".into()),
        metrics: Some("127.0.0.1:0".into()),
        ..Overrides::default()
    };
    let daemon = start(Config::parse(Origin::Program, text, Path::new("."), &overrides)?)?;

    let words = CounterMap::new("words", Backend::Sharded, MapLimits::default())?;
    let rejects = HostedQueue::new("rejects", Kind::Ring, 1024)?;
    let blocks = Pool::new("blocks", Level::ThreadCached, PoolLimits::default())?;
    let (counted, refused) = (words.clone(), rejects.clone());
    let pipeline = Pipeline::source("numbers", 0..3_000_000u64)
        .stage("parse", StageOptions::default(), move |n, out| {
            if n.is_multiple_of(1_000_000) {
                // Full or not: what is refused is counted either way.
                let _ = refused.try_push(n.to_string().into_bytes().into());
                // Set aside among the dead letters, with this reason; the worker goes on.
                return Err(Refused(format!("{n} is too round")));
            }
            out.push(n.to_string());
            Ok(())
        })
        .sink("count", StageOptions::default(), move |text: &mut String| {
            let last = &text.as_bytes()[text.len() - 1..];
            counted.add(last, 1).map(drop).map_err(|error| Refused(error.to_string()))
        })
        .start()?;
    let registry = daemon.registry();
    for resource in pipeline.resources() {
        registry.add(resource)?;
    }
    registry.add(words.clone())?;
    registry.add(rejects)?;
    registry.add(blocks.clone())?;
    daemon.listeners().iter().for_each(|listener| println!("{listener}"));

    // What this thread allocates is charged to `report` until the guard goes.
    let scope = Scope::new(Class::Other, "report");
    let in_scope = scope.enter();
    let block = blocks.alloc(4096)?;
    while !pipeline.wait(Duration::from_secs(1)) {
        println!("{} last digits so far", words.len());
    }
    drop((block, in_scope));
    println!("{} dead letters, {} digits", pipeline.dead_letters().len(), words.len());
    daemon.stop();
    Ok(())
}
