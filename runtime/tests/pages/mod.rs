//! A map's entries, as a client of pages has them.

use rheostat_runtime::map::Map;
use std::hash::Hash;

/// All entries, page by page.
pub fn scan_all<K, V>(map: &Map<K, V>, limit: usize) -> Vec<(K, V)>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = map.scan(cursor, limit);
        entries.extend(page);
        match next {
            Some(_) => cursor = next,
            None => return entries,
        }
    }
}
