//! Stages of threads that can grow and shrink while data flows through them.

pub mod elastic;
