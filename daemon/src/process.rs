//! The process and the machine around it, from procfs. What the kernel does not say is absent, never zero.

use procfs::process::{LimitValue, Process};
use procfs::{CpuPressure, Current, IoPressure, MemoryPressure};
use rheostat_runtime::observe::{Reading, families};
use std::collections::HashMap;

/// What a status line shows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Brief {
    pub cpu_seconds: f64,
    pub rss_bytes: u64,
    pub threads: u32,
    pub cpu_pressure: Option<f64>,
}

/// The process in brief; zeroes where procfs is not to be had.
pub(crate) fn brief() -> Brief {
    let cpu_pressure = CpuPressure::current().ok().map(|pressure| f64::from(pressure.some.avg10) / 100.0);
    let Ok(stat) = Process::myself().and_then(|process| process.stat()) else {
        return Brief { cpu_pressure, ..Brief::default() };
    };
    Brief {
        cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        rss_bytes: stat.rss * procfs::page_size(),
        threads: u32::try_from(stat.num_threads).unwrap_or_default(),
        cpu_pressure,
    }
}

/// Context switches, which the kernel counts per thread and forgets when a thread ends.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    live: HashMap<i32, (u64, u64)>,
    ended: (u64, u64),
}

impl Switches {
    /// Voluntary and involuntary switches of all threads seen so far; never falls.
    fn total(&mut self, process: &Process) -> (u64, u64) {
        let mut live = HashMap::with_capacity(self.live.len());
        for task in process.tasks().into_iter().flatten().flatten() {
            if let Ok(status) = task.status() {
                let counts = (
                    status.voluntary_ctxt_switches.unwrap_or_default(),
                    status.nonvoluntary_ctxt_switches.unwrap_or_default(),
                );
                live.insert(task.tid, counts);
            }
        }
        for (tid, (voluntary, involuntary)) in &self.live {
            // A thread id with fewer switches than before is another thread.
            if live.get(tid).is_none_or(|now| now.0 < *voluntary) {
                self.ended = (self.ended.0 + voluntary, self.ended.1 + involuntary);
            }
        }
        self.live = live;
        self.live.values().fold(self.ended, |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }
}

/// Says everything about process and pressure.
pub(crate) fn read(reading: &mut Reading, switches: &mut Switches) {
    if let Ok(process) = Process::myself() {
        read_process(reading, &process, switches);
    }
    let pressures = [
        ("cpu", CpuPressure::current().map(|p| (p.some, p.full))),
        ("memory", MemoryPressure::current().map(|p| (p.some, p.full))),
        ("io", IoPressure::current().map(|p| (p.some, p.full))),
    ];
    let supported = pressures.iter().any(|(_, pressure)| pressure.is_ok());
    reading.level(&families::PRESSURE_SUPPORTED, &[], f64::from(u8::from(supported)));
    for (resource, pressure) in pressures {
        if let Ok((some, full)) = pressure {
            // The kernel counts microseconds.
            reading.total(&families::PRESSURE_WAITING, &[resource], some.total * 1000);
            reading.total(&families::PRESSURE_STALLED, &[resource], full.total * 1000);
        }
    }
}

fn read_process(reading: &mut Reading, process: &Process, switches: &mut Switches) {
    let tick_nanos = 1_000_000_000 / procfs::ticks_per_second();
    if let Ok(stat) = process.stat() {
        reading.total(&families::PROCESS_CPU, &[], (stat.utime + stat.stime) * tick_nanos);
        reading.level(&families::PROCESS_RSS, &[], (stat.rss * procfs::page_size()) as f64);
        reading.level(&families::PROCESS_VIRTUAL, &[], stat.vsize as f64);
        reading.level(&families::PROCESS_THREADS, &[], stat.num_threads as f64);
        if let Ok(boot) = procfs::boot_time_secs() {
            let start = boot as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64;
            reading.level(&families::PROCESS_START, &[], start);
        }
        reading.total(&families::PROCESS_FAULTS, &["major"], stat.majflt);
        reading.total(&families::PROCESS_FAULTS, &["minor"], stat.minflt);
    }
    if let Ok(count) = process.fd_count() {
        reading.level(&families::PROCESS_FDS, &[], count as f64);
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        reading.level(&families::PROCESS_FDS_MAX, &[], most as f64);
    }
    let (voluntary, involuntary) = switches.total(process);
    reading.total(&families::PROCESS_SWITCHES, &["voluntary"], voluntary);
    reading.total(&families::PROCESS_SWITCHES, &["involuntary"], involuntary);
}
