//! The sequential oracle: the same input and the same definition, one thread, a plain loop, no code of the runtime.
//!
//! Only the list of files is the runtime's: what is compared is what was done with them. A file with a zero byte in
//! its first 8 KiB is binary and left out; words are maximal runs of `char::is_alphanumeric`, lower-cased; invalid
//! UTF-8 is replaced and so separates words.

use super::context::Cancel;
use crate::catalogue;
use crate::script::{Data, Origin, Stage, StageOp};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Bytes looked at to tell text from binary.
const HEAD: u64 = 8 << 10;
/// Longest line kept in one piece.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What a plain loop counts.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// By record that reached the count stage.
    pub counts: HashMap<Vec<u8>, i64>,
    /// Files it took for unreadable or binary.
    pub refused: u64,
    patterns: Vec<Option<regex::bytes::Regex>>,
}

impl Oracle {
    /// Counts what the stages make of the data; of shipped texts, which were read so many times. `None` when it was cancelled.
    pub fn count(
        data: &Data,
        passes: Option<u64>,
        base: &Path,
        stages: &[Stage],
        cancel: &Cancel,
    ) -> io::Result<Option<Self>> {
        let pattern = |stage: &Stage| match &stage.op {
            StageOp::Matches(pattern) => regex::bytes::Regex::new(pattern).ok(),
            _ => None,
        };
        let mut oracle = Self { patterns: stages.iter().map(pattern).collect(), ..Self::default() };
        match &data.origin {
            Origin::Shipped { texts, passes: planned } => {
                for text in texts.iter().filter_map(|name| catalogue::text(name)) {
                    oracle.read(text.as_bytes(), stages, cancel)?;
                }
                let passes = i64::try_from(passes.unwrap_or(*planned)).unwrap_or(i64::MAX);
                oracle.counts.values_mut().for_each(|count| *count = count.saturating_mul(passes));
            }
            Origin::Files(patterns) => {
                let files = rheostat_runtime::pipeline::text::list(patterns, base).map_err(io::Error::other)?;
                for file in files {
                    match open(&file.path) {
                        Ok(Some(text)) => oracle.read(text, stages, cancel)?,
                        Ok(None) | Err(_) => oracle.refused += 1,
                    }
                }
            }
        }
        Ok((!cancel.is_cancelled()).then_some(oracle))
    }

    fn read(&mut self, text: impl Read, stages: &[Stage], cancel: &Cancel) -> io::Result<()> {
        let mut text = BufReader::with_capacity(64 << 10, text);
        let mut line = Vec::new();
        while !cancel.is_cancelled() {
            let more = (&mut text).take((LINE_BYTES_MAX - line.len()) as u64).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                break;
            }
            // A line without end is taken in pieces, cut where no word is.
            let is_cut = line.len() == LINE_BYTES_MAX && !line.ends_with(b"\n");
            let between = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
            let end =
                if is_cut { line.iter().rposition(between).map_or(line.len(), |end| end + 1) } else { line.len() };
            let rest = line.split_off(end);
            self.feed(&line, 0, stages);
            line = rest;
            if more == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Gives a record to the stage at `index`.
    fn feed(&mut self, record: &[u8], index: usize, stages: &[Stage]) {
        let Some(stage) = stages.get(index) else { return };
        match &stage.op {
            StageOp::Lines => {
                let line = record.strip_suffix(b"\n").unwrap_or(record);
                self.feed(line.strip_suffix(b"\r").unwrap_or(line), index + 1, stages);
            }
            StageOp::Words => {
                let text = String::from_utf8_lossy(record);
                for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                    self.feed(word.to_lowercase().as_bytes(), index + 1, stages);
                }
            }
            StageOp::Contains(text) => {
                if text.is_empty() || record.windows(text.len()).any(|window| window == text.as_bytes()) {
                    self.feed(record, index + 1, stages);
                }
            }
            StageOp::Matches(_) => {
                if self.patterns[index].as_ref().is_some_and(|pattern| pattern.is_match(record)) {
                    self.feed(record, index + 1, stages);
                }
            }
            StageOp::Count(_) => match self.counts.get_mut(record) {
                Some(count) => *count += 1,
                None => _ = self.counts.insert(record.to_owned(), 1),
            },
            StageOp::Write(_) => {}
        }
    }
}

/// A file from its beginning if it is text.
fn open(path: &Path) -> io::Result<Option<impl Read + use<>>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut head = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut head)?;
    Ok((!head.contains(&0)).then(|| io::Cursor::new(head).chain(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(op: StageOp) -> Stage {
        Stage { name: "s".into(), op, workers: 1, batch: 1, capacity: 1 }
    }

    fn counted(text: &[u8], ops: Vec<StageOp>) -> Vec<(String, i64)> {
        let stages: Vec<_> = ops.into_iter().map(stage).collect();
        let pattern = |stage: &Stage| match &stage.op {
            StageOp::Matches(pattern) => regex::bytes::Regex::new(pattern).ok(),
            _ => None,
        };
        let mut oracle = Oracle { patterns: stages.iter().map(pattern).collect(), ..Oracle::default() };
        oracle.read(text, &stages, &Cancel::default()).unwrap();
        let mut counts: Vec<_> =
            oracle.counts.into_iter().map(|(key, count)| (String::from_utf8(key).unwrap(), count)).collect();
        counts.sort();
        counts
    }

    fn count() -> StageOp {
        StageOp::Count("m".into())
    }

    #[test]
    fn words_by_their_definition() {
        let text = "Don't STOP. ΔΡΟΜΟΣ δρόμος x86_64 don\u{fffd}t".as_bytes();
        let words = counted(text, vec![StageOp::Words, count()]);
        let expected = [("64", 1), ("don", 2), ("stop", 1), ("t", 2), ("x86", 1), ("δρομος", 1), ("δρόμος", 1)];
        assert_eq!(words, expected.map(|(word, n)| (word.to_owned(), n)));
        assert_eq!(counted(b"a\xffb", vec![StageOp::Words, count()]), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    }

    #[test]
    fn filters_see_what_the_stage_before_made() {
        let text = b"an error here\nall is well\r\nERROR there\n\nno end";
        let lines = counted(text, vec![StageOp::Lines, count()]);
        assert_eq!(lines.len(), 5, "{lines:?}");
        let ops = vec![StageOp::Lines, StageOp::Matches("(?i)error".into()), StageOp::Words, count()];
        assert_eq!(counted(text, ops).len(), 4);
        let ops = vec![StageOp::Words, StageOp::Contains("err".into()), count()];
        assert_eq!(counted(text, ops), [("error".to_owned(), 2)]);
    }

    #[test]
    fn lines_without_end_are_read_in_pieces() {
        let text = b"word ".repeat(1 << 19);
        assert_eq!(counted(&text, vec![StageOp::Words, count()]), [("word".to_owned(), 1 << 19)]);
    }
}
