//! When a pool that chooses its level moves to another: what `adaptive` says, made slow to follow.
//!
//! A rule has to hold at [`LOOKS`] looks in a row. The figures at which a rule begins to hold and those at which its
//! opposite does are apart by a factor of two at least. After a move nothing moves for [`PAUSE`]. The first looks after
//! it are compared with those before: when as many threads, busy before, do less than four fifths, the move is taken
//! back and not tried again for eight pauses; when they do no more and wait as much, the next pause is twice as long,
//! and so it is after a move back to where the last one came from. A pause is [`PAUSE_MAX`] at most, and after a long
//! time without a move it is [`PAUSE`] again. So under a steady load there is one move, or none, or one that is tried
//! and taken back ever more rarely.

use super::adaptive::{BUSY, Decision, Look, Terms, count};
use super::level::Level;
use crate::observe::Moment;
use std::time::Duration;

/// Looks in a row at which a rule has to hold.
const LOOKS: u32 = 3;
/// From a move to the next, at least.
const PAUSE: Duration = Duration::from_secs(10);
/// What that may grow to.
const PAUSE_MAX: Duration = Duration::from_secs(640);
/// So much longer it is after a move that was taken back.
const PAUSE_TAKEN_BACK: u32 = 8;
/// After so many pauses without a move nothing is held against the last any more.
const PAUSES_FORGOTTEN: u32 = 10;
/// What is done after a move, in shares of what was done before: harm below the one, help above the other.
const HARMED: f64 = 0.8;
const HELPED: f64 = 1.1;

/// A pool's choices so far.
#[derive(Debug, Clone)]
pub(super) struct Hysteresis {
    terms: Terms,
    /// What a rule has wanted since how many looks.
    wanted: Option<(Level, u32)>,
    /// The sum of the looks that it has wanted it at.
    before: Measured,
    last: Option<Move>,
    pause: Duration,
}

/// A move that was made.
#[derive(Debug, Clone, Copy)]
struct Move {
    at: Moment,
    from: Level,
    to: Level,
    before: Measured,
    after: Measured,
    /// The next look has what the change itself did in it.
    fresh: bool,
    judged: bool,
}

/// Looks, summed up.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    looks: u32,
    threads: usize,
    rate: f64,
    trouble: f64,
}

impl Measured {
    fn add(&mut self, look: &Look) {
        self.looks += 1;
        self.threads += look.threads;
        self.rate += look.rate();
        self.trouble += look.trouble();
    }

    fn mean_rate(&self) -> f64 {
        self.rate / f64::from(self.looks.max(1))
    }

    fn mean_threads(&self) -> f64 {
        self.threads as f64 / f64::from(self.looks.max(1))
    }

    fn mean_trouble(&self) -> f64 {
        self.trouble / f64::from(self.looks.max(1))
    }
}

impl Hysteresis {
    pub fn new(terms: Terms) -> Self {
        Self { terms, wanted: None, before: Measured::default(), last: None, pause: PAUSE }
    }

    /// Takes a look in; says where to turn to if it is time. Who asks turns there, or asks again without having done
    /// so.
    pub fn look(&mut self, at: Moment, level: Level, look: &Look) -> Option<Decision> {
        if matches!(level, Level::Fixed | Level::Unlocked) && !(level == Level::Fixed && self.terms.all_at_start) {
            // A move to `fixed` may have been refused.
            if self.last.is_some_and(|last| last.from == level && at.since(last.at) < self.pause) {
                return None;
            }
            let start = self.terms.start();
            let reason = format!("{level} is not a level to choose: {}", start.reason);
            return Some(self.moved(at, level, Decision { to: start.to, reason }));
        }
        if let Some(decision) = self.verdict(at, level, look) {
            return Some(decision);
        }
        let Some(decision) = self.terms.judge(level, look) else {
            self.wanted = None;
            return None;
        };
        let looks = match self.wanted {
            Some((to, looks)) if to == decision.to => looks + 1,
            _ => {
                self.before = Measured::default();
                1
            }
        };
        self.wanted = Some((decision.to, looks));
        self.before.add(look);
        let rests = self.last.is_some_and(|last| !last.judged || at.since(last.at) < self.pause);
        (looks >= LOOKS && !rests).then(|| self.moved(at, level, decision))
    }

