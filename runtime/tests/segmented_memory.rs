//! What a segmented queue held goes back to the allocator as it is drained. Alone in its process: it reads the books of
//! the process's own domain.

use rheostat_runtime::queue::Segmented;
use rheostat_runtime::reclaim;

#[test]
fn memory_goes_back_when_drained() {
    const BYTES: u64 = 8 << 20;
    let (queue, mut out) = (Segmented::new(), Vec::new());
    for round in 1..=3 {
        queue.push_bulk(&mut (0..BYTES / 8).collect());
        while queue.pop_bulk(&mut out, 1000) > 0 {
            out.clear();
        }
        reclaim::process_domain().flush();
        let books = reclaim::process_domain().statistics();
        assert_eq!(books.retired_bytes, books.freed_bytes, "nobody holds a guard");
        assert!(books.freed_bytes >= round * BYTES, "round {round}: {books:?}");
    }
}
