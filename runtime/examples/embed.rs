//! A pipeline of closures in a process of your own, its workers turned while it runs.
//!
//! `cargo run -p rheostat-runtime --example embed`

use rheostat_runtime::observe::{Actor, Reading, Registry, Value, families};
use rheostat_runtime::pipeline::{Pipeline, StageOptions};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::source("squares", 0..2_000_000u64)
        .stage("square", StageOptions::default(), |n, out| {
            out.push(n.wrapping_mul(*n));
            Ok(())
        })
        .sink("keep", StageOptions::default(), |_| Ok(()))
        .start()?;

    let registry = Registry::new();
    for resource in pipeline.resources() {
        registry.add(resource)?;
    }
    let stage = "pipeline.squares.square".parse()?;
    let change = registry.turn(&stage, "workers", Value::Integer(4), Actor::Process)?;
    println!("{}.{}: {} -> {} in {:?}", change.address, change.knob, change.from, change.to, change.took);

    pipeline.wait(Duration::from_secs(60));
    let mut reading = Reading::default();
    registry.get(&stage)?.read(&mut reading);
    println!("{} records squared", reading.total_of(&families::STAGE_IN_ITEMS).unwrap_or(0));
    Ok(())
}
