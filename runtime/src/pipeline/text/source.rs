//! Where text comes from: files, folders and patterns, or a reader such as standard input.
//!
//! Text is read in chunks of up to 64 KiB that end at a line's end, so that no word and no line is cut in two by
//! the reading. A line that is longer grows the chunk up to [`RECORD_BYTES_MAX`]; past that it is cut behind the
//! last byte that cannot belong to a word, and counted.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Longest line that is kept in one piece.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a file looked at to tell text from binary.
const SNIFF_BYTES: usize = 8 << 10;
/// Files that one source may name.
pub const FILES_MAX: usize = 1_000_000;

/// Why a source cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No such file or folder.
    #[error("{}: {error}; name a file, a folder or a pattern such as `docs/**/*.md`", .path.display())]
    Unreadable {
        /// The path as it was looked up.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The pattern is no pattern.
    #[error("`{pattern}` is not a pattern: {why}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing there.
    #[error("{0} holds no files; name one that does")]
    Empty(String),
    /// There are files, none of them text.
    #[error("none of the {files} files of {inputs} is readable text (the first, {}: {why})", .first.display())]
    NoText {
        /// What was asked for.
        inputs: String,
        /// How many files there are.
        files: usize,
        /// The first of them.
        first: PathBuf,
        /// Why it was refused.
        why: String,
    },
    /// More files than a source may name.
    #[error("{0} names more than {FILES_MAX} files; name fewer at a time")]
    TooMany(String),
}

/// A file to read, with its size when it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Lists the files that `patterns` name, in order of path: a file stands for itself, a folder for every file below
/// it but hidden ones, anything else is a glob pattern. Relative ones start at `base`.
///
/// # Errors
/// When one of them names nothing that can be read.
pub fn list(patterns: &[String], base: &Path) -> Result<Vec<Input>, SourceError> {
    let mut found = Vec::new();
    for pattern in patterns {
        let path = base.join(pattern);
        let before = found.len();
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => walk(&path, &mut found).map_err(|error| unreadable(&path, error))?,
            Ok(meta) => found.push(Input { path, bytes: meta.len() }),
            Err(error) if !pattern.contains(['*', '?', '[']) => return Err(unreadable(&path, error)),
            Err(_) => expand(pattern, &path, &mut found)?,
        }
        if found.len() == before {
            return Err(SourceError::Empty(format!("`{pattern}`")));
        }
        if found.len() > FILES_MAX {
            return Err(SourceError::TooMany(format!("`{pattern}`")));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup();
    if found.is_empty() { Err(SourceError::Empty("an empty list of inputs".into())) } else { Ok(found) }
}

fn unreadable(path: &Path, error: io::Error) -> SourceError {
    SourceError::Unreadable { path: path.to_owned(), error }
}

fn expand(pattern: &str, path: &Path, found: &mut Vec<Input>) -> Result<(), SourceError> {
    let bad = |why: String| SourceError::Pattern { pattern: pattern.to_owned(), why };
    let text = path.to_str().ok_or_else(|| bad("it is not UTF-8".into()))?;
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let paths = glob::glob_with(text, options).map_err(|error| bad(error.to_string()))?;
    // What vanishes or cannot be looked at between listing and reading is refused when it is read.
    for path in paths.filter_map(Result::ok).take(FILES_MAX + 1) {
        if let Ok(meta) = std::fs::metadata(&path).map(|meta| (meta.is_file(), meta.len()))
            && meta.0
        {
            found.push(Input { path, bytes: meta.1 });
        }
    }
    Ok(())
}

/// Lists a folder without recursion, so that its depth costs no stack. Links to folders are not followed: they
/// may lead in a circle.
fn walk(root: &Path, found: &mut Vec<Input>) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if folder == root => return Err(error),
            entries => entries.into_iter().flatten().filter_map(Result::ok),
        };
        for entry in entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let bytes = entry.metadata().map_or(0, |meta| meta.len());
                    found.push(Input { path: entry.path(), bytes });
                }
                _ => {}
            }
        }
        if found.len() > FILES_MAX {
            break;
        }
    }
    Ok(())
}

/// Opens a file if it is text, as far as its first bytes tell.
///
/// # Errors
/// When it cannot be read, is no regular file, or holds a zero byte early on.
pub(super) fn open_text(path: &Path) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    // Looked at after opening, so that nobody puts a pipe in its place in between.
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut head = vec![0; SNIFF_BYTES];
    let read = read_up_to(&mut file, &mut head)?;
    head.truncate(read);
    if memchr::memchr(0, &head).is_some() {
        return Err(io::Error::new(ErrorKind::InvalidData, "binary: it holds zero bytes"));
    }
    Ok(Opened { file, head })
}

/// Checks that there is text among the files, looking no further than the first.
pub(super) fn require_text(files: &[Input], inputs: &str) -> Result<(), SourceError> {
    let mut refused = None;
    for file in files {
        match open_text(&file.path) {
            Ok(_) => return Ok(()),
            Err(why) => _ = refused.get_or_insert((file.path.clone(), why.to_string())),
        }
    }
    let (first, why) = refused.unwrap_or_default();
    Err(SourceError::NoText { inputs: inputs.to_owned(), files: files.len(), first, why })
}

/// A text file, its first bytes read already.
pub(super) struct Opened {
    file: File,
    head: Vec<u8>,
}

impl Read for Opened {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.head.is_empty() {
            return self.file.read(into);
        }
        let n = self.head.len().min(into.len());
        into[..n].copy_from_slice(&self.head[..n]);
        self.head.drain(..n);
        Ok(n)
    }
}

