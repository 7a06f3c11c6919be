//! What is out of a pool, by size class and by who allocated it.

use crate::alloc;
use std::fmt;
use std::time::Duration;

/// The blocks that are out of a pool: the ones in use, or, of a pool that ended, those that were not given back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outstanding {
    /// The pool.
    pub pool: String,
    /// Blocks that are out.
    pub blocks: u64,
    /// Bytes that were asked for by them.
    pub bytes: u64,
    /// The same by size class; those with nothing out are left away.
    pub classes: Vec<OfClass>,
    /// The same by the scope they were allocated in, most bytes first; only of blocks that were guarded when they were
    /// handed out, as nothing is noted of others.
    pub scopes: Vec<OfScope>,
}

/// What is out of one size class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfClass {
    /// Bytes of its blocks; `None` for large ones.
    pub block_bytes: Option<usize>,
    /// Blocks that are out.
    pub blocks: u64,
    /// Bytes that were asked for by them.
    pub bytes: u64,
}

/// What is out that was allocated in one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfScope {
    /// Its name; `outside` for what was allocated in none, or in a process that does not track.
    pub scope: &'static str,
    /// Blocks that are out.
    pub blocks: u64,
    /// Bytes that were asked for by them.
    pub bytes: u64,
    /// How long the oldest has been out.
    pub oldest: Duration,
}

impl Outstanding {
    /// Whether nothing is out.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// Blocks of which nobody knows who allocated them, as they were handed out unguarded.
    pub fn unattributed(&self) -> u64 {
        self.blocks.saturating_sub(self.scopes.iter().map(|scope| scope.blocks).sum())
    }

    /// Puts a guarded block to its scope's.
    pub(super) fn add(&mut self, scope: u16, bytes: u64, age: Duration) {
        let scope = alloc::scope_name(scope);
        let known = self.scopes.iter().position(|known| known.scope == scope).unwrap_or_else(|| {
            self.scopes.push(OfScope { scope, blocks: 0, bytes: 0, oldest: Duration::ZERO });
            self.scopes.len() - 1
        });
        let of_scope = &mut self.scopes[known];
        of_scope.blocks += 1;
        of_scope.bytes += bytes;
        of_scope.oldest = of_scope.oldest.max(age);
    }
}

impl fmt::Display for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, blocks, bytes, .. } = self;
        if self.is_empty() {
            return write!(f, "nothing is out of {pool}");
        }
        write!(f, "{blocks} blocks of {bytes} bytes are out of {pool}")?;
        for class in &self.classes {
            match class.block_bytes {
                Some(block_bytes) => write!(f, "; class {block_bytes}: ")?,
                None => write!(f, "; large: ")?,
            }
            write!(f, "{} of {} bytes", class.blocks, class.bytes)?;
        }
        for scope in &self.scopes {
            let OfScope { scope, blocks, bytes, oldest } = scope;
            write!(f, "; from scope {scope}: {blocks} of {bytes} bytes, the oldest {oldest:.1?} old")?;
        }
        match self.unattributed() {
            0 => Ok(()),
            unguarded => write!(f, "; {unguarded} from nobody knows where, as they were handed out unguarded"),
        }
    }
}
