//! The journal's file: a JSON line per change, on the disk before the turn that made it returns.
//!
//! Append only. A line is written by one write(2) and followed by fdatasync, so after a crash the file holds whole
//! lines and at most one torn one at its end, which is cut off when the file is next opened. A line with an id seen
//! before is the same change with its end or its effect added, and takes the earlier line's place. When the disk is full
//! the change waits in memory, the failure is counted and seen in metrics, and the file is cut back to its last whole
//! line before anything else is written. Those that wait are tried again before the next one and every second, in order,
//! several with one write(2); of more than can be kept the oldest are never written, and that is logged.
//!
//! A file that would grow past its limit becomes the predecessor, in the place of the one before, and an empty one
//! takes its name. That happens between two lines, so each file holds whole lines; the newest changes are read from
//! both.

use crate::folder;
use rheostat_api::Change;
use rustix::fs::{FlockOperation, flock};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Changes taken over from the files at start; older ones stay there.
const RESUMED: usize = 4096;

/// Lines that wait for room; the journal in memory keeps no more changes.
const WAITING: usize = 4096;
/// Bytes of lines written at once that have waited; no more than the least limit of a file.
const AT_ONCE: usize = 32 << 10;

/// The open file.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: File,
    /// A device or a pipe is written to and nothing else.
    regular: bool,
    /// Length of the whole lines.
    whole: u64,
    /// Whether there may be a part of a line after them.
    torn: bool,
    /// The length not to be exceeded.
    bytes_max: u64,
    /// The length at which the file is next replaced: more than `bytes_max` after that has failed, so that it is not
    /// tried, and complained of, at every line.
    replaced_at: u64,
    errors: u64,
    /// Lines that could not be written yet, with the ids of their changes, oldest first.
    waiting: VecDeque<(u64, Vec<u8>)>,
    /// Lines that were given up for newer ones.
    lost: u64,
    /// Whether the last write failed, so that a full disk is logged once and not once a change.
    failing: bool,
}

/// What an earlier process left.
#[derive(Debug, Default)]
pub struct Resumed {
    /// The newest changes, oldest first.
    pub changes: Vec<Change>,
    /// Bytes of a torn line that were cut off.
    pub torn: u64,
    /// Whole lines that made no sense and were passed over.
    pub unreadable: u64,
}

/// Lines of the files, as they are read.
#[derive(Default)]
struct Lines {
    changes: BTreeMap<u64, Change>,
    unreadable: u64,
    /// Length of the last file's whole lines, and of what follows them.
    whole: u64,
    torn: u64,
}

impl Lines {
    fn read(&mut self, file: &File) -> io::Result<()> {
        (self.whole, self.torn) = (0, 0);
        let (mut reader, mut line) = (BufReader::new(file), Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                self.torn = read;
                return Ok(());
            }
            self.whole += read;
            match serde_json::from_slice::<Change>(&line) {
                Ok(change) => drop(self.changes.insert(change.id, change)),
                Err(_) => self.unreadable += 1,
            }
            if self.changes.len() > RESUMED {
                self.changes.pop_first();
            }
        }
    }
}

impl JournalFile {
    /// Opens or creates the file, repairs its end, and reads the newest changes from it and its predecessor. From
    /// then on it is replaced before it grows past `bytes_max`.
    ///
    /// # Errors
    /// When a file cannot be opened, read or repaired.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<(Self, Resumed)> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        // What replaces the file stands beside it, also when a link leads there.
        let path = path.canonicalize()?;
        let regular = file.metadata()?.is_file();
        let mut lines = Lines::default();
        if regular {
            lock(&file)?;
            // Replaced between our opening and our locking it, it is another daemon's predecessor.
            if file.metadata()?.ino() != path.metadata()?.ino() {
                return Err(in_use());
            }
            folder::sync(folder::holder(&path))?;
            match File::open(predecessor(&path)) {
                Ok(earlier) => lines.read(&earlier)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            lines.read(&file)?;
        }
        let Lines { changes, unreadable, whole, torn } = lines;
        let (replaced_at, errors, failing) = (bytes_max, 0, false);
        let (torn_end, waiting, lost) = (torn > 0, VecDeque::new(), 0);
        let mut journal =
            Self { path, file, regular, whole, torn: torn_end, bytes_max, replaced_at, errors, waiting, lost, failing };
        if journal.torn {
            journal.cut()?;
            journal.file.sync_data()?;
        }
        Ok((journal, Resumed { changes: changes.into_values().collect(), torn, unreadable }))
    }

