//! The machine and the build a result belongs to. What cannot be told is left out.

use rheostat_runtime::sync::thread;
use std::collections::BTreeMap;
use std::fs;

/// What is known of machine and build.
pub(super) fn environment() -> BTreeMap<String, String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let model = info.lines().find(|line| line.starts_with("model name"))?;
        Some(model.split_once(':')?.1.trim().to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|release| release.trim().to_owned());
    let cores = thread::available_parallelism().ok().map(|cores| cores.to_string());
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let known = [
        ("cpu", cpu),
        ("cores", cores),
        ("kernel", kernel),
        ("os", Some(std::env::consts::OS.to_owned())),
        ("arch", Some(std::env::consts::ARCH.to_owned())),
        ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("profile", Some(profile.to_owned())),
    ];
    known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Bytes of this process that are in memory now; `None` where the system does not tell.
pub(super) fn resident_bytes() -> Option<u64> {
    // The second field counts pages, which have 4 KiB on every Linux that says nothing else.
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * PAGE_BYTES)
}
