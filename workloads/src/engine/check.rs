//! Correctness, whatever the figures: what went in is held against what came out.
//!
//! A check that compared nothing does not hold: it has found out nothing.

use super::cast::{Cast, Player};
use super::crew::Replay;
use super::flow::Flow;
use super::history::judge;
use super::ledger::{Increments, MapBook, PoolBook};
use super::oracle::Oracle;
use super::pool_load::Pooled;
use super::{RunError, Runner};
use crate::generate::{Frontier, KeyStream};
use crate::script::{
    MapOp, MapTarget, PipelineTarget, StageOp, Target, TargetKind, is_incremented, is_recorded, is_replayable,
    is_walked, map_ops,
};
use rheostat_api as api;
use rheostat_runtime::observe::families::{POOL_ALLOCS, POOL_FREES, POOL_LIVE};
use rheostat_runtime::observe::{Reading, Resource};
use std::collections::{BTreeMap, HashMap};

/// What a pool says of itself.
struct Counted {
    allocated: u64,
    freed: u64,
    live: f64,
}

fn counted(pooled: &Pooled) -> Counted {
    let mut reading = Reading::default();
    pooled.pool.read(&mut reading);
    let [allocated, freed] = [&POOL_ALLOCS, &POOL_FREES].map(|family| reading.total_of(family).unwrap_or(0));
    Counted { allocated, freed, live: reading.level_of(&POOL_LIVE).unwrap_or(0.0) }
}

/// The same for a pool that values live in: each has a block, and what is out beside them was replaced or removed, and
/// somebody may still be looking at it.
fn values_conservation(name: &str, book: PoolBook, counted: Counted, values: u64) -> api::Check {
    let PoolBook { allocated, freed, damaged, .. } = book;
    let Counted { allocated: counted_in, freed: counted_out, .. } = counted;
    let out = counted_in.saturating_sub(counted_out);
    let pass = counted_in > 0 && damaged == 0 && allocated == freed && out >= values;
    let detail = match (counted_in, pass) {
        (0, _) => format!("{name}: nothing was allocated, so nothing was compared"),
        (_, true) => format!(
            "{name}: of {counted_in} blocks {out} are out, {values} of them values of maps; the rest were replaced or removed"
        ),
        (_, false) => format!(
            "{name}: of {counted_in} blocks {out} are out, for {values} values of maps; workers allocated {allocated} and \
             freed {freed}, and {damaged} were not as they were left"
        ),
    };
    api::Check::new("conservation", pass, counted_in, detail)
}

/// Differences spelled out in a detail.
const SHOWN: usize = 5;