    /// Writes a change and waits until it is on the disk; false if it is not, and waits for room in memory. That is counted
    /// and logged, not returned as an error: the knob is turned already.
    pub fn write(&mut self, change: &Change) -> bool {
        let mut line = match serde_json::to_vec(change) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, change.id, "a change has no words, and is in memory only");
                return false;
            }
        };
        line.push(b'\n');
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back((change.id, line));
        let written = self.catch_up();
        self.errors += u64::from(!written);
        written
    }

    /// Writes what waits for room, if there is any now; says whether nothing is left.
    pub fn catch_up(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let (mut lines, mut count) = (Vec::new(), 0);
            for (_, line) in &self.waiting {
                if count > 0 && lines.len() + line.len() > AT_ONCE {
                    break;
                }
                lines.extend_from_slice(line);
                count += 1;
            }
            if let Err(error) = self.append(&lines) {
                if !self.failing {
                    tracing::error!(%error, file = %self.path.display(), "changes are kept in memory only, until they can be written: free space or fix the file");
                }
                self.failing = true;
                return false;
            }
            self.waiting.drain(..count);
        }
        if self.failing {
            let lost = std::mem::take(&mut self.lost);
            tracing::warn!(lost, file = %self.path.display(), "the journal file takes changes again, and has those that waited");
            self.failing = false;
        }
        true
    }

    /// Lines that wait for room.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the file has everything that was said of the change with this id.
    pub fn has(&self, id: u64) -> bool {
        self.waiting.iter().all(|(waiting, _)| *waiting != id)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let bytes = lines.len() as u64;
        // What is left of a line would swallow the start of this one.
        self.cut()?;
        if self.regular && self.whole > 0 && self.whole + bytes > self.replaced_at {
            self.replace();
        }
        self.torn = true;
        match self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.whole += bytes;
                self.torn = false;
                Ok(())
            }
            Err(error) => {
                // Now, if possible, or else before the next line.
                let _ = self.cut();
                Err(error)
            }
        }
    }

    /// Cuts off what may stand after the whole lines.
    fn cut(&mut self) -> io::Result<()> {
        if self.torn && self.regular {
            self.file.set_len(self.whole)?;
        }
        self.torn = false;
        Ok(())
    }

    /// Makes the file the predecessor and begins an empty one. When that fails, the one there is goes on.
    fn replace(&mut self) {
        match self.begin_anew() {
            Ok(()) => self.replaced_at = self.bytes_max,
            Err(error) => {
                self.replaced_at = self.whole + self.bytes_max;
                tracing::warn!(%error, file = %self.path.display(), "the journal file is full and could not be replaced, so it grows on: fix its folder");
            }
        }
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        let part = self.path.with_extension("part");
        let fresh = OpenOptions::new().append(true).create(true).mode(0o600).open(&part)?;
        // Left by a process that ended in here, it is empty all the same: nothing is written before it has its name.
        lock(&fresh)?;
        match std::fs::rename(&self.path, predecessor(&self.path)) {
            // Moved already, by the try before this.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved?,
        }
        std::fs::rename(&part, &self.path)?;
        (self.file, self.whole) = (fresh, 0);
        folder::sync(folder::holder(&self.path))
    }

    /// Changes that could not be written so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

/// `journal.1.ndjson` of `journal.ndjson`.
fn predecessor(path: &Path) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    path.with_extension(format!("1.{extension}"))
}

/// Two daemons may have two sockets and by mistake one state folder; an id would then mean two changes.
fn lock(file: &File) -> io::Result<()> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|_| in_use())
}

