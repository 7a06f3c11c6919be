//! The C++ originals: libcuckoo, oneTBB's concurrent_hash_map, libcds's MichaelHashMap and SplitListMap, through the
//! shim.

use super::{Peer, Work, contender};
use crate::measure::Contender;
use crate::memory::Heap;
use std::ffi::c_void;

/// A peer over five functions of the shim.
macro_rules! peer {
    ($name:ident: $new:ident, $free:ident, $get:ident, $put:ident, $remove:ident $(, $attach:path, $detach:path)?) => {
        unsafe extern "C" {
            fn $new(entries: usize) -> *mut c_void;
            fn $free(map: *mut c_void);
            fn $get(map: *mut c_void, key: u64, value: *mut u64) -> bool;
            fn $put(map: *mut c_void, key: u64, value: u64) -> bool;
            fn $remove(map: *mut c_void, key: u64) -> bool;
        }

        struct $name(*mut c_void);

        // SAFETY: these maps are made for many threads.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}

        impl $name {
            /// For so many entries; where it grows by itself, as small as it comes.
            fn new(entries: usize) -> Self {
                // SAFETY: no requirements but that the thread is attached, which the table sees to.
                Self(unsafe { $new(entries) })
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: made in `new`, and freed once.
                unsafe { $free(self.0) }
            }
        }

        impl Peer for $name {
            fn get(&self, key: u64) -> Option<u64> {
                let mut value = 0;
                // SAFETY: the map is there, and the pointer is to a value.
                unsafe { $get(self.0, key, &mut value) }.then_some(value)
            }
            fn put(&self, key: u64, value: u64) -> bool {
                // SAFETY: the map is there.
                unsafe { $put(self.0, key, value) }
            }
            fn remove(&self, key: u64) -> bool {
                // SAFETY: the map is there.
                unsafe { $remove(self.0, key) }
            }
            $(
                fn attach() {
                    $attach();
                }
                fn detach() {
                    $detach();
                }
            )?
        }
    };
}

#[cfg(have_cuckoo)]
peer!(Cuckoo: cuckoo_new, cuckoo_free, cuckoo_get, cuckoo_put, cuckoo_remove);
#[cfg(have_tbb)]
peer!(Tbb: tbb_new, tbb_free, tbb_get, tbb_put, tbb_remove);
#[cfg(have_cds)]
peer!(Michael: michael_new, michael_free, michael_get, michael_put, michael_remove, cds::attach, cds::detach);
#[cfg(have_cds)]
peer!(Split: split_new, split_free, split_get, split_put, split_remove, cds::attach, cds::detach);

/// libcds wants to know its threads.
#[cfg(have_cds)]
mod cds {
    use std::sync::Once;

    unsafe extern "C" {
        fn cds_start();
        fn cds_attach();
        fn cds_detach();
    }

    pub fn attach() {
        static STARTED: Once = Once::new();
        // SAFETY: started once, before any thread attaches.
        STARTED.call_once(|| unsafe { cds_start() });
        // SAFETY: started, just above.
        unsafe { cds_attach() }
    }

    pub fn detach() {
        // SAFETY: called by a thread that attached.
        unsafe { cds_detach() }
    }
}

pub(super) fn contenders(work: &Work) -> Vec<Contender<'_>> {
    vec![
        #[cfg(have_cuckoo)]
        contender("libcuckoo (C++)", Heap::Glibc, work, Cuckoo::new),
        #[cfg(have_tbb)]
        contender("oneTBB (C++)", Heap::Resident, work, Tbb::new),
        #[cfg(have_cds)]
        contender("libcds Michael (C++)", Heap::Glibc, work, Michael::new),
        #[cfg(have_cds)]
        contender("libcds SplitList (C++)", Heap::Glibc, work, Split::new),
    ]
}
