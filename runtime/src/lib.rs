//! The library every part of Rheostat stands on.
pub mod observe;
pub mod sync;
