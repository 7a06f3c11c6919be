//! One call of a history.

/// One call that one thread made. Times are nanoseconds since its [`Recorder`](crate::Recorder) was made; of two
/// operations, one is before the other when it ended at a time less than that at which the other began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, R> {
    /// Who called.
    pub thread: usize,
    /// A time before the call.
    pub began: u64,
    /// A time after it; [`u64::MAX`] while it has not returned, because its thread panicked or stands still.
    pub ended: u64,
    /// What was called, with what.
    pub call: C,
    /// What it returned; `None` while it has not. Such a call may have taken effect or not.
    pub returned: Option<R>,
}

impl<C, R> Operation<C, R> {
    /// Whether it has ended before `other` began.
    pub fn is_before<D, S>(&self, other: &Operation<D, S>) -> bool {
        self.ended < other.began
    }
}
