//! Heap profiles as pprof reads them: what the runtime has sampled, with names for its addresses.
//!
//! Names are looked up here and now, in this process: who reads the profile elsewhere need not have the binary. That
//! reads the binary's debug information, once for each profile, and forgets it.

mod pprof;

use flate2::{Compression, write::GzEncoder};
use pprof::{Builder, Label, Line, Location, Mapping, Sample};
use procfs::process::{MMPermissions, MMapPath, Process};
use prost::Message;
use rheostat_runtime::alloc::profile::{HeapProfile, Site};
use std::collections::HashMap;
use std::ffi::c_void;
use std::io::{self, Write};

/// The function of sites that found no room of their own.
const UNTOLD: &str = "(sites past the limit)";
/// What a program calls for a block: the allocator's entries, however their names are spelled out.
const ENTRIES: [&str; 3] = ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"];
/// Where the sources of the standard library and of what it is built from were, as the debug information has it.
const STANDARD_FILES: [&str; 4] = ["/library/alloc/src/", "/library/core/src/", "/library/std/src/", "/rust/deps/"];
/// Its crates, for functions of which no file is known.
const STANDARD_CRATES: [&str; 4] = ["alloc::", "core::", "std::", "hashbrown::"];
/// The entries and what stands right before them, for those who merge the profile with others of the same program.
const DROP_FRAMES: &str = r"(__rustc::)?__rust_(alloc|alloc_zeroed|realloc)|<?alloc::(alloc|raw_vec)::.*";

/// The profile as gzipped protobuf.
///
/// # Errors
/// None that can be met: the text is written to memory.
pub(crate) fn encode(profile: &HeapProfile, time_ms: u64) -> io::Result<Vec<u8>> {
    let message = message(profile, time_ms).encode_to_vec();
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(&message)?;
    zipped.finish()
}

