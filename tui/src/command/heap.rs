//! `rheostat heap`: a heap profile in a file.

use super::answer::Answer;
use super::interrupt::interrupted_or_hung_up;
use crate::exit::{Exit, Failure};
use crate::units;
use clap::Args;
use rheostat_api::{Client, KnobValue};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ADDRESS: &str = "allocator.process";
const KNOB: &str = "sampling";

/// What to sample, for how long, and where to put it.
#[derive(Debug, Args)]
#[command(after_help = "\
Limits: 12288 samples that live at once, further ones are dropped and counted (rheostat_allocator_samples_dropped_total);
4096 stacks of 48 frames, the rest stand together under one without frames; 126 stages and sources by name in the label
`scope`, further ones as `other`.")]
pub struct Heap {
    /// Sample for this long where sampling is off, and turn it off again
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = units::parse_duration)]
    lasting: Duration,
    /// Bytes from one sample to the next, on average, where sampling is off
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 10, value_parser = clap::value_parser!(i64).range(1..=1 << 30))]
    every: i64,
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "heap.pb.gz")]
    output: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    file: &'a Path,
    bytes: usize,
}

/// Takes a profile and writes it.
pub async fn run(client: &Client, heap: &Heap, answer: &mut Answer) -> Result<Exit, Failure> {
    let allocator = client.resource(ADDRESS).await?;
    let Some(knob) = allocator.knob(KNOB) else {
        let failure = Failure::new(Exit::Error, "the daemon's allocator cannot be sampled");
        return Err(failure.advise("its program has to wrap its global allocator in `Tracked`"));
    };
    let was_off = knob.value == KnobValue::Integer(0);
    // It is turned off again also where somebody does not wait for the end.
    let ended = interrupted_or_hung_up();
    if was_off {
        let sampled = async {
            turn(client, heap.every).await?;
            tokio::time::sleep(heap.lasting).await;
            Ok(())
        };
        let sampled = tokio::select! {
            sampled = sampled => sampled,
            () = ended => Ok(()),
        };
        if let Err(failure) = sampled {
            // An answer that is late or lost says nothing: the daemon may be sampling all the same.
            return Err(if turn(client, 0).await.is_ok() { failure } else { still_on(failure) });
        }
    }
    let profile = client.heap_profile().await;
    if was_off {
        turn(client, 0).await.map_err(still_on)?;
    }
    let profile = profile?;
    std::fs::write(&heap.output, &profile).map_err(|error| {
        Failure::new(Exit::Error, format!("{} cannot be written", heap.output.display())).because(error)
    })?;
    if answer.is_json() {
        answer.object(&Written { file: &heap.output, bytes: profile.len() })?;
    } else {
        let size = units::memory(profile.len() as f64);
        let file = heap.output.display();
        answer.line(format_args!("{file}: {size}; `go tool pprof -http : {file}` shows it"))?;
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

async fn turn(client: &Client, to: i64) -> Result<(), Failure> {
    client.turn(ADDRESS, KNOB, KnobValue::Integer(to)).await?;
    Ok(())
}

/// What is left to do for whoever reads of this failure.
fn still_on(failure: Failure) -> Failure {
    failure.advise(format_args!("the daemon may be sampling still: `rheostat set {ADDRESS}.{KNOB}=0` once it answers"))
}