    /// Sees what the last move did. Takes it back if it did harm.
    fn verdict(&mut self, at: Moment, level: Level, look: &Look) -> Option<Decision> {
        let last = self.last.as_mut().filter(|last| !last.judged)?;
        if last.to != level || last.before.looks == 0 {
            // Somebody else has turned it meanwhile, or there is nothing to compare with.
            last.judged = true;
            return None;
        }
        if std::mem::take(&mut last.fresh) {
            return None;
        }
        last.after.add(look);
        if last.after.looks < LOOKS {
            return None;
        }
        last.judged = true;
        let Move { from, before, after, .. } = *last;
        let (was, is) = (before.mean_rate(), after.mean_rate());
        // Where there is little to do, how much is done says nothing of the level.
        let comparable = was >= BUSY * before.mean_threads();
        let same_threads = (after.mean_threads() - before.mean_threads()).abs() < 0.5;
        if is < was * HARMED && comparable && same_threads {
            let pause = (self.pause * PAUSE_TAKEN_BACK).min(PAUSE_MAX);
            let (is, was, threads) = (count(is as u64), count(was as u64), after.mean_threads().round());
            let reason = format!(
                "{threads} threads, {is} operations/s where it was {was}: it did not help, and is not tried again for {} s",
                pause.as_secs()
            );
            let decision = self.moved(at, level, Decision { to: from, reason });
            self.pause = pause;
            self.last.as_mut()?.judged = true;
            return Some(decision);
        }
        let helped = is > was * HELPED || after.mean_trouble() < before.mean_trouble() / 2.0;
        if !helped {
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        None
    }

    fn moved(&mut self, at: Moment, from: Level, decision: Decision) -> Decision {
        self.pause = match self.last {
            Some(last) if at.since(last.at) < self.pause * PAUSES_FORGOTTEN => {
                if last.from == decision.to {
                    (self.pause * 2).min(PAUSE_MAX)
                } else {
                    self.pause
                }
            }
            _ => PAUSE,
        };
        let before = std::mem::take(&mut self.before);
        self.wanted = None;
        let (to, after) = (decision.to, Measured::default());
        self.last = Some(Move { at, from, to, before, after, fresh: true, judged: false });
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::super::adaptive::looks::{TERMS, losing, second, waiting};
    use super::*;
    use Level::{Fixed, LockFree, Mutex, ThreadCached, Unlocked};

    /// A pool that is looked at every second, under a load that answers to its level.
    struct Simulated {
        hysteresis: Hysteresis,
        level: Level,
        second: u64,
        moves: Vec<(u64, Level, String)>,
    }

    impl Simulated {
        fn new(terms: Terms, level: Level) -> Self {
            Self { hysteresis: Hysteresis::new(terms), level, second: 0, moves: Vec::new() }
        }

        fn run(&mut self, seconds: u64, load: impl Fn(Level) -> Look) {
            for _ in 0..seconds {
                self.second += 1;
                let at = Moment(self.second * 1_000_000_000);
                if let Some(Decision { to, reason }) = self.hysteresis.look(at, self.level, &load(self.level)) {
                    assert_ne!(to, self.level, "{reason}");
                    assert_ne!(to, Unlocked);
                    self.level = to;
                    self.moves.push((self.second, to, reason));
                }
            }
        }

        fn levels(&self) -> Vec<Level> {
            self.moves.iter().map(|(_, level, _)| *level).collect()
        }
    }

    /// Twice the work at each level up, and nobody in the way where threads cache.
    fn contended(level: Level) -> Look {
        match level {
            Mutex => waiting(4, 1_000_000, 100_000),
            LockFree => losing(4, 2_000_000, 200_000),
            _ => second(4, 4_000_000),
        }
    }

    #[test]
    fn a_steady_load_moves_it_once_and_never_again() {
        for (from, expected) in [(Mutex, vec![ThreadCached]), (LockFree, vec![ThreadCached]), (ThreadCached, vec![])] {
            let mut pool = Simulated::new(TERMS, from);
            pool.run(10_000, contended);
            assert_eq!(pool.levels(), expected, "from {from}: {:?}", pool.moves);
        }
        let mut idle = Simulated::new(TERMS, ThreadCached);
        idle.run(10_000, |_| Look { took: Duration::from_secs(1), ..Look::default() });
        assert_eq!(idle.levels(), []);
    }

    #[test]
    fn a_rule_has_to_hold_for_some_looks_in_a_row() {
        let mut pool = Simulated::new(TERMS, Mutex);
        for _ in 0..1000 {
            pool.run(2, contended);
            pool.run(1, |_| second(4, 1_000_000));
        }
        assert_eq!(pool.levels(), []);
        pool.run(3, contended);
        assert_eq!(pool.levels(), [ThreadCached]);
    }

    #[test]
    fn a_move_that_did_harm_is_taken_back_and_tried_ever_more_rarely() {
        // Where caches are, less is done, whatever the rules think.
        let perverse = |level| if level == ThreadCached { second(4, 500_000) } else { contended(level) };
        let mut pool = Simulated::new(TERMS, Mutex);
        pool.run(3_600, perverse);
        let back: Vec<u64> = pool.moves.iter().filter(|(_, level, _)| *level == Mutex).map(|m| m.0).collect();
        let there: Vec<u64> = pool.moves.iter().filter(|(_, level, _)| *level == ThreadCached).map(|m| m.0).collect();
        assert_eq!((back.len(), pool.level), (there.len(), Mutex), "{:?}", pool.moves);
        assert!(back.len() <= 8, "in an hour: {:?}", pool.moves);
        assert!(there[1] - back[0] >= 80 && there[2] - back[1] >= 600, "{there:?}");
        let (second, _, reason) = &pool.moves[1];
        assert_eq!(*second, there[0] + 1 + u64::from(LOOKS));
        let expected =
            "4 threads, 500.0 k operations/s where it was 1.0 M: it did not help, and is not tried again for 80 s";
        assert_eq!(reason, expected);
    }

    #[test]
    fn a_load_that_comes_and_goes_is_followed_ever_more_slowly() {
        let mut pool = Simulated::new(TERMS, Mutex);
        for _ in 0..180 {
            pool.run(10, contended);
            pool.run(10, |_| second(4, 4_000));
        }
        let times: Vec<u64> = pool.moves.iter().map(|(second, ..)| *second).collect();
        assert!((2..=10).contains(&times.len()), "in an hour: {:?}", pool.moves);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= PAUSE.as_secs()), "{times:?}");
        // Once the load stays, so does the pool, at the level for it; and what was is forgotten.
        let moves = pool.moves.len();
        pool.run(4_000, contended);
        assert!(pool.moves.len() <= moves + 1, "{:?}", pool.moves);
        assert_eq!(pool.level, ThreadCached);
    }