fn message(profile: &HeapProfile, time_ms: u64) -> pprof::Profile {
    let mut symbols = Symbols::new();
    let builder = &mut symbols.builder;
    let types =
        [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];
    builder.profile.sample_type = types.map(|(r#type, unit)| builder.value_type(r#type, unit)).into();
    builder.profile.default_sample_type = builder.string("inuse_space");
    builder.profile.period_type = Some(builder.value_type("space", "bytes"));
    builder.profile.period = profile.interval_bytes as i64;
    builder.profile.time_nanos = (time_ms * 1_000_000) as i64;
    if profile.dropped > 0 {
        let comment = format!("{} samples found no room and are missing", profile.dropped);
        let comment = builder.string(&comment);
        builder.profile.comment.push(comment);
    }
    builder.profile.drop_frames = builder.string(DROP_FRAMES);
    let key = builder.string("scope");
    for site in &profile.sites {
        let value = [site.allocations, site.allocated_bytes, site.live_blocks, site.live_bytes];
        let value = value.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        if value.iter().any(|number| *number > 0) {
            let location_id = symbols.stack(site);
            let label = vec![Label { key, str: symbols.builder.string(site.scope) }];
            symbols.builder.profile.sample.push(Sample { location_id, value: value.into(), label });
        }
    }
    backtrace::clear_symbol_cache();
    symbols.builder.profile
}

/// A function at an address: the one whose code it is, or one that was inlined there.
#[derive(Debug, Clone)]
struct Function {
    /// With the path of its module.
    name: String,
    /// As the compiler wrote it.
    mangled: String,
    /// Empty where it is not known.
    file: String,
    line: i64,
}

impl Function {
    fn is_entry(&self) -> bool {
        ENTRIES.contains(&self.name.rsplit("::").next().unwrap_or_default())
    }

    /// Whether it is the standard library's: `Vec::push`, `String::from`, `collect`.
    fn is_standard(&self) -> bool {
        if self.file.is_empty() {
            return STANDARD_CRATES.iter().any(|name| self.name.trim_start_matches('<').starts_with(name));
        }
        STANDARD_FILES.iter().any(|folder| self.file.contains(folder))
    }
}

/// Addresses and what stands for them in the profile.
struct Symbols {
    builder: Builder,
    /// The functions at an address, innermost first.
    functions: HashMap<usize, Vec<Function>>,
    /// The location of an address without so many of its innermost functions.
    locations: HashMap<(usize, usize), u64>,
}

impl Symbols {
    fn new() -> Self {
        let mut builder = Builder::default();
        // Without a list of what is mapped, addresses stand alone; their names are known all the same.
        let maps = Process::myself().and_then(|process| process.maps());
        for map in maps.into_iter().flatten() {
            if let (true, MMapPath::Path(path)) = (map.perms.contains(MMPermissions::EXECUTE), &map.pathname) {
                let mapping = Mapping {
                    id: builder.profile.mapping.len() as u64 + 1,
                    memory_start: map.address.0,
                    memory_limit: map.address.1,
                    file_offset: map.offset,
                    filename: builder.string(&path.display().to_string()),
                    has_functions: true,
                    has_filenames: true,
                    has_line_numbers: true,
                    has_inline_frames: true,
                };
                builder.profile.mapping.push(mapping);
            }
        }
        Self { builder, functions: HashMap::new(), locations: HashMap::new() }
    }

    /// The locations of a stack from the first function on that is the program's own. The allocator's entry would be the
    /// innermost function of every stack and what the standard library does to get there that of nearly every one, so
    /// that tables by function would have one line.
    fn stack(&mut self, site: &Site) -> Vec<u64> {
        if site.frames.is_empty() {
            return vec![self.untold()];
        }
        let asked = site.frames.iter().enumerate().find_map(|(index, address)| {
            let entry = self.functions(*address).iter().rposition(Function::is_entry)?;
            Some((index, entry + 1))
        });
        let asked = asked.unwrap_or((0, 0));
        let own = self.find(&site.frames, asked, |function| !function.is_standard());
        // A stack that is nothing but the standard library's, as a thread's beginning: who called the allocator, then.
        let Some((first, skipped)) = own.or_else(|| self.find(&site.frames, asked, |_| true)) else {
            return vec![self.untold()];
        };
        let innermost = self.location(site.frames[first], skipped);
        let outer = site.frames[first + 1..].iter().map(|outer| self.location(*outer, 0));
        std::iter::once(innermost).chain(outer).collect()
    }

    /// The first function like that, from one on: its frame, and its place among the functions there.
    fn find(
        &mut self,
        frames: &[usize],
        (begin, skipped): (usize, usize),
        wanted: impl Fn(&Function) -> bool,
    ) -> Option<(usize, usize)> {
        frames.iter().enumerate().skip(begin).find_map(|(index, address)| {
            let from = if index == begin { skipped } else { 0 };
            let found = self.functions(*address).iter().skip(from).position(&wanted)?;
            Some((index, from + found))
        })
    }

    fn untold(&mut self) -> u64 {
        if let Some(location) = self.locations.get(&(0, 0)) {
            return *location;
        }
        let line = Line { function_id: self.builder.function(UNTOLD, UNTOLD, ""), line: 0 };
        let location = self.add(0, vec![line]);
        self.locations.insert((0, 0), location);
        location
    }

    /// The functions at an address, innermost first; never none.
    fn functions(&mut self, address: usize) -> &[Function] {
        self.functions.entry(address).or_insert_with(|| {
            let mut functions = Vec::new();
            backtrace::resolve(address as *mut c_void, |symbol| {
                let name = symbol.name();
                functions.push(Function {
                    name: name.as_ref().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}")),
                    mangled: name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(),
                    file: symbol.filename().map_or_else(String::new, |file| file.display().to_string()),
                    line: symbol.lineno().unwrap_or_default().into(),
                });
            });
            if functions.is_empty() {
                let name = format!("{address:#x}");
                functions.push(Function { mangled: name.clone(), name, file: String::new(), line: 0 });
            }
            functions
        })
    }

    fn location(&mut self, address: usize, skipped: usize) -> u64 {
        if let Some(known) = self.locations.get(&(address, skipped)) {
            return *known;
        }
        let functions = self.functions(address)[skipped..].to_vec();
        let line = |function: &Function| Line {
            function_id: self.builder.function(&function.name, &function.mangled, &function.file),
            line: function.line,
        };
        let lines = functions.iter().map(line).collect();
        let location = self.add(address, lines);
        self.locations.insert((address, skipped), location);
        location
    }

    fn add(&mut self, address: usize, line: Vec<Line>) -> u64 {
        let (locations, address) = (&self.builder.profile.location, address as u64);
        let id = locations.len() as u64 + 1;
        let mapped = |mapping: &&Mapping| (mapping.memory_start..mapping.memory_limit).contains(&address);
        let mapping_id = self.builder.profile.mapping.iter().find(mapped).map_or(0, |mapping| mapping.id);
        self.builder.profile.location.push(Location { id, mapping_id, address, line });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use rheostat_runtime::alloc::profile::{self, HeapProfile};
    use rheostat_runtime::alloc::{Class, Scope, Tracked};
    use std::alloc::System;
    use std::io::Read;

    #[global_allocator]
    static GLOBAL: Tracked<System> = Tracked::new(System);

    #[inline(never)]
    fn a_site_that_is_known() -> Vec<u8> {
        std::hint::black_box(vec![1; 100_000])
    }

    fn decode(zipped: &[u8]) -> pprof::Profile {
        let mut bytes = Vec::new();
        GzDecoder::new(zipped).read_to_end(&mut bytes).unwrap();
        pprof::Profile::decode(&*bytes).unwrap()
    }

    #[test]
    fn a_known_site_is_in_it_with_its_scope() {
        profile::set_interval(1000);
        let scope = Scope::new(Class::Pipelines, "pipeline.test.parse");
        // A thread whose countdown has not begun yet follows at once.
        let kept = std::thread::spawn(move || {
            let _in = scope.enter();
            (0..20).map(|_| a_site_that_is_known()).collect::<Vec<_>>()
        });
        let kept = kept.join().unwrap();
        let taken = profile::heap_profile().unwrap();
        profile::set_interval(0);
        let decoded = decode(&encode(&taken, 7).unwrap());
        let text = |index: i64| decoded.string_table[index as usize].as_str();
        assert_eq!(text(0), "");
        let types: Vec<_> = decoded.sample_type.iter().map(|ty| (text(ty.r#type), text(ty.unit))).collect();
        assert_eq!(types[3], ("inuse_space", "bytes"));
        assert_eq!((decoded.period, decoded.time_nanos), (1000, 7_000_000));
        let function = |id: u64| text(decoded.function[id as usize - 1].name);
        let calls = |sample: &Sample| -> Vec<&str> {
            let locations = sample.location_id.iter().map(|id| &decoded.location[*id as usize - 1]);
            locations.flat_map(|location| &location.line).map(|line| function(line.function_id)).collect()
        };
        let known: Vec<_> = decoded
            .sample
            .iter()
            .filter(|sample| calls(sample).iter().any(|name| name.ends_with("a_site_that_is_known")))
            .collect();
        assert!(!known.is_empty(), "not among {:?}", decoded.sample.iter().map(calls).collect::<Vec<_>>());
        assert!(known.iter().all(|sample| text(sample.label[0].str) == "pipeline.test.parse"));
        assert_eq!(text(known[0].label[0].key), "scope");
        let live: i64 = known.iter().map(|sample| sample.value[3]).sum();
        assert_eq!(live, 20 * 100_000, "blocks a hundred times the interval are always sampled");
        for sample in &known {
            assert!(
                calls(sample)[0].ends_with("a_site_that_is_known"),
                "the innermost is not the site: {:?}",
                calls(sample)
            );
        }
        assert!(text(decoded.drop_frames).contains("__rust_"));
        assert!(decoded.location.iter().any(|location| location.mapping_id > 0));
        drop(kept);
    }

    #[test]
    fn sites_without_a_stack_are_one() {
        let site =
            Site { frames: vec![], scope: "other", allocations: 2, allocated_bytes: 10, live_blocks: 0, live_bytes: 0 };
        let profile = HeapProfile { interval_bytes: 1, sites: vec![site.clone(), site], samples: 0, dropped: 3 };
        let decoded = decode(&encode(&profile, 0).unwrap());
        assert_eq!(decoded.sample[0].location_id, decoded.sample[1].location_id);
        assert!(decoded.string_table.iter().any(|text| text == UNTOLD));
        assert!(decoded.string_table[decoded.comment[0] as usize].starts_with("3 samples"));
    }
}