/// Fills `into` as far as the reader goes; fewer bytes mean its end.
fn read_up_to(reader: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match reader.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Cuts a stream into chunks that end at a line's end.
#[derive(Default)]
pub(super) struct Chunks {
    /// What was read behind the last chunk's end.
    rest: Vec<u8>,
    is_over: bool,
}

/// A chunk that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// So many bytes lie in front of the buffer.
    Here(usize),
    /// The line is longer than the buffer; it has to grow to go on.
    Longer,
    /// There is no more.
    End,
}

impl Chunks {
    /// Reads the next chunk to the front of `buffer`. `may_grow` says whether the caller would come back with a
    /// longer buffer; without it a line that does not fit is cut, and `cut` rises.
    pub fn next(
        &mut self,
        from: &mut impl Read,
        buffer: &mut [u8],
        may_grow: bool,
        cut: &mut u64,
    ) -> io::Result<Chunk> {
        let kept = self.rest.len().min(buffer.len());
        buffer[..kept].copy_from_slice(&self.rest[..kept]);
        self.rest.drain(..kept);
        let mut filled = kept;
        if !self.is_over {
            let read = read_up_to(from, &mut buffer[kept..]).inspect_err(|_| self.is_over = true)?;
            filled += read;
            self.is_over = filled < buffer.len();
        }
        if self.is_over && self.rest.is_empty() {
            return Ok(if filled == 0 { Chunk::End } else { Chunk::Here(filled) });
        }
        let end = match memchr::memrchr(b'\n', &buffer[..filled]) {
            Some(end) => end + 1,
            None if may_grow => {
                self.rest.splice(..0, buffer[..filled].iter().copied());
                return Ok(Chunk::Longer);
            }
            None => {
                *cut += 1;
                let is_between = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
                match buffer[..filled].iter().rposition(is_between) {
                    Some(end) => end + 1,
                    None => cut_beyond_ascii(&buffer[..filled]),
                }
            }
        };
        self.rest.splice(..0, buffer[end..filled].iter().copied());
        Ok(Chunk::Here(end))
    }
}

/// Where to cut text without an ASCII separator: behind the last character that is no part of a word, else between two
/// characters, so that none is torn.
fn cut_beyond_ascii(bytes: &[u8]) -> usize {
    let (mut at, mut behind_separator, mut behind_character) = (0, 0, 0);
    for chunk in bytes.utf8_chunks() {
        let last = chunk.valid().char_indices().rfind(|(_, c)| !c.is_alphanumeric());
        behind_separator = last.map_or(behind_separator, |(start, c)| at + start + c.len_utf8());
        at += chunk.valid().len();
        behind_character = at;
        at += chunk.invalid().len();
        // An invalid sequence is replaced, which separates words; at the very end it may be half a character.
        if !chunk.invalid().is_empty() && at < bytes.len() {
            (behind_separator, behind_character) = (at, at);
        }
    }
    [behind_separator, behind_character].into_iter().find(|&end| end > 0).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &[u8], size: usize, size_max: usize) -> (Vec<Vec<u8>>, u64) {
        let (mut reader, mut chunks, mut found, mut cut) = (text, Chunks::default(), Vec::new(), 0);
        let mut buffer = vec![0; size];
        loop {
            let may_grow = size_max > buffer.len();
            match chunks.next(&mut reader, &mut buffer, may_grow, &mut cut).unwrap() {
                Chunk::Here(n) => found.push(buffer[..n].to_vec()),
                Chunk::Longer => buffer.resize(buffer.len() * 2, 0),
                Chunk::End => return (found, cut),
            }
        }
    }

    #[test]
    fn chunks_end_with_lines_and_lose_nothing() {
        proptest::proptest!(|(text in "[ab\n]{0,100}", size in 1usize..20)| {
            let (found, cut) = chunks(text.as_bytes(), size, 1 << 10);
            proptest::prop_assert_eq!(found.concat(), text.as_bytes());
            proptest::prop_assert_eq!(cut, 0);
            let whole = found.iter().rev().skip(1).all(|chunk| chunk.ends_with(b"\n"));
            proptest::prop_assert!(whole, "a line was cut: {:?}", found);
        });
    }

    #[test]
    fn a_line_past_the_limit_is_cut_between_words() {
        let (found, cut) = chunks(b"one two three four", 8, 8);
        assert_eq!(found.concat(), b"one two three four");
        assert!(found.iter().rev().skip(1).all(|chunk| chunk.ends_with(b" ")), "{found:?}");
        assert!(cut > 0);
    }

    #[test]
    fn a_line_past_the_limit_is_cut_between_words_of_any_script() {
        let cuts = |text: &[u8]| {
            let (found, cut) = chunks(text, 16, 16);
            assert_eq!(found.concat(), text);
            assert!(cut > 0);
            found.into_iter().map(|chunk| String::from_utf8_lossy(&chunk).into_owned()).collect::<Vec<_>>()
        };
        // Three bytes a character: none of them ends where the buffer does.
        let stops = cuts("中文。".repeat(20).as_bytes());
        assert!(stops.iter().all(|chunk| chunk.ends_with('。')), "{stops:?}");
        let one_word = cuts("漢".repeat(50).as_bytes());
        assert!(one_word.iter().all(|chunk| chunk.chars().all(|c| c == '漢')), "a character was torn: {one_word:?}");
        let replaced = cuts(&[&b"caf\xc3\xa9\xff"[..]; 20].concat());
        assert!(replaced.iter().all(|chunk| chunk.ends_with('\u{fffd}')), "{replaced:?}");
    }
}
