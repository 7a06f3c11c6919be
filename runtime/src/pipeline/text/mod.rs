//! Pipelines over text: what the daemon hosts and workload files describe.
//!
//! Records are byte strings. A source hands over chunks of whole lines; [`Op::Lines`] and [`Op::Words`] cut them up.

mod count;
mod filter;
mod lines;
mod records;
mod source;
mod words;
mod write;

pub use records::Records;
pub use source::{Input, RECORD_BYTES_MAX, SourceError, list};

use super::batch::Batch;
use super::builder::hand_over;
use super::flow::Flow;
use super::intake::{Intake, Tally};
use super::port::Port;
use super::running::{Assembly, Pipeline};
use super::stage::Stage;
use super::{Limits, Op as Work, PipelineError, StageOptions};
use crate::map::CounterMap;
use crate::observe::Resource;
use crate::pool::Pool;
use crate::sync::{Arc, thread};
use records::BLOCK_BYTES;
use source::{Chunk, Chunks, open_text, require_text};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// What a text pipeline is made of.
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Where its text comes from.
    pub source: Source,
    /// Bytes a second the source hands over at most; 0 for as many as there are. A knob afterwards.
    pub rate: u64,
    /// What is done to it, in order.
    pub stages: Vec<StageSpec>,
    /// Where its batches live.
    pub pool: Arc<Pool>,
    /// How far its knobs go.
    pub limits: Limits,
}

/// Where text comes from.
pub enum Source {
    /// Files, folders and glob patterns.
    Files {
        /// What to read.
        patterns: Vec<String>,
        /// Where relative ones start.
        base: PathBuf,
        /// Begin anew at the end, for ever.
        repeat: bool,
    },
    /// Anything that can be read, such as standard input.
    Reader(Box<dyn Read + Send>),
}

/// One stage.
pub struct StageSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// How it starts.
    pub options: StageOptions,
}

/// What a stage does to text.
#[derive(Clone)]
pub enum Op {
    /// Splits records into lines.
    Lines,
    /// Splits records into words: maximal runs of alphanumeric characters, lower-cased, by Unicode; invalid UTF-8
    /// separates words and is counted.
    Words,
    /// Lets through records that contain this text.
    Contains(String),
    /// Lets through records in which this regular expression finds a match.
    Matches(String),
    /// Counts records into a hosted map and hands nothing on. Last stage only.
    CountInto(Arc<CounterMap>),
    /// Writes records to a file, a line each, and hands nothing on. Last stage only.
    WriteTo(PathBuf),
}

impl Op {
    fn keeps_all(&self) -> bool {
        matches!(self, Op::CountInto(_) | Op::WriteTo(_))
    }
}

type Make = Box<dyn Fn() -> Box<dyn Work<Records, Records>> + Send + Sync>;

impl Spec {
    /// Starts the pipeline.
    ///
    /// # Errors
    /// A name or a number out of its range; a source that names nothing, or nothing that is readable text; a
    /// pattern that is none; an output file that cannot be made; a system that starts no more threads. Nothing
    /// runs then.
    pub fn start(self) -> Result<Arc<Pipeline>, PipelineError> {
        let mut assembly = Assembly::new(&self.name, self.stages.len(), self.limits)?;
        assembly.intake.set_rate(self.rate);
        assembly.is_paced = true;
        assembly.pool = Some(self.pool.address().clone());
        let last = self.stages.len().saturating_sub(1);
        for (index, stage) in self.stages.iter().enumerate() {
            if stage.op.keeps_all() && index != last {
                let why = format!("stage `{}` hands nothing on, so no stage can follow it", stage.name);
                return Err(PipelineError::Shape(why));
            }
        }
        let ports = self.stages.iter().map(|stage| assembly.port::<Records>(&stage.name, &stage.options));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        // Looked at before any op is made: making one may empty an output file, and a start that fails leaves it be.
        let files = match &self.source {
            Source::Files { patterns, base, .. } => {
                let files = list(patterns, base)?;
                require_text(&files, &patterns.join(", "))?;
                files
            }
            Source::Reader(_) => Vec::new(),
        };
        for (index, (address, _)) in ports.iter().enumerate() {
            // None of them is in the assembly yet, so `Assembly::port` could not tell.
            if ports[..index].iter().any(|(other, _)| other == address) {
                return Err(PipelineError::Shape(format!("there are two stages `{address}`; rename one")));
            }
        }
        for (index, (address, input)) in ports.iter().enumerate() {
            let stage = &self.stages[index];
            let output = ports.get(index + 1).map(|(_, port)| port.clone());
            let make_op = make(&stage.op, &assembly.intake)
                .map_err(|why| PipelineError::Op { stage: address.to_string(), why })?;
            let pool = self.pool.clone();
            let make_batch = Box::new(move || Records::with_room(&pool, BLOCK_BYTES));
            let made = Stage::new(&assembly, address.clone(), input.clone(), output, make_op, make_batch);
            assembly.stages.push((made, stage.options.workers));
        }
        let Some((_, port)) = ports.into_iter().next() else { return Pipeline::start(assembly) };
        let feed =
            Feed { port, intake: assembly.intake.clone(), flow: assembly.flow.clone(), pool: self.pool, batch: None };
        assembly.source = Some(match self.source {
            Source::Files { repeat, .. } => {
                feed.intake.expect(files.iter().map(|file| file.bytes).sum());
                Box::new(move || feed.files(&files, repeat))
            }
            Source::Reader(reader) => Box::new(move || feed.reader(reader)),
        });
        Pipeline::start(assembly)
    }
}

