//! mimalloc beneath this process: its options, applied in time to matter, and what it says of itself.
//!
//! mimalloc reads its options from the environment before `main` begins, and two of them mean something only then: how
//! the first arena is committed, and whether it lies on large pages. When the configuration wants another value of
//! these than the one in force, [`enforce`] puts it into the environment and executes the program anew, before it has
//! begun anything. The others are set while the process runs. A variable that is set already wins over the file, as the
//! environment does everywhere here, so there is nothing left to enforce the second time.

use crate::config::{Allocator, EagerCommit};
use libmimalloc_sys as ffi;
use rheostat_runtime::observe::{Reading, families};
use std::ffi::{c_int, c_long};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// An option of mimalloc that the configuration knows.
struct Opt {
    /// As metrics spell it.
    name: &'static str,
    /// Its number; the crate has no names for some, and wrong ones for others. A test holds them to their effects.
    number: c_int,
    /// Where mimalloc reads it.
    variable: &'static str,
    /// It means something before the first arena exists, and nothing after.
    early: bool,
    /// What a configuration wants it to be.
    wanted: fn(&Allocator) -> i64,
}

static OPTIONS: [Opt; 4] = [
    Opt {
        name: "eager_commit",
        number: 4,
        variable: "MIMALLOC_ARENA_EAGER_COMMIT",
        early: true,
        wanted: |allocator| match allocator.eager_commit {
            EagerCommit::Off => 0,
            EagerCommit::On => 1,
            EagerCommit::Auto => 2,
        },
    },
    Opt {
        name: "large_os_pages",
        number: 6,
        variable: "MIMALLOC_ALLOW_LARGE_OS_PAGES",
        early: true,
        wanted: |allocator| allocator.large_os_pages.into(),
    },
    Opt {
        name: "purge_delay_ms",
        number: 15,
        variable: "MIMALLOC_PURGE_DELAY",
        early: false,
        wanted: |allocator| allocator.purge_delay.map_or(-1, |delay| delay.as_millis() as i64),
    },
    Opt {
        name: "statistics_at_exit",
        number: 1,
        variable: "MIMALLOC_SHOW_STATS",
        early: false,
        wanted: |allocator| allocator.statistics_at_exit.into(),
    },
];

impl Opt {
    fn in_force(&self) -> i64 {
        // SAFETY: reads a table of mimalloc's, by a number that it has.
        unsafe { ffi::mi_option_get(self.number) }
    }

    fn set(&self, value: i64) {
        // SAFETY: writes a word of a table of mimalloc's; it is read anew each time it matters.
        unsafe { ffi::mi_option_set(self.number, value as c_long) };
    }

    fn is_from_environment(&self) -> bool {
        std::env::var_os(self.variable).is_some()
    }
}

/// mimalloc's version, as in 3.3.2.
pub fn version() -> String {
    let version = mimalloc::MiMalloc.version();
    format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}

/// The options as they are in this process.
pub(crate) fn in_force() -> Allocator {
    let [eager_commit, large_os_pages, purge_delay, statistics] = OPTIONS.each_ref().map(Opt::in_force);
    Allocator {
        eager_commit: match eager_commit {
            0 => EagerCommit::Off,
            1 => EagerCommit::On,
            _ => EagerCommit::Auto,
        },
        large_os_pages: large_os_pages != 0,
        purge_delay: u64::try_from(purge_delay).ok().map(Duration::from_millis),
        statistics_at_exit: statistics != 0,
    }
}

/// The options that the environment has said something about, in the order of the configuration.
pub(crate) fn from_environment() -> [bool; OPTIONS.len()] {
    OPTIONS.each_ref().map(Opt::is_from_environment)
}

/// Executes the program anew, with its arguments, if options are wanted that it is too late for; it then does not
/// return. Call it at the beginning of `main`: whatever the process has open or under way is lost or handed on.
///
/// # Errors
/// When the system does not execute it; nothing has changed then.
pub fn enforce(wanted: &Allocator) -> io::Result<()> {
    let late = OPTIONS.iter().filter(|option| option.early && option.in_force() != (option.wanted)(wanted));
    let late: Vec<_> = late.map(|option| (option.variable, (option.wanted)(wanted).to_string())).collect();
    if late.is_empty() {
        return Ok(());
    }
    // Not /proc/self/exe: the process would be called `exe`.
    let mut anew = Command::new(std::env::current_exe()?);
    let mut arguments = std::env::args_os();
    arguments.next().into_iter().for_each(|name| _ = anew.arg0(name));
    Err(anew.args(arguments).envs(late).exec())
}

