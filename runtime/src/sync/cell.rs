//! `UnsafeCell` with scoped access, so that loom can see who touches it and when.

/// An `UnsafeCell` whose contents are reached through closures only.
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(#[cfg(not(rt_loom))] std::cell::UnsafeCell<T>, #[cfg(rt_loom)] loom::cell::UnsafeCell<T>);

#[cfg(not(rt_loom))]
impl<T> UnsafeCell<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Hands a shared pointer to the contents to `f`; dereferencing it is the caller's claim.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Hands an exclusive pointer to the contents to `f`; dereferencing it is the caller's claim.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

#[cfg(rt_loom)]
impl<T> UnsafeCell<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// Hands a shared pointer to the contents to `f`; dereferencing it is the caller's claim.
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.0.with(f)
    }

    /// Hands an exclusive pointer to the contents to `f`; dereferencing it is the caller's claim.
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(f)
    }
}