impl Runner<'_> {
    /// Makes the checks that the script asks for.
    pub(super) fn check(&mut self, cast: &Cast<'_>) -> Result<Vec<api::Check>, RunError> {
        let mut checks = Vec::new();
        let own: Vec<&Target> = self.workload.targets.iter().filter(|target| !target.hosted).collect();
        if self.workload.checks.lost_updates {
            let maps = own.iter().filter(|target| matches!(&target.kind, TargetKind::Map(map) if map.keys.is_some()));
            checks.extend(maps.filter_map(|target| self.lost_updates(cast, target)));
        }
        for target in &own {
            let ops = map_ops(self.workload.phases.iter(), &target.name);
            if self.workload.checks.increments && is_incremented(target, &ops) {
                checks.extend(self.increments(cast, target));
            }
            if self.workload.checks.values
                && matches!(cast.player(&target.name), Some(Player::Bytes(_) | Player::Words(_)))
            {
                checks.push(self.values(target));
            }
            if self.workload.checks.walks && is_walked(&ops) {
                checks.push(self.walks(target));
            }
            if self.workload.checks.linearizable && is_recorded(target) {
                checks.push(self.linearizable(target));
            }
            if self.workload.checks.oracle && is_replayable(target, &ops) {
                checks.extend(self.replayed(cast, target));
            }
        }
        if self.workload.checks.conservation {
            for target in &own {
                match &target.kind {
                    TargetKind::Queue(_) => checks.extend(self.queue_conservation(cast, target)),
                    TargetKind::Pipeline(pipeline) => checks.push(self.flow_conservation(cast, target, pipeline)),
                    TargetKind::Pool(_) => checks.extend(self.pool_conservation(cast, target)),
                    TargetKind::Map(MapTarget { .. }) => {}
                }
            }
        }
        if self.workload.checks.oracle {
            checks.extend(self.oracle(cast)?);
        }
        Ok(checks)
    }

    /// The sum of all counters against what acknowledged operations added and took away.
    fn lost_updates(&self, cast: &Cast<'_>, target: &Target) -> Option<api::Check> {
        let Some(Player::Counters(map)) = cast.player(&target.name) else { return None };
        let book = self.map_books.get(&target.name).copied().unwrap_or_default();
        let mut sum = 0i128;
        map.for_each(|_, count| sum += i128::from(*count));
        let (name, net, acknowledged) = (&target.name, book.net, book.acknowledged);
        let detail = match (sum == net, acknowledged) {
            (_, 0) => format!("{name}: nothing was updated, so nothing was compared"),
            (true, _) => format!("{name}: {acknowledged} acknowledged updates come to {net}, and so does the map"),
            (false, _) => {
                let off = (net - sum).unsigned_abs();
                format!(
                    "{name}: {acknowledged} acknowledged updates come to {net}, but the map holds {sum}: off by {off}"
                )
            }
        };
        let pass = sum == net && acknowledged > 0;
        Some(api::Check::new("lost_updates", pass, acknowledged, detail))
    }

    /// The values that increments found, of every key: 0, 1, 2 ... up to where it stands, each once.
    fn increments(&self, cast: &Cast<'_>, target: &Target) -> Option<api::Check> {
        let Some(Player::Counters(map)) = cast.player(&target.name) else { return None };
        let found = self.map_books.get(&target.name).map(|book| book.increments).unwrap_or_default();
        let mut whole = Increments::default();
        let mut foreign = 0;
        map.for_each(|key, value| match KeyStream::number(key) {
            Some(number) => whole.add_all(number, *value),
            None => foreign += 1,
        });
        let name = &target.name;
        let pass = found == whole && foreign == 0 && found.count > 0;
        let detail = match (pass, found.count) {
            (_, 0) => format!("{name}: nothing was incremented, so nothing was compared"),
            (true, n) => format!("{name}: {n} increments each found a value of their own, 0, 1, 2 ... of every key"),
            (false, n) => format!(
                "{name}: {n} increments found values that others found too, or none did; the counters stand at {}",
                whole.count
            ),
        };
        Some(api::Check::new("increments", pass, found.count, detail))
    }

    /// Values that were read against what can have been put in at their keys.
    fn values(&self, target: &Target) -> api::Check {
        let name = &target.name;
        let book = self.map_books.get(name).copied().unwrap_or_default();
        let (read, damaged) = (book.looked_at, book.damaged);
        let detail = match (damaged, read) {
            (_, 0) => format!("{name}: nothing was read, so nothing was compared"),
            (0, _) => format!("{name}: {read} values were read, each as it was put in at its key, to the last byte"),
            (_, _) => format!("{name}: of {read} values that were read, {damaged} were torn, or another key's"),
        };
        api::Check::new("values", damaged == 0 && read > 0, read, detail)
    }

    /// Every operation on every key against an order that a map without concurrency could have had.
    fn linearizable(&mut self, target: &Target) -> api::Check {
        let name = &target.name;
        let history = self.histories.remove(name).unwrap_or_default();
        let refused = self.map_books.get(name).map_or(0, |book| book.refused);
        if refused > 0 {
            // What a refused operation did is nothing, which the history has no word for.
            let detail = format!("{name}: the map refused {refused} operations, so nothing was compared");
            return api::Check::new("linearizable", false, 0, detail);
        }
        judge(name, history)
    }

    /// Walks against the keys that were there all the time.
    fn walks(&self, target: &Target) -> api::Check {
        let name = &target.name;
        let MapBook { walks, missed, doubled, .. } = self.map_books.get(name).copied().unwrap_or_default();
        let keys = self.loaded_keys.get(name).copied().unwrap_or(0);
        let detail = match (missed + doubled, walks) {
            (_, 0) => format!("{name}: no walk came to its end, so nothing was compared"),
            (0, _) => format!("{name}: {walks} walks met each of the {keys} keys that stayed once, and none twice"),
            (_, _) => format!("{name}: {walks} walks missed {missed} of the keys that stayed, and met {doubled} twice"),
        };
        api::Check::new("walks", missed + doubled == 0 && walks > 0, walks, detail)
    }

    /// A map of counters against a plain count of what its workers drew, one after the other.
    fn replayed(&self, cast: &Cast<'_>, target: &Target) -> Option<api::Check> {
        let counters = cast.counters(&target.name)?;
        let name = &target.name;
        let check = |pass, compared, detail| Some(api::Check::new("oracle", pass, compared, detail));
        if self.map_books.get(name).is_some_and(|book| book.refused > 0) {
            return check(false, 0, format!("{name}: the map refused operations, so nothing was compared"));
        }
        let mut expected = HashMap::<u64, i64>::new();
        (0..self.loaded_keys.get(name).copied().unwrap_or(0)).for_each(|number| _ = expected.insert(number, 1));
        // Keys of workers that insert no new ones are drawn without asking how far those reach.
        let frontier = Frontier::new(0);
        for Replay { keys, ops, done } in self.replays.get(name).into_iter().flatten() {
            for index in 0..*done {
                if index.is_multiple_of(1 << 16) && self.context.cancel.is_cancelled() {
                    return check(false, 0, format!("{name}: cancelled before the plain count was done"));
                }
                if ops.at(index).1 == MapOp::Update {
                    *expected.entry(keys.at(index, &frontier)).or_default() += 1;
                }
            }
        }
        let spelled = |(number, count)| (KeyStream::spell(number).to_vec(), count);
        let expected: HashMap<Vec<u8>, i64> = expected.into_iter().map(spelled).collect();
        let (compared, differences) = compare(&expected, counters);
        let detail = match differences.len() {
            0 => format!("{name}: {compared} counters: equal to a plain sequential count of the same draws"),
            n => {
                let shown: Vec<_> = differences.iter().take(SHOWN).cloned().collect();
                format!("{name}: {n} of {compared} counters differ: {}", shown.join("; "))
            }
        };
        check(differences.is_empty() && compared > 0, compared, detail)
    }

    /// Pushed against popped and left; takes out what is left.
    fn queue_conservation(&self, cast: &Cast<'_>, target: &Target) -> Option<api::Check> {
        let queue = cast.queue(&target.name)?;
        let mut book = self.queue_books.get(&target.name).cloned().unwrap_or_default();
        let popped = book.popped.count;
        // By a consumer of its own, which sees the order of what is left.
        let mut rest = super::ledger::QueueBook::default();
        while let Ok(item) = queue.try_pop() {
            rest.pop(&item);
        }
        let left = rest.popped.count;
        book.merge(rest);
        let (name, pushed) = (&target.name, book.pushed.count);
        let (disordered, foreign) = (book.disordered, book.foreign);
        let same = book.pushed == book.popped;
        let detail = if pushed == 0 {
            format!("{name}: nothing was pushed, so nothing was compared")
        } else if !same {
            format!(
                "{name}: {pushed} items were pushed; {popped} were popped and {left} left, and they are not the same"
            )
        } else if disordered + foreign > 0 {
            format!(
                "{name}: of {pushed} items {disordered} came out of their producer's order or twice, {foreign} from nobody"
            )
        } else {
            format!("{name}: {pushed} pushed, {popped} popped, {left} left, each once and in its producer's order")
        };
        let pass = pushed > 0 && same && disordered + foreign == 0;
        Some(api::Check::new("conservation", pass, pushed, detail))
    }

    /// Blocks allocated against blocks freed, by the workers' books and by the pool's own; frees what is still on its way.
    fn pool_conservation(&self, cast: &Cast<'_>, target: &Target) -> Option<api::Check> {
        let pooled = cast.pooled(&target.name)?;
        let mut book = self.pool_books.get(&target.name).copied().unwrap_or_default();
        while let Ok(held) = pooled.passed.try_pop() {
            held.free(&mut book);
        }
        if let Some(values) = cast.values_in(&target.name) {
            return Some(values_conservation(&target.name, book, counted(pooled), values));
        }
        let Counted { allocated: counted_in, freed: counted_out, live } = counted(pooled);
        let (name, PoolBook { allocated, freed, damaged, .. }) = (&target.name, book);
        let same = allocated == freed && [counted_in, counted_out] == [allocated, freed] && live == 0.0;
        let detail = if allocated == 0 {
            format!("{name}: nothing was allocated, so nothing was compared")
        } else if damaged > 0 {
            format!("{name}: of {allocated} blocks, {damaged} were not as they were left: others had them too")
        } else if !same {
            format!(
                "{name}: {allocated} blocks were allocated and {freed} freed; the pool counted {counted_in} and \
                 {counted_out}, and {live} bytes in use"
            )
        } else {
            format!(
                "{name}: {allocated} blocks allocated and freed, each whole to both ends; the pool counted the same"
            )
        };
        let pass = allocated > 0 && damaged == 0 && same;
        Some(api::Check::new("conservation", pass, allocated, detail))
    }

    /// What each stage handed on against what the next took, and what the last counted against the map.
    fn flow_conservation(&self, cast: &Cast<'_>, target: &Target, pipeline: &PipelineTarget) -> api::Check {
        let name = &target.name;
        let nothing =
            |why: &str| api::Check::new("conservation", false, 0, format!("{name}: {why}, so nothing was compared"));
        let Some(flow) = cast.flow(name) else { return nothing("it never ran") };
        if self.abandoned.contains(name) {
            return nothing("what was on its way was dropped");
        }
        let figures = flow.figures();
        let mut faults = Vec::new();
        for pair in figures.stages.windows(2) {
            let [from, to] = pair else { continue };
            if from.out_items != to.in_items {
                let (handed, took) = (from.out_items, to.in_items);
                faults.push(format!("`{}` handed on {handed} records, `{}` took {took}", from.name, to.name));
            }
        }
        let errors: u64 = figures.stages.iter().map(|stage| stage.errors).sum();
        if let (Some(last), Some(stage)) = (figures.stages.last(), pipeline.stages.last())
            && let StageOp::Count(map) = &stage.op
            && self.is_filled_by_one(map)
            && let Some(counters) = cast.counters(map)
        {
            let mut sum = 0u64;
            counters.for_each(|_, count| sum += count.unsigned_abs());
            if sum != last.in_items && errors == 0 {
                faults.push(format!("`{}` took {} records, but `{map}` holds {sum}", last.name, last.in_items));
            }
        }
        let compared: u64 = figures.stages.iter().map(|stage| stage.in_items).sum();
        if compared == 0 {
            return nothing("no record went through it");
        }
        let set_aside = if errors > 0 { format!(", {errors} of them set aside") } else { String::new() };
        let detail = if faults.is_empty() {
            let stages: Vec<_> =
                figures.stages.iter().map(|stage| format!("{} {}", stage.name, stage.in_items)).collect();
            format!("{name}: every record a stage handed on, the next took ({}){set_aside}", stages.join(", "))
        } else {
            format!("{name}: {}{set_aside}", faults.join("; "))
        };
        api::Check::new("conservation", faults.is_empty(), compared, detail)
    }

    /// Pipelines of the run's own that count, by the map they count into.
    fn counting(&self) -> BTreeMap<&str, Vec<(&Target, &PipelineTarget)>> {
        let mut by_map = BTreeMap::<_, Vec<_>>::new();
        for target in self.workload.targets.iter().filter(|target| !target.hosted) {
            let TargetKind::Pipeline(pipeline) = &target.kind else { continue };
            for stage in &pipeline.stages {
                if let StageOp::Count(map) = &stage.op {
                    by_map.entry(&**map).or_default().push((target, pipeline));
                }
            }
        }
        by_map
    }

    /// True if nothing but one pipeline of the run puts anything into the map.
    fn is_filled_by_one(&self, map: &str) -> bool {
        let own = self.workload.target(map).is_some_and(|target| !target.hosted);
        own && !self.map_books.contains_key(map) && self.counting().get(map).is_some_and(|by| by.len() == 1)
    }

    /// The maps against a plain count of the same input.
    fn oracle(&self, cast: &Cast<'_>) -> Result<Vec<api::Check>, RunError> {
        let mut checks = Vec::new();
        for (map, pipelines) in self.counting() {
            let check = |pass, compared, detail| api::Check::new("oracle", pass, compared, detail);
            let started = pipelines.iter().filter(|(target, _)| cast.flow(&target.name).is_some());
            let cut = pipelines.iter().find(|(target, _)| self.cut_short.contains(&target.name));
            if started.count() < pipelines.len() || cut.is_some() {
                let detail = format!("{map}: the input was not read to its end, so nothing was compared");
                checks.push(check(false, 0, detail));
                continue;
            }
            let mut expected = HashMap::<Vec<u8>, i64>::new();
            let mut remarks = String::new();
            let mut cancelled = false;
            for (target, pipeline) in &pipelines {
                let Some(data) = self.workload.data.get(&pipeline.from) else { continue };
                let passes = cast.flow(&target.name).and_then(Flow::passes);
                let (base, stages, cancel) = (&self.workload.base, &pipeline.stages, &self.context.cancel);
                let counted = Oracle::count(data, passes, base, stages, cancel);
                let counted = counted.map_err(|why| RunError::Input { what: pipeline.from.clone(), why })?;
                match counted {
                    None => cancelled = true,
                    Some(oracle) => {
                        oracle.counts.into_iter().for_each(|(key, count)| *expected.entry(key).or_default() += count);
                        remarks.push_str(&self.remarks(cast, target, oracle.refused));
                    }
                }
            }
            if cancelled {
                checks.push(check(false, 0, format!("{map}: cancelled before the plain count was done")));
                continue;
            }
            let Some(counters) = cast.counters(map) else { continue };
            // A map takes no longer key, so the pipeline set such records aside; that is counted, and no error.
            let key_bytes_max = counters.limits().key_bytes_max;
            let before = expected.len();
            expected.retain(|key, _| key.len() <= key_bytes_max);
            if expected.len() < before {
                let long = before - expected.len();
                remarks.push_str(&format!("; {long} keys longer than {key_bytes_max} bytes were set aside"));
            }
            let (compared, differences) = compare(&expected, counters);
            let detail = match (differences.is_empty(), compared) {
                (_, 0) => format!("{map}: there was nothing to compare{remarks}"),
                (true, _) => {
                    let total: i64 = expected.values().sum();
                    format!("{map}: {compared} entries, {total} records: equal to a plain sequential count{remarks}")
                }
                (false, _) => {
                    let shown: Vec<_> = differences.iter().take(SHOWN).cloned().collect();
                    format!("{map}: {} of {compared} entries differ: {}{remarks}", differences.len(), shown.join("; "))
                }
            };
            checks.push(check(differences.is_empty() && compared > 0, compared, detail));
        }
        Ok(checks)
    }

    /// What may explain a difference, or is worth knowing beside an equality.
    fn remarks(&self, cast: &Cast<'_>, target: &Target, refused: u64) -> String {
        let Some(flow) = cast.flow(&target.name) else { return String::new() };
        let figures = flow.figures();
        let parts = [
            (refused, "files left out as unreadable or binary"),
            (refused.abs_diff(figures.refused), "files left out by only one of the two"),
            (figures.cut, "lines cut"),
            (figures.dead_letters, "records set aside"),
        ];
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect()
    }
}

/// Compares every entry of one with the other. How many were compared, and what differs.
fn compare(expected: &HashMap<Vec<u8>, i64>, counters: &rheostat_runtime::map::CounterMap) -> (u64, Vec<String>) {
    let mut differences = Vec::new();
    let mut met = 0;
    let mut extra = 0;
    let spelled = |key: &[u8]| -> String { String::from_utf8_lossy(key).chars().take(40).collect() };
    counters.for_each(|key, &count| match expected.get(key) {
        Some(&right) => {
            met += 1;
            if right != count {
                differences.push(format!("`{}` is {count}, should be {right}", spelled(key)));
            }
        }
        None => {
            extra += 1;
            differences.push(format!("`{}` is {count}, should not be there", spelled(key)));
        }
    });
    if met < expected.len() {
        for (key, right) in expected {
            if counters.get(key).is_none() {
                differences.push(format!("`{}` is missing, should be {right}", spelled(key)));
            }
        }
    }
    differences.sort_unstable();
    (expected.len() as u64 + extra, differences)
}