    #[test]
    fn what_somebody_else_chose_is_left_and_fixed_only_where_it_was_asked_for() {
        for from in [Fixed, Unlocked] {
            let mut pool = Simulated::new(TERMS, from);
            pool.run(1, |_| Look::default());
            assert_eq!(pool.levels(), [LockFree], "from {from}");
            assert!(
                pool.moves[0].2.contains("is not a level to choose: 4 cores and a limit of 256 MiB"),
                "{:?}",
                pool.moves
            );
        }
        let mut fixed = Simulated::new(Terms { all_at_start: true, ..TERMS }, Fixed);
        fixed.run(1000, contended);
        assert_eq!(fixed.levels(), []);
        let mut unlocked = Simulated::new(Terms { all_at_start: true, ..TERMS }, Unlocked);
        unlocked.run(1000, contended);
        assert_eq!(unlocked.levels(), [Fixed]);
    }

    #[test]
    fn a_turn_that_was_refused_is_asked_for_again_after_a_pause() {
        for (all_at_start, level) in [(false, Mutex), (true, Unlocked)] {
            let mut hysteresis = Hysteresis::new(Terms { all_at_start, ..TERMS });
            let asked = (1..=100)
                .filter(|second| hysteresis.look(Moment(second * 1_000_000_000), level, &contended(Mutex)).is_some());
            let asked: Vec<u64> = asked.collect();
            assert!(asked.len() > 1 && asked.windows(2).all(|pair| pair[1] - pair[0] >= PAUSE.as_secs()), "{asked:?}");
        }
    }
}
