//! Random streams: which key comes next, and which operation.
//!
//! The draw of a worker is a function of seed, worker and index and of nothing else: no state is shared, no draw
//! depends on what came before it, and a run with the same seed asks for the same keys in the same order.

mod keys;
mod scatter;
mod stream;
mod ycsb;
mod zipf;

pub use keys::{Frontier, KEY_BYTES, KeyStream};
pub use scatter::Scatter;
pub use stream::Stream;
pub use ycsb::YcsbZipf;
pub use zipf::Zipf;
