//! A pipeline as a run sees it: what it has done, and its end.

use super::RunError;
use super::cast::Cast;
use crate::catalogue;
use crate::script::{Extent, Origin, Phase, PipelineTarget, StageOp, Target, Workload};
use rheostat_runtime::observe::families::{
    PIPELINE_CUT, PIPELINE_DEAD_LETTERS, PIPELINE_INPUT_BYTES, PIPELINE_LATENCY, PIPELINE_REFUSED_FILES,
    PIPELINE_REPLACED, PIPELINE_SOURCE_BYTES, STAGE_ERRORS, STAGE_IN_ITEMS, STAGE_OUT_ITEMS, STAGE_SERVICE,
};
use rheostat_runtime::observe::{Address, Family, Measure, Reading, Registry, Resource, Snapshot};
use rheostat_runtime::pipeline::text::{Op, Source, Spec, StageSpec};
use rheostat_runtime::pipeline::{Limits, Pipeline, StageOptions};
use rheostat_runtime::pool::{Level, Pool, PoolLimits};
use rheostat_runtime::sync::Arc;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::io::{self, Read};

/// A running pipeline.
pub(super) struct Flow {
    pipeline: Arc<dyn Resource>,
    /// In the order of the flow.
    stages: Vec<Arc<dyn Resource>>,
    /// Absent for one of the host's: its life is not ours.
    own: Option<Arc<Pipeline>>,
    /// Bytes there are to read, where the source cannot tell and the script can.
    bytes_total: Option<u64>,
    /// How often shipped texts are read, where they are.
    passes: Option<Arc<Passes>>,
}

/// How often shipped texts are read: as often as the script says, and on as long as they are held.
#[derive(Debug, Default)]
struct Passes {
    /// Passes that were begun.
    begun: AtomicU64,
    /// Whether the end waits for [`Flow::let_end`].
    held: AtomicBool,
}

/// What a pipeline has done so far.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowFigures {
    /// Bytes the source handed over.
    pub bytes: u64,
    /// From the source to the end of the last stage, by record.
    pub latency: Snapshot,
    /// Records longer than the record limit, cut in pieces.
    pub cut: u64,
    /// Inputs it could not read or took for binary.
    pub refused: u64,
    /// Records set aside.
    pub dead_letters: u64,
    /// Invalid UTF-8 sequences replaced.
    pub replaced: u64,
    /// By stage.
    pub stages: Vec<StageFigures>,
}

/// What a stage has done so far.
#[derive(Debug, Clone, Default)]
pub(super) struct StageFigures {
    pub name: String,
    /// Records done with.
    pub in_items: u64,
    /// Records handed on.
    pub out_items: u64,
    /// Records set aside.
    pub errors: u64,
    /// Time of a worker on a batch.
    pub service: Snapshot,
}

impl FlowFigures {
    /// What happened since an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        let stages = self.stages.iter().map(|stage| {
            let Some(then) = earlier.stages.iter().find(|then| then.name == stage.name) else { return stage.clone() };
            StageFigures {
                name: stage.name.clone(),
                in_items: stage.in_items.saturating_sub(then.in_items),
                out_items: stage.out_items.saturating_sub(then.out_items),
                errors: stage.errors.saturating_sub(then.errors),
                service: stage.service.since(&then.service),
            }
        });
        Self {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            latency: self.latency.since(&earlier.latency),
            cut: self.cut.saturating_sub(earlier.cut),
            refused: self.refused.saturating_sub(earlier.refused),
            dead_letters: self.dead_letters.saturating_sub(earlier.dead_letters),
            replaced: self.replaced.saturating_sub(earlier.replaced),
            stages: stages.collect(),
        }
    }

    /// Records, counted where there are most of them along the way: words of a word count, lines of a line filter.
    pub fn items(&self) -> u64 {
        self.stages.iter().map(|stage| stage.in_items.max(stage.out_items)).max().unwrap_or(0)
    }
}

impl Flow {
    /// Finds a pipeline of the host.
    pub fn find(registry: &Registry, target: &Target) -> Result<Self, RunError> {
        let pipeline = registry.get(&target.address)?;
        let is_stage = |resource: &Arc<dyn Resource>| {
            resource.address().stage_name().is_some() && resource.address().name() == target.address.name()
        };
        let stages = registry.all().into_iter().filter(is_stage).collect();
        Ok(Self { pipeline, stages, own: None, bytes_total: None, passes: None })
    }