fn in_use() -> io::Error {
    io::Error::other("another daemon writes to this journal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_api::{KnobValue, Outcome};

    const BYTES_MAX: u64 = 1 << 20;

    fn change(id: u64) -> Change {
        Change {
            id,
            at_ms: 1,
            actor: "uid 0".into(),
            resource: "map.words".into(),
            knob: "workers".into(),
            from: KnobValue::Integer(1),
            to: KnobValue::Integer(2),
            outcome: Outcome::Applied,
            why: None,
            took_us: 3,
            reason: None,
            effect: None,
            journalled: true,
        }
    }

    #[test]
    fn lines_from_before_there_were_reasons_are_read_and_reasons_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let old = r#"{"id":1,"at_ms":1,"actor":"uid 0","resource":"map.words","knob":"workers","from":1,"to":2,"outcome":"applied","took_us":3}"#;
        std::fs::write(&path, format!("{old}\n")).unwrap();
        let (mut journal, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
        assert_eq!((resumed.changes, resumed.unreadable), (vec![change(1)], 0));
        let reason = Some("4 threads, 12 % of them waited for a lock".to_owned());
        let own = Change { actor: "auto".into(), reason, ..change(2) };
        journal.write(&own);
        drop(journal);
        let (_, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
        assert_eq!(resumed.changes, [change(1), own.clone()]);
        // Through the runtime's own type and back nothing is lost.
        assert_eq!(crate::wire::change(&crate::wire::change_of(own.clone()).unwrap()), own);
        assert_eq!(serde_json::to_string(&change(1)).unwrap(), old, "no reason, no field");
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        {
            let (mut journal, _) = JournalFile::open(&path, BYTES_MAX).unwrap();
            (1..=2).for_each(|id| assert!(journal.write(&change(id))));
        }
        let text = std::fs::read(&path).unwrap();
        let first = text.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for cut in first..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let (mut journal, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
            assert_eq!(resumed.changes, [change(1)], "cut at {cut}");
            assert_eq!(resumed.torn as usize, cut - first);
            journal.write(&change(7));
            drop(journal);
            let (_, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
            assert_eq!(resumed.changes, [change(1), change(7)], "cut at {cut}");
        }
    }

    #[test]
    fn an_effect_takes_the_place_of_its_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = JournalFile::open(&path, BYTES_MAX).unwrap();
        let measured = Change { took_us: 9, ..change(1) };
        [change(1), change(2), measured.clone()].iter().for_each(|change| assert!(journal.write(change)));
        drop(journal);
        let (_, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
        assert_eq!(resumed.changes, [measured, change(2)]);
    }

    #[test]
    fn what_could_not_be_written_is_written_in_order_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = JournalFile::open(&path, BYTES_MAX).unwrap();
        assert!(journal.write(&change(1)));
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let working = std::mem::replace(&mut journal.file, full);
        journal.regular = false;
        let more = 300;
        for id in 2..=more {
            assert!(!journal.write(&change(id)) && !journal.has(id), "{id}");
        }
        assert!(journal.has(1) && !journal.catch_up());
        assert_eq!(journal.errors(), more - 1);
        (journal.file, journal.regular) = (working, true);
        assert!(journal.catch_up() && journal.has(2));
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        let ids: Vec<_> = text.lines().map(|line| serde_json::from_str::<Change>(line).unwrap().id).collect();
        assert!(ids.iter().copied().eq(1..=more), "{ids:?}");
    }

    #[test]
    fn no_more_waits_than_memory_keeps() {
        let (mut journal, _) = JournalFile::open(Path::new("/dev/full"), BYTES_MAX).unwrap();
        let last = WAITING as u64 + 3;
        (1..=last).for_each(|id| assert!(!journal.write(&change(id))));
        assert_eq!((journal.waiting.len(), journal.lost), (WAITING, 3));
        assert_eq!(journal.waiting.front().map(|(id, _)| *id), Some(4), "the oldest is given up");
    }

    #[test]
    fn a_full_disk_is_counted_and_survived() {
        let (mut journal, resumed) = JournalFile::open(Path::new("/dev/full"), BYTES_MAX).unwrap();
        assert!(resumed.changes.is_empty());
        journal.write(&change(1));
        assert_eq!(journal.errors(), 1);
    }

    #[test]
    fn a_torn_line_that_could_not_be_cut_off_is_cut_off_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = JournalFile::open(&path, BYTES_MAX).unwrap();
        journal.write(&change(1));
        // As when a write is cut short by a full disk: part of a line is there, and the file can be neither written
        // nor cut.
        journal.file.write_all(b"{\"id\": 2, \"at_").unwrap();
        let working = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        journal.write(&change(2));
        assert_eq!(journal.errors(), 1);
        journal.file = working;
        journal.write(&change(3));
        assert_eq!(journal.errors(), 1);
        drop(journal);
        let (_, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
        assert_eq!((resumed.changes, resumed.unreadable), (vec![change(1), change(2), change(3)], 0));
    }

    #[test]
    fn a_file_at_its_limit_becomes_the_predecessor_and_both_hold_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let line = serde_json::to_vec(&change(1)).unwrap().len() as u64 + 1;
        let bytes_max = line * 10 + line / 2;
        let (mut journal, _) = JournalFile::open(&path, bytes_max).unwrap();
        for id in 1..=35 {
            journal.write(&change(id));
            for file in [&path, &predecessor(&path)].into_iter().filter(|file| file.exists()) {
                let text = std::fs::read(file).unwrap();
                assert!(text.len() as u64 <= bytes_max, "{} bytes after {id} lines", text.len());
                assert!(text.ends_with(b"\n"), "{} ends within a line", file.display());
            }
        }
        drop(journal);
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|name| name.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["journal.1.ndjson", "journal.ndjson"], "one predecessor and no more");
        // What the two files hold is taken over, the effect of a change in the earlier one included.
        let (mut journal, resumed) = JournalFile::open(&path, bytes_max).unwrap();
        let ids: Vec<_> = resumed.changes.iter().map(|change| change.id).collect();
        assert!(ids.iter().copied().eq(ids[0]..=35) && ids.len() > 10, "{ids:?}");
        let measured = Change { took_us: 9, ..change(ids[0]) };
        journal.write(&measured);
        drop(journal);
        let (_, resumed) = JournalFile::open(&path, bytes_max).unwrap();
        assert_eq!((&resumed.changes[0], resumed.unreadable), (&measured, 0));
        assert_eq!(resumed.changes.len(), ids.len());
    }

    #[test]
    fn a_replacement_cut_short_anywhere_loses_nothing() {
        let lines = |ids: std::ops::RangeInclusive<u64>| -> Vec<u8> {
            let line = |id| [serde_json::to_vec(&change(id)).unwrap(), b"\n".to_vec()].concat();
            ids.flat_map(line).collect()
        };
        // After each step of it: the new file made, the old one renamed, the new one renamed.
        let states: [&[(&str, Vec<u8>)]; 3] = [
            &[("journal.ndjson", lines(1..=3)), ("journal.part", vec![])],
            &[("journal.1.ndjson", lines(1..=3)), ("journal.part", vec![])],
            &[("journal.1.ndjson", lines(1..=3)), ("journal.ndjson", vec![])],
        ];
        for state in states {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in state {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let path = folder.path().join("journal.ndjson");
            let (mut journal, resumed) = JournalFile::open(&path, lines(1..=4).len() as u64 - 1).unwrap();
            assert_eq!(resumed.changes, [change(1), change(2), change(3)]);
            (4..=5).for_each(|id| assert!(journal.write(&change(id))));
            drop(journal);
            let (_, resumed) = JournalFile::open(&path, BYTES_MAX).unwrap();
            assert_eq!(resumed.changes.len(), 5);
        }
    }

    #[test]
    fn a_journal_that_cannot_be_replaced_grows_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let (mut journal, _) = JournalFile::open(&path, 1000).unwrap();
        // A folder stands where the predecessor would.
        std::fs::create_dir_all(folder.path().join("journal.1.ndjson/x")).unwrap();
        (1..=30).for_each(|id| assert!(journal.write(&change(id))));
        assert_eq!(journal.errors(), 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 30);
    }

    #[test]
    fn one_daemon_writes_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let (mut journal, _) = JournalFile::open(&path, 300).unwrap();
        for id in 1..=10 {
            journal.write(&change(id));
            let refused = JournalFile::open(&path, 300).unwrap_err().to_string();
            assert!(refused.contains("another daemon"), "{refused}");
        }
        assert!(predecessor(&path).exists());
    }
}