/// Sets the options that can be set at any time, and names those that are wanted and cannot be had any more.
pub(crate) fn apply(wanted: &Allocator) -> Vec<&'static str> {
    let differs = |option: &&Opt| option.in_force() != (option.wanted)(wanted);
    let (early, any_time): (Vec<_>, Vec<_>) = OPTIONS.iter().filter(differs).partition(|option| option.early);
    any_time.into_iter().for_each(|option| option.set((option.wanted)(wanted)));
    early.into_iter().map(|option| option.variable).collect()
}

/// Says what options are in force, and what mimalloc has from the system.
pub(crate) fn read(reading: &mut Reading) {
    for option in &OPTIONS {
        reading.level(&families::ALLOCATOR_OPTION, &[option.name], option.in_force() as f64);
    }
    #[cfg(not(feature = "mimalloc-v2"))]
    statistics::read(reading);
}

/// Version 2 has no such text, and its numbers are wrong in release builds.
#[cfg(not(feature = "mimalloc-v2"))]
mod statistics {
    use super::{Reading, families};
    use serde::Deserialize;

    /// What mimalloc counts however it was built; the rest of its text is zero unless it counts every allocation.
    #[derive(Debug, Deserialize)]
    struct Statistics {
        reserved: Level,
        committed: Level,
        pages: Level,
        threads: Level,
        heaps: Level,
        purged: i64,
        mmap_calls: i64,
    }

    #[derive(Debug, Deserialize)]
    struct Level {
        peak: i64,
        current: i64,
    }

    fn statistics() -> Option<Statistics> {
        let text = mimalloc::MiMalloc::stats_json().ok()?;
        serde_json::from_slice(text.to_bytes()).ok()
    }

    pub(super) fn read(reading: &mut Reading) {
        let Some(seen) = statistics() else { return };
        let total = |number: i64| u64::try_from(number).unwrap_or_default();
        reading.level(&families::ALLOCATOR_RESERVED, &[], seen.reserved.current as f64);
        reading.level(&families::ALLOCATOR_COMMITTED, &[], seen.committed.current as f64);
        reading.level(&families::ALLOCATOR_COMMITTED_PEAK, &[], seen.committed.peak as f64);
        reading.level(&families::ALLOCATOR_PAGES, &[], seen.pages.current as f64);
        reading.level(&families::ALLOCATOR_THREADS, &[], seen.threads.current as f64);
        reading.level(&families::ALLOCATOR_HEAPS, &[], seen.heaps.current as f64);
        reading.total(&families::ALLOCATOR_PURGED, &[], total(seen.purged));
        reading.total(&families::ALLOCATOR_MMAPS, &[], total(seen.mmap_calls));
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn mimalloc_says_what_it_has() {
            // Through mimalloc whatever the allocator of the tests is.
            // SAFETY: allocated, and freed once by the same.
            unsafe { super::super::ffi::mi_free(super::super::ffi::mi_malloc(1 << 20)) };
            let seen = statistics().expect("statistics that can be read");
            assert!(seen.reserved.current >= seen.committed.current && seen.committed.peak >= 1 << 20, "{seen:?}");
            assert!(seen.threads.current >= 1 && seen.heaps.current >= 1 && seen.mmap_calls >= 1, "{seen:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of options belong to these versions; another one may have other numbers.
    #[test]
    fn the_version_is_one_whose_options_are_known() {
        let known = if cfg!(feature = "mimalloc-v2") { "2.3.2" } else { "3.3.2" };
        assert_eq!(version(), known);
    }

    #[test]
    fn what_can_be_set_at_any_time_is_set_and_the_rest_is_named() {
        let before = in_force();
        let wanted = Allocator {
            eager_commit: if before.eager_commit == EagerCommit::On { EagerCommit::Off } else { EagerCommit::On },
            large_os_pages: before.large_os_pages,
            purge_delay: None,
            statistics_at_exit: false,
        };
        assert_eq!(apply(&wanted), ["MIMALLOC_ARENA_EAGER_COMMIT"]);
        assert_eq!(in_force(), Allocator { eager_commit: before.eager_commit, ..wanted });
        apply(&before);
        assert_eq!(in_force(), before);
    }
}
