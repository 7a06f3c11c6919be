//! What the guard writes into bytes nobody should use, and how it sees that somebody did.
//!
//! The bytes are those that Microsoft's debug heap has used for decades, so that who meets one in a debugger, or in a
//! value that makes no sense, may know it: `0xCDCDCDCD` was never written, `0xDDDDDDDD` was freed, `0xFDFDFDFD` lies
//! past the end.

use std::ops::Range;
use std::ptr::NonNull;

/// A block handed out, before its holder writes to it.
pub const FRESH: u8 = 0xCD;
/// A block that is free.
pub const FREED: u8 = 0xDD;
/// Behind the bytes that were asked for.
pub const CANARY: u8 = 0xFD;

/// Bytes looked at together: enough for the compiler to use its widest registers.
const STRIDE: usize = 64;

/// Fills a range of a block's bytes.
///
/// # Safety
/// The range lies in one block, and nobody else may touch it.
pub unsafe fn fill(start: NonNull<u8>, range: Range<usize>, byte: u8) {
    // SAFETY: by the caller.
    unsafe { start.add(range.start).write_bytes(byte, range.len()) };
}

/// The first place in a range of a block's bytes where something else stands.
///
/// # Safety
/// The range lies in one block, is initialised, and nobody may write to it meanwhile. (Who does all the same is what
/// the guard looks for. Such a write races with this look, and the fault is the writer's.)
pub unsafe fn first_other(start: NonNull<u8>, range: Range<usize>, byte: u8) -> Option<usize> {
    // SAFETY: by the caller.
    let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr().add(range.start), range.len()) };
    let differs = |stride: &[u8]| stride.iter().fold(0, |seen, &other| seen | (other ^ byte)) != 0;
    let stride = bytes.chunks(STRIDE).position(differs)? * STRIDE;
    let within = bytes[stride..].iter().position(|&other| other != byte)?;
    Some(range.start + stride + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_other_byte_is_found_wherever_it_is() {
        let mut bytes = [FREED; 200];
        let start = NonNull::from(&mut bytes).cast::<u8>();
        // SAFETY: they are ours.
        unsafe {
            assert_eq!(first_other(start, 0..200, FREED), None);
            for at in 3..190 {
                fill(start, at..at + 1, FRESH);
                assert_eq!(first_other(start, 3..190, FREED), Some(at));
                fill(start, at..at + 1, FREED);
            }
            fill(start, 190..200, CANARY);
            assert_eq!((first_other(start, 0..190, FREED), first_other(start, 190..200, CANARY)), (None, None));
            assert_eq!(first_other(start, 5..5, FRESH), None);
        }
    }
}
