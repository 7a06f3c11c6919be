//! Integers as words, where a type is only known to be one when it is compiled. Every question here is answered then.

use std::any::{Any, TypeId};
use std::marker::PhantomData;

/// The integers that fit into a word.
macro_rules! each_integer {
    ($step:ident) => {
        $step!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize)
    };
}

/// Whether `T` is an integer of a word or less.
#[inline(always)]
pub(super) fn is_integer<T: 'static>() -> bool {
    macro_rules! is_one_of {
        ($($integer:ty),*) => { $(TypeId::of::<T>() == TypeId::of::<$integer>())||* };
    }
    each_integer!(is_one_of)
}

/// The word that an integer is kept as; different ones for different integers.
///
/// # Panics
/// When `T` is no integer.
#[inline(always)]
pub(super) fn to_word<T: 'static>(value: &T) -> u64 {
    macro_rules! convert {
        ($($integer:ty),*) => {
            $(if let Some(n) = (value as &dyn Any).downcast_ref::<$integer>() {
                return *n as u64;
            })*
        };
    }
    each_integer!(convert);
    panic!("no integer");
}

/// The integer that `to_word` made this word of.
///
/// # Panics
/// When `T` is no integer.
#[inline(always)]
pub(super) fn from_word<T: Clone + 'static>(word: u64) -> T {
    macro_rules! convert {
        ($($integer:ty),*) => {
            $(if let Some(n) = (&(word as $integer) as &dyn Any).downcast_ref::<T>() {
                return n.clone();
            })*
        };
    }
    each_integer!(convert);
    panic!("no integer");
}

/// The integer that a borrowed key is, unless it is borrowed as something else.
#[inline(always)]
pub(super) fn as_integer<K: 'static, Q: ?Sized>(key: &Q) -> Option<&K> {
    if !is_integer::<K>() || erased_id::<Q>() != TypeId::of::<K>() {
        return None;
    }
    // SAFETY: `Q` is `K` but for lifetimes, and integers have none.
    Some(unsafe { &*std::ptr::from_ref(key).cast() })
}

/// The identity of a type whose lifetimes are all taken for `'static`.
#[inline(always)]
fn erased_id<T: ?Sized>() -> TypeId {
    trait Identified {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T: ?Sized> Identified for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let marker = PhantomData::<T>;
    // SAFETY: lifetimes have no part in what code runs, `id` reads nothing of `T`'s, and the reference is not kept.
    let marker = unsafe { std::mem::transmute::<&dyn Identified, &(dyn Identified + 'static)>(&marker) };
    marker.id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_survive() {
        assert_eq!(from_word::<i8>(to_word(&-7_i8)), -7);
        assert_eq!(from_word::<i64>(to_word(&i64::MIN)), i64::MIN);
        assert_eq!(from_word::<u64>(to_word(&u64::MAX)), u64::MAX);
        assert_ne!(to_word(&1_u16), to_word(&2_u16));
    }

    #[test]
    fn what_is_no_integer_is_known_as_such() {
        assert!(is_integer::<usize>() && !is_integer::<u128>() && !is_integer::<String>());
        assert_eq!(as_integer::<u32, u32>(&5), Some(&5));
        assert_eq!(as_integer::<u32, i32>(&5), None);
        assert_eq!(as_integer::<u8, [u8]>(&[5]), None);
        let text = String::from("5");
        assert_eq!(as_integer::<u64, &str>(&text.as_str()), None);
    }
}
