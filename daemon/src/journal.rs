//! The journal's file: a JSON line per change, on the disk before the turn that made it returns.
//!
//! Append only. A line is written by one write(2) and followed by fdatasync, so after a crash the file holds whole
//! lines and at most one torn one at its end, which is cut off when the file is next opened. A line with an id seen
//! before is the same change with its effect added, and takes the earlier line's place. When the disk is full the
//! change stays in memory, the failure is counted and seen in metrics, and the file is cut back to its last whole
//! line, so that the next one that fits is readable.

use rheostat_api::Change;
use rustix::fs::{FlockOperation, flock};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Changes taken over from the file at start; older ones stay in the file.
const RESUMED: usize = 4096;

/// The open file.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: File,
    /// Length of the whole lines.
    whole: u64,
    errors: u64,
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

impl JournalFile {
    /// Opens or creates the file, repairs its end, and reads the newest changes.
    ///
    /// # Errors
    /// When the file cannot be opened, read or repaired.
    pub fn open(path: &Path) -> io::Result<(Self, Resumed)> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut resumed = Resumed::default();
        let mut kept: VecDeque<Change> = VecDeque::new();
        let (mut whole, mut line) = (0, Vec::new());
        let regular = file.metadata()?.is_file();
        if regular {
            // Two daemons may have two sockets and by mistake one state folder; an id would then mean two changes.
            flock(&file, FlockOperation::NonBlockingLockExclusive)
                .map_err(|_| io::Error::other("another daemon writes to this journal"))?;
        }
        // A device or a pipe holds nothing to resume, and may never end.
        let mut reader = BufReader::new((&file).take(if regular { u64::MAX } else { 0 }));
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                break;
            }
            if line.last() != Some(&b'\n') {
                resumed.torn = read;
                break;
            }
            whole += read;
            match serde_json::from_slice::<Change>(&line) {
                Ok(change) => match kept.iter_mut().rev().find(|known| known.id == change.id) {
                    Some(known) => *known = change,
                    None => kept.push_back(change),
                },
                Err(_) => resumed.unreadable += 1,
            }
            if kept.len() > RESUMED {
                kept.pop_front();
            }
        }
        if resumed.torn > 0 {
            file.set_len(whole)?;
            file.sync_data()?;
        }
        resumed.changes = kept.into();
        Ok((Self { path: path.to_owned(), file, whole, errors: 0, failing: false }, resumed))
    }

    /// Writes a change and waits until it is on the disk. A failure is counted and logged, not returned: the knob is
    /// turned already, and the journal in memory has the change.
    pub fn write(&mut self, change: &Change) {
        let result = self.append(change);
        match &result {
            Ok(()) if self.failing => {
                tracing::warn!(file = %self.path.display(), "the journal file takes changes again")
            }
            Err(error) if !self.failing => {
                tracing::error!(%error, file = %self.path.display(), "changes are kept in memory only: free space or fix the file");
            }
            _ => {}
        }
        self.failing = result.is_err();
        self.errors += u64::from(self.failing);
    }

    fn append(&mut self, change: &Change) -> io::Result<()> {
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.whole += line.len() as u64,
            // What was written of the line would swallow the start of the next one.
            Err(_) => self.file.set_len(self.whole)?,
        }
        written
    }

    /// Changes that could not be written so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_api::{KnobValue, Outcome};

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
            effect: None,
        }
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        {
            let (mut journal, _) = JournalFile::open(&path).unwrap();
            (1..=2).for_each(|id| journal.write(&change(id)));
        }
        let text = std::fs::read(&path).unwrap();
        let first = text.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for cut in first..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let (mut journal, resumed) = JournalFile::open(&path).unwrap();
            assert_eq!(resumed.changes, [change(1)], "cut at {cut}");
            assert_eq!(resumed.torn as usize, cut - first);
            journal.write(&change(7));
            drop(journal);
            let (_, resumed) = JournalFile::open(&path).unwrap();
            assert_eq!(resumed.changes, [change(1), change(7)], "cut at {cut}");
        }
    }

    #[test]
    fn an_effect_takes_the_place_of_its_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = JournalFile::open(&path).unwrap();
        let measured = Change { took_us: 9, ..change(1) };
        [change(1), change(2), measured.clone()].iter().for_each(|change| journal.write(change));
        drop(journal);
        let (_, resumed) = JournalFile::open(&path).unwrap();
        assert_eq!(resumed.changes, [measured, change(2)]);
    }

    #[test]
    fn a_full_disk_is_counted_and_survived() {
        let (mut journal, resumed) = JournalFile::open(Path::new("/dev/full")).unwrap();
        assert!(resumed.changes.is_empty());
        journal.write(&change(1));
        assert_eq!(journal.errors(), 1);
    }
}
