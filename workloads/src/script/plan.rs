//! What a workload is going to do, before it does it.

use super::{Extent, MapOp, Origin, Phase, Work, Workload};
use crate::{catalogue, unit};
use std::fmt;
use std::time::Duration;

/// Phases, time and memory of a run, as far as the file and its inputs tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name of the workload.
    pub name: String,
    /// Its inputs, each in one line.
    pub inputs: Vec<String>,
    /// What is wrong with the inputs; the run would fail.
    pub problems: Vec<String>,
    /// Its phases in order.
    pub phases: Vec<PlannedPhase>,
    /// Time of the phases that end by time.
    pub timed: Duration,
    /// Phases that end by count or with their input, whose time depends on the machine.
    pub untimed: usize,
    /// Bytes the targets need, about.
    pub memory: u64,
    /// When the run is ended whatever it does.
    pub timeout: Duration,
}

/// A phase of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPhase {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// How long, or until when.
    pub extent: String,
    /// Worker threads of its groups; stages of pipelines bring their own.
    pub workers: u64,
    /// Turns of knobs.
    pub turns: u64,
}

impl Workload {
    /// What a run is going to do. Looks the inputs up, reads none of them.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan {
            name: self.name.clone(),
            inputs: Vec::new(),
            problems: Vec::new(),
            phases: self.phases.iter().map(PlannedPhase::of).collect(),
            timed: Duration::ZERO,
            untimed: 0,
            memory: self.targets.iter().map(|target| target.memory()).sum::<u64>() + self.growth(),
            timeout: self.timeout,
        };
        for phase in &self.phases {
            match phase.extent {
                Extent::Duration(duration) | Extent::Steady(duration) => plan.timed += duration,
                Extent::Count(_) | Extent::Input => plan.untimed += 1,
            }
        }
        for (name, data) in &self.data {
            match self.looked_up(&data.origin) {
                Ok((files, bytes)) => {
                    plan.inputs.push(format!("{name}: {files} files, {}", unit::bytes(bytes)));
                }
                Err(problem) => plan.problems.push(format!("data `{name}`: {problem}")),
            }
        }
        plan
    }

    /// Bytes that new keys need where their number is known.
    fn growth(&self) -> u64 {
        let grown = |phase: &Phase| {
            let Extent::Count(count) = phase.extent else { return 0 };
            let inserts = phase.groups.iter().find_map(|group| match &group.work {
                Work::Map { target, mix, .. } if mix.has(&[MapOp::InsertNew]) => self.target(target),
                _ => None,
            });
            inserts.map_or(0, |target| target.entry_bytes().saturating_mul(count))
        };
        self.phases.iter().map(grown).sum()
    }

    /// How many files and bytes there are.
    fn looked_up(&self, origin: &Origin) -> Result<(usize, u64), String> {
        match origin {
            Origin::Shipped { texts, passes } => {
                let bytes: usize = texts.iter().filter_map(|name| catalogue::text(name)).map(str::len).sum();
                Ok((texts.len(), bytes as u64 * passes))
            }
            Origin::Files(patterns) => {
                let files =
                    rheostat_runtime::pipeline::text::list(patterns, &self.base).map_err(|why| why.to_string())?;
                Ok((files.len(), files.iter().map(|file| file.bytes).sum()))
            }
        }
    }
}

impl PlannedPhase {
    fn of(phase: &Phase) -> Self {
        let extent = match phase.extent {
            Extent::Duration(duration) => unit::duration(duration),
            Extent::Steady(max) => format!("until steady, {} at most", unit::duration(max)),
            Extent::Count(count) => format!("{count} operations"),
            Extent::Input => "until the input ends".to_owned(),
        };
        let insert = phase.insert.as_ref().map_or(0, |insert| insert.workers);
        let driven = phase.groups.iter().filter(|group| !matches!(group.work, super::Work::Pipeline { .. }));
        Self {
            name: phase.name.clone(),
            role: phase.role.as_str(),
            extent,
            workers: insert + driven.map(|group| group.workers).sum::<u64>(),
            turns: phase.events.iter().map(super::Event::turns).sum(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} phases", self.name, self.phases.len())?;
        for phase in &self.phases {
            write!(f, "  {:<16} {:<9} {}", phase.name, phase.role, phase.extent)?;
            match phase.workers {
                0 => {}
                1 => write!(f, ", 1 worker")?,
                workers => write!(f, ", {workers} workers")?,
            }
            if phase.turns > 0 {
                write!(f, ", {} turns", phase.turns)?;
            }
            writeln!(f)?;
        }
        for input in &self.inputs {
            writeln!(f, "input   {input}")?;
        }
        write!(f, "time    ")?;
        match (self.timed.is_zero(), self.untimed) {
            (_, 0) => write!(f, "{}", unit::duration(self.timed))?,
            (true, _) => write!(f, "as long as the work takes")?,
            (false, _) => write!(f, "{} and as long as the rest takes", unit::duration(self.timed))?,
        }
        writeln!(f, ", {} at most", unit::duration(self.timeout))?;
        writeln!(f, "memory  about {}", unit::bytes(self.memory))?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "problem {problem}"))
    }
}
