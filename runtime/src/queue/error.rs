//! What a queue answers when it cannot do as asked. Errors of a push give the item back.

use std::fmt;

/// A capacity or a limit that the queue cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("queue capacity {requested} is out of range: choose 1 to {max}")]
pub struct CapacityError {
    /// What was asked for.
    pub requested: usize,
    /// The most that could have been had.
    pub max: usize,
}

/// The queue was closed; a push gets its item back in here.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed")]
pub struct Closed<T = ()>(pub T);

/// Why a push did not happen.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError<T> {
    /// The queue is at its limit, or a consumer has yet to leave the slot that is next.
    #[error("the queue is full")]
    Full(T),
    /// The queue was closed: no push will succeed any more.
    #[error("the queue is closed")]
    Closed(T),
}

impl<T> PushError<T> {
    /// The item that was not pushed.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

/// Why a pop found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PopError {
    /// Nothing is in the queue, or the next item's producer has yet to finish.
    #[error("the queue is empty")]
    Empty,
    /// The queue was closed and every accepted item has been taken: no pop will succeed any more.
    #[error("the queue is closed and drained")]
    Closed,
}

// By hand, so that items need not be `Debug` for `unwrap` and `?` to work.
impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(..)")
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}
