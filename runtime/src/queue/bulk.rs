//! Items that leave a vector, or join one, by pointer: what is copied as one piece costs a fraction of what an iterator
//! hands over one by one.

/// Moves `count` items off the front of `items`, the others to its front. `take` gets a pointer to the first.
///
/// # Safety
/// There are so many, and `take` moves all of them out and does not unwind.
#[inline(always)]
pub(super) unsafe fn take_front<T>(items: &mut Vec<T>, count: usize, take: impl FnOnce(*const T)) {
    let rest = items.len() - count;
    // SAFETY: the vector gives up all its items, `take` moves those in front, and the vector takes back those behind.
    // What is between is not seen by anybody, as nothing in here unwinds.
    unsafe {
        items.set_len(0);
        let begin = items.as_mut_ptr();
        take(begin);
        begin.copy_from(begin.add(count), rest);
        items.set_len(rest);
    }
}

/// Adds `count` items to the end of `out`, which has the room. `put` gets a pointer to where the first belongs.
///
/// # Safety
/// There is capacity for so many, and `put` writes all of them.
#[inline(always)]
pub(super) unsafe fn put_back<T>(out: &mut Vec<T>, count: usize, put: impl FnOnce(*mut T)) {
    // SAFETY: by the caller.
    unsafe {
        put(out.as_mut_ptr().add(out.len()));
        out.set_len(out.len() + count);
    }
}