fn make(op: &Op, intake: &Arc<Intake>) -> Result<Make, String> {
    Ok(match op.clone() {
        Op::Lines => Box::new(|| Box::new(lines::Lines)),
        Op::Words => {
            let intake = intake.clone();
            Box::new(move || Box::new(words::Words { intake: intake.clone() }))
        }
        Op::Contains(text) => {
            let finder = Arc::new(memchr::memmem::Finder::new(&text).into_owned());
            Box::new(move || Box::new(filter::Filter::Contains(finder.clone())))
        }
        Op::Matches(pattern) => {
            let pattern = regex::bytes::Regex::new(&pattern)
                .map_err(|why| format!("`{pattern}` is no regular expression: {why}"))?;
            Box::new(move || Box::new(filter::Filter::Matches(pattern.clone())))
        }
        Op::CountInto(map) => Box::new(move || Box::new(count::Count::into(map.clone()))),
        Op::WriteTo(path) => {
            let target = write::Target::create(&path).map_err(|why| format!("{}: {why}", path.display()))?;
            Box::new(move || Box::new(write::Write::to(target.clone())))
        }
    })
}

/// A repeating source that finds nothing to read looks again this often.
const GONE_LOOK: Duration = Duration::from_millis(100);

/// The source's thread: reads chunks straight into blocks, and packs small files together.
struct Feed {
    port: Arc<Port<Records>>,
    intake: Arc<Intake>,
    flow: Arc<Flow>,
    pool: Arc<Pool>,
    batch: Option<Records>,
}

impl Feed {
    fn files(mut self, files: &[Input], repeat: bool) {
        loop {
            let read_before = self.records_read();
            for file in files {
                if self.flow.is_stopping() {
                    return self.hand_over();
                }
                let read = open_text(&file.path).and_then(|mut text| self.read(&mut text));
                if let Err(why) = read {
                    self.intake.refuse(format!("{}: {why}", file.path.display()));
                }
            }
            self.intake.count(Tally::Laps, 1);
            if !repeat {
                return self.hand_over();
            }
            if self.records_read() == read_before {
                // Every file has gone, or is empty: look again, but not in a spin, and with nothing held back.
                self.hand_over();
                thread::sleep(GONE_LOOK);
            }
        }
    }

    /// Records read so far, those still being packed included.
    fn records_read(&self) -> u64 {
        self.intake.total(Tally::Items) + self.batch.as_ref().map_or(0, Batch::len) as u64
    }

    fn reader(mut self, mut reader: impl Read) {
        if let Err(why) = self.read(&mut reader) {
            self.intake.refuse(format!("the input broke off: {why}"));
        }
        self.hand_over();
    }

    /// Reads one text to its end, or until the pipeline is asked to stop.
    fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
        let (mut chunks, mut cut) = (Chunks::default(), 0);
        let mut room = BLOCK_BYTES;
        while !self.flow.is_stopping() {
            let batch = self.batch.get_or_insert_with(|| Records::with_room(&self.pool, room));
            let may_grow = !batch.is_empty() || room < RECORD_BYTES_MAX;
            match chunks.next(from, batch.spare_mut(), may_grow, &mut cut)? {
                Chunk::Here(bytes) => {
                    batch.seal(bytes);
                    room = BLOCK_BYTES;
                    if batch.is_full() || batch.len() >= self.port.batch_limit() {
                        self.hand_over();
                    }
                }
                // A line that does not fit behind others gets a block of its own, then a longer one.
                Chunk::Longer if self.batch.as_ref().is_some_and(|batch| !batch.is_empty()) => self.hand_over(),
                Chunk::Longer => {
                    room *= 2;
                    self.batch = None;
                }
                Chunk::End => break,
            }
        }
        self.intake.count(Tally::Cut, cut);
        Ok(())
    }

    fn hand_over(&mut self) {
        if let Some(batch) = self.batch.take() {
            let bytes = batch.bytes() as u64;
            hand_over(batch, &self.port, &self.intake);
            self.intake.pace(bytes, &self.flow);
        }
    }
}