    /// Starts a pipeline of the run's own, with a pool of its own for its batches.
    pub fn start(
        cast: &mut Cast<'_>,
        workload: &Workload,
        target: &Target,
        pipeline: &PipelineTarget,
    ) -> Result<Self, RunError> {
        let failed = |error: &dyn std::fmt::Display| RunError::target(target, error);
        let name = target.address.name();
        let pool = Pool::new(name, Level::ThreadCached, PoolLimits::default()).map_err(|error| failed(&error))?;
        cast.host(pool.clone())?;
        let held = lasts_as_long_as_turns(workload, target);
        let (source, bytes_total, passes) = source(workload, pipeline, held);
        let stages = pipeline.stages.iter().map(|stage| {
            let op = match &stage.op {
                StageOp::Lines => Op::Lines,
                StageOp::Words => Op::Words,
                StageOp::Contains(text) => Op::Contains(text.clone()),
                StageOp::Matches(pattern) => Op::Matches(pattern.clone()),
                StageOp::Write(path) => Op::WriteTo(workload.base.join(path)),
                StageOp::Count(map) => match cast.counters(map) {
                    Some(map) => Op::CountInto(map.clone()),
                    None => return Err(failed(&format_args!("`{map}` is no map of counters"))),
                },
            };
            let [workers, batch, capacity] = [stage.workers, stage.batch, stage.capacity].map(|n| n as usize);
            Ok(StageSpec { name: stage.name.clone(), op, options: StageOptions { workers, batch, capacity } })
        });
        let stages = stages.collect::<Result<Vec<_>, _>>()?;
        let spec = Spec {
            name: name.to_owned(),
            source,
            rate: pipeline.rate.unwrap_or(0),
            stages,
            pool,
            limits: Limits::default(),
        };
        let own = spec.start().map_err(|error| failed(&error))?;
        let flow = Self {
            pipeline: own.clone(),
            stages: own.resources().into_iter().filter(|part| part.address().stage_name().is_some()).collect(),
            own: Some(own.clone()),
            bytes_total,
            passes,
        };
        for part in own.resources() {
            cast.host(part).inspect_err(|_| own.abandon())?;
        }
        Ok(flow)
    }

    /// What it has done so far. Stages first, then the source: what came out was put in before.
    pub fn figures(&self) -> FlowFigures {
        let stages = self.stages.iter().map(|stage| {
            let reading = read(&**stage);
            StageFigures {
                name: stage.address().stage_name().unwrap_or_default().to_owned(),
                in_items: reading.total_of(&STAGE_IN_ITEMS).unwrap_or(0),
                out_items: reading.total_of(&STAGE_OUT_ITEMS).unwrap_or(0),
                errors: reading.total_of(&STAGE_ERRORS).unwrap_or(0),
                service: spread_of(&reading, &STAGE_SERVICE),
            }
        });
        let stages = stages.collect();
        let reading = read(&*self.pipeline);
        FlowFigures {
            bytes: reading.total_of(&PIPELINE_SOURCE_BYTES).unwrap_or(0),
            latency: spread_of(&reading, &PIPELINE_LATENCY),
            cut: reading.total_of(&PIPELINE_CUT).unwrap_or(0),
            refused: reading.total_of(&PIPELINE_REFUSED_FILES).unwrap_or(0),
            dead_letters: reading.total_of(&PIPELINE_DEAD_LETTERS).unwrap_or(0),
            replaced: reading.total_of(&PIPELINE_REPLACED).unwrap_or(0),
            stages,
        }
    }

    /// Bytes there are to read, where anybody can tell.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total.or_else(|| {
            let known = read(&*self.pipeline).level_of(&PIPELINE_INPUT_BYTES).unwrap_or(0.0);
            (known > 0.0 && self.own.is_some()).then_some(known as u64)
        })
    }

    /// Whether that is this pipeline, or a stage of it.
    pub fn is_of(&self, address: &Address) -> bool {
        let own = self.pipeline.address();
        address == own || (address.stage_name().is_some() && address.name() == own.name())
    }

    /// Lets shipped texts come to their end, once they have been read as often as the script says.
    pub fn let_end(&self) {
        if let Some(passes) = &self.passes {
            // Relaxed: a flag that is polled and publishes nothing.
            passes.held.store(false, Relaxed);
        }
    }

    /// How often shipped texts were read, once the pipeline has ended.
    pub fn passes(&self) -> Option<u64> {
        // Relaxed: the end of the pipeline, which whoever asks has seen, comes after the last pass.
        self.passes.as_ref().map(|passes| passes.begun.load(Relaxed))
    }

    /// The pipeline, if it is the run's own.
    pub fn own(&self) -> Option<&Arc<Pipeline>> {
        self.own.as_ref()
    }

    /// Drops what is in flight, if there is any and it is ours.
    pub fn abandon(&self) {
        if let Some(own) = self.own.as_ref().filter(|own| !own.has_ended()) {
            own.abandon();
        }
    }
}

fn read(resource: &dyn Resource) -> Reading {
    let mut reading = Reading::default();
    resource.read(&mut reading);
    reading
}

