//! Writes records to a file, a line each.

use super::records::Records;
use crate::pipeline::{Batch, Op, Outbox, Refused};
use crate::sync::{Arc, Mutex};
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write as _};
use std::path::Path;

/// The file that all workers of a stage append to, a batch at a time.
#[derive(Debug)]
pub(super) struct Target(Mutex<File>);

impl Target {
    /// Makes the file, or empties the one that is there.
    pub fn create(path: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(Mutex::new(File::create(path)?))))
    }

    /// Appends `bytes`; on failure says how many of them are in the file.
    fn append(&self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut file = self.0.lock();
        let mut written = 0;
        while written < bytes.len() {
            match file.write(&bytes[written..]) {
                Ok(n @ 1..) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                refused => {
                    let error = refused.err().unwrap_or(ErrorKind::WriteZero.into());
                    // A line is in the file whole or not at all: what follows the last whole one is taken back.
                    let whole = memchr::memrchr(b'\n', &bytes[..written]).map_or(0, |end| end + 1);
                    if written > whole {
                        let torn = (written - whole) as i64;
                        let taken_back = file.seek(SeekFrom::Current(-torn)).and_then(|end| file.set_len(end));
                        return Err((whole, taken_back.err().unwrap_or(error)));
                    }
                    return Err((whole, error));
                }
            }
        }
        Ok(())
    }
}

/// Appends records to the target. Lines of one batch stay together and in order.
pub(super) struct Write {
    target: Arc<Target>,
    buffer: Vec<u8>,
}

impl Write {
    pub fn to(target: Arc<Target>) -> Self {
        Self { target, buffer: Vec::new() }
    }
}

impl Op<Records, Records> for Write {
    fn run(&mut self, input: &mut Records, next: &mut usize, _out: &mut Outbox<'_, Records>) -> Result<(), Refused> {
        self.buffer.clear();
        for record in input.iter_from(*next) {
            self.buffer.extend_from_slice(record);
            self.buffer.push(b'\n');
        }
        let Err((mut written, error)) = self.target.append(&self.buffer) else {
            *next = input.len();
            return Ok(());
        };
        // The record that did not fit is set aside with the reason; those behind it are tried again.
        while written > 0 {
            written = written.saturating_sub(input.get(*next).len() + 1);
            *next += 1;
        }
        Err(Refused(format!("the output file took no more: {error}")))
    }
}
