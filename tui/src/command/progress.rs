//! How far a run is, on stderr: one line that rewrites itself on a terminal, a line a second anywhere else; nothing where
//! scripts read there, which find errors alone.

use crate::wording;
use rheostat_api::Run;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows runs as they go on.
pub struct Progress {
    silent: bool,
    terminal: bool,
    shown: Option<Instant>,
    rates: Rates,
}

impl Progress {
    /// Shows nothing yet; silent, nothing at all.
    pub fn new(silent: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        // A run that ends within its first second leaves no line in a log.
        Self { silent, terminal, shown: (!terminal).then(Instant::now), rates: Rates::default() }
    }

    /// Shows the run as it stands, if it is time to.
    pub fn show(&mut self, run: &Run) {
        let rates = self.rates.take(run);
        if self.silent || !self.terminal && self.shown.is_some_and(|at| at.elapsed() < LINE_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = wording::run(run, rates);
        let text = if self.terminal {
            // A line that wraps cannot be rewritten: it is cut one short of the last column.
            let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            let line: String = line.chars().take(columns.saturating_sub(1)).collect();
            format!("\r{line}\x1b[K")
        } else {
            format!("{line}\n")
        };
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Leaves a clean line to whatever is printed next.
    pub fn end(&mut self) {
        if self.terminal && self.shown.take().is_some() {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// Items and bytes per second over the last second or so.
#[derive(Default)]
struct Rates {
    from: Option<(f64, u64, u64)>,
    last: Option<(f64, f64)>,
}

impl Rates {
    fn take(&mut self, run: &Run) -> Option<(f64, f64)> {
        let progress = &run.progress;
        let now = (progress.elapsed_s, progress.items, progress.bytes);
        let (at, items, bytes) = *self.from.get_or_insert(now);
        let seconds = now.0 - at;
        if seconds >= 1.0 || (self.last.is_none() && seconds > 0.1) {
            let per_s = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
            self.last = Some((per_s(now.1, items), per_s(now.2, bytes)));
            self.from = Some(now);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_api::RunState;

    fn run(elapsed_s: f64, items: u64, bytes: u64) -> Run {
        let progress = rheostat_api::Progress {
            phase: "measure".into(),
            items,
            bytes,
            bytes_total: Some(2_000_000_000),
            elapsed_s,
            left_s: Some(3.2),
        };
        Run {
            id: "1".into(),
            name: "words".into(),
            state: RunState::Running,
            uses: vec![],
            submitted_ms: 0,
            started_ms: None,
            ended_ms: None,
            progress,
            verdict: None,
            error: None,
        }
    }

    #[test]
    fn a_line_says_records_bytes_rate_and_time_left() {
        let mut rates = Rates::default();
        assert_eq!(rates.take(&run(1.0, 0, 0)), None, "the first look has nothing to compare with");
        let later = run(3.0, 3_800_000, 428_000_000);
        let line = wording::run(&later, rates.take(&later));
        assert_eq!(line, "words  measure  3.8M records  428 MB of 2 GB  214 MB/s  4s left");
    }

    #[test]
    fn rates_are_kept_between_looks_that_are_too_close() {
        let mut rates = Rates::default();
        rates.take(&run(0.0, 0, 0));
        let first = rates.take(&run(1.0, 100, 1000));
        assert_eq!(first, Some((100.0, 1000.0)));
        assert_eq!(rates.take(&run(1.05, 100, 1000)), first);
    }
}