/// A histogram of a reading; empty if it has none.
fn spread_of(reading: &Reading, family: &Family) -> Snapshot {
    let samples = reading.samples.iter().filter(|sample| sample.family.name == family.name);
    let mut spreads = samples.filter_map(|sample| match &sample.measure {
        Measure::Spread(spread) => Some((**spread).clone()),
        _ => None,
    });
    spreads.next().unwrap_or_default()
}

/// Whether the phase that reads a pipeline's input to its end has knobs to turn meanwhile, so often and no oftener: how long
/// the input lasts is a matter of the machine's speed, and it shall not end before the turns are made.
fn lasts_as_long_as_turns(workload: &Workload, target: &Target) -> bool {
    let drives = |phase: &&Phase| phase.groups.iter().any(|group| group.work.pipeline() == Some(&target.name));
    let first = workload.phases.iter().find(drives);
    first.is_some_and(|phase| phase.extent == Extent::Input && phase.events.iter().any(|event| !event.open))
}

/// The source of a pipeline, how many bytes it has if only the script knows, and how often it is read if that is known.
fn source(workload: &Workload, pipeline: &PipelineTarget, held: bool) -> (Source, Option<u64>, Option<Arc<Passes>>) {
    match workload.data.get(&pipeline.from).map(|data| &data.origin) {
        Some(Origin::Shipped { texts, passes }) => {
            let passes = if pipeline.repeat { u64::MAX } else { *passes };
            let made = Arc::new(Passes { begun: AtomicU64::new(0), held: AtomicBool::new(held) });
            let reader = Shipped::new(texts, passes, made.clone());
            let total = (!pipeline.repeat).then(|| reader.pass_bytes() * passes);
            (Source::Reader(Box::new(reader)), total, Some(made))
        }
        origin => {
            let patterns = match origin {
                Some(Origin::Files(patterns)) => patterns.clone(),
                _ => Vec::new(),
            };
            (Source::Files { patterns, base: workload.base.clone(), repeat: pipeline.repeat }, None, None)
        }
    }
}

/// Texts that ship, one after the other, over and over.
struct Shipped {
    texts: Vec<&'static [u8]>,
    /// Passes to be made at least.
    passes: u64,
    made: Arc<Passes>,
    /// The text to read from, and from where.
    at: (usize, usize),
}

impl Shipped {
    fn new(names: &[String], passes: u64, made: Arc<Passes>) -> Self {
        let texts: Vec<_> = names.iter().filter_map(|name| catalogue::text(name)).map(str::as_bytes).collect();
        // Before the first.
        Self { at: (texts.len(), 0), texts, passes, made }
    }

    /// Bytes of one pass.
    fn pass_bytes(&self) -> u64 {
        self.texts.iter().map(|text| text.len() as u64).sum()
    }
}

impl Read for Shipped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() && !self.texts.is_empty() {
            let (index, from) = self.at;
            let Some(text) = self.texts.get(index) else {
                let begun = self.made.begun.load(Relaxed);
                if begun >= self.passes && !self.made.held.load(Relaxed) {
                    break;
                }
                self.made.begun.store(begun + 1, Relaxed);
                self.at = (0, 0);
                continue;
            };
            let n = (text.len() - from).min(into.len() - filled);
            into[filled..filled + n].copy_from_slice(&text[from..from + n]);
            filled += n;
            self.at = if from + n == text.len() { (index + 1, 0) } else { (index, from + n) };
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_texts_are_read_over_and_over() {
        let names = ["harbour".to_owned(), "werkstatt".to_owned()];
        let made = Arc::new(Passes::default());
        let mut shipped = Shipped::new(&names, 3, made.clone());
        let mut read = String::new();
        shipped.read_to_string(&mut read).unwrap();
        let once = names.iter().map(|name| catalogue::text(name).unwrap()).collect::<String>();
        assert_eq!(read, once.repeat(3));
        assert_eq!(made.begun.load(Relaxed), 3);
    }

    #[test]
    fn shipped_texts_that_are_held_go_on_to_the_end_of_a_pass() {
        let names = ["harbour".to_owned()];
        let once = catalogue::text("harbour").unwrap();
        let made = Arc::new(Passes { begun: AtomicU64::new(0), held: AtomicBool::new(true) });
        let mut shipped = Shipped::new(&names, 1, made.clone());
        let mut some = vec![0; 5 * once.len() / 2];
        shipped.read_exact(&mut some).unwrap();
        made.held.store(false, Relaxed);
        let mut rest = String::new();
        shipped.read_to_string(&mut rest).unwrap();
        assert_eq!(String::from_utf8(some).unwrap() + &rest, once.repeat(3));
        assert_eq!(made.begun.load(Relaxed), 3, "what the oracle multiplies by");
    }
}
