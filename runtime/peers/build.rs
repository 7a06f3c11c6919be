//! Compiles the shim over those of the C++ originals that `fetch-cpp` has put into `target/cpp-peers`, and tells the
//! crate which these are.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=shim/peers.cpp");
    #[cfg(feature = "cpp")]
    cpp::compile();
}

#[cfg(feature = "cpp")]
mod cpp {
    use std::path::Path;

    /// A peer: its cfg and define, the header that shows that it is there, and the library to link.
    const PEERS: [(&str, &str, Option<&str>); 4] = [
        ("moodycamel", "concurrentqueue/concurrentqueue.h", None),
        ("cuckoo", "libcuckoo/cuckoohash_map.hh", None),
        ("tbb", "tbb/concurrent_hash_map.h", Some("tbb")),
        ("cds", "cds/container/michael_map.h", Some("cds")),
    ];

    pub fn compile() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/cpp-peers/usr");
        println!("cargo:rerun-if-changed={}", root.display());
        let (include, lib) = (root.join("include"), root.join("lib/x86_64-linux-gnu"));
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(3).warnings(false).file("shim/peers.cpp").include(&include);
        println!("cargo:rustc-link-search=native={}", lib.display());
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        for (peer, header, library) in PEERS {
            if !include.join(header).exists() {
                println!("cargo:warning={peer} is not in {}: run runtime/peers/fetch-cpp", include.display());
                continue;
            }
            build.define(&format!("HAVE_{}", peer.to_uppercase()), None);
            println!("cargo:rustc-cfg=have_{peer}");
            if let Some(library) = library {
                println!("cargo:rustc-link-lib=dylib={library}");
            }
        }
        build.compile("peers");
    }
}
