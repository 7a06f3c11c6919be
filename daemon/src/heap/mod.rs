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
/// Functions at the inner end of a stack that are the profile's own, by how they begin.
const OWN: [&str; 5] = ["backtrace::", "rheostat_runtime::alloc::", "__rustc", "__rust_", "alloc::alloc::"];

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

/// Addresses and what stands for them in the profile.
struct Symbols {
    builder: Builder,
    /// The location of an address; `None` for one of the profile's own.
    locations: HashMap<usize, Option<u64>>,
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
        Self { builder, locations: HashMap::new() }
    }

    /// The locations of a stack from the first function that is not the profile's own.
    fn stack(&mut self, site: &Site) -> Vec<u64> {
        if site.frames.is_empty() {
            return vec![self.untold()];
        }
        let locations: Vec<_> = site.frames.iter().map(|address| self.location(*address)).collect();
        let own = locations.iter().take_while(|location| location.is_none()).count();
        // A name like our own further out is somebody else's.
        let outer = site.frames[own..].iter().zip(&locations[own..]);
        outer.map(|(address, location)| location.unwrap_or_else(|| self.add(*address, Vec::new()))).collect()
    }

    fn untold(&mut self) -> u64 {
        if let Some(Some(location)) = self.locations.get(&0) {
            return *location;
        }
        let line = Line { function_id: self.builder.function(UNTOLD, ""), line: 0 };
        let location = self.add(0, vec![line]);
        self.locations.insert(0, Some(location));
        location
    }

    fn location(&mut self, address: usize) -> Option<u64> {
        if let Some(known) = self.locations.get(&address) {
            return *known;
        }
        let (mut lines, mut outermost) = (Vec::new(), String::new());
        backtrace::resolve(address as *mut c_void, |symbol| {
            let name = symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}"));
            let file = symbol.filename().map_or_else(String::new, |file| file.display().to_string());
            let line = symbol.lineno().unwrap_or_default().into();
            lines.push(Line { function_id: self.builder.function(&name, &file), line });
            outermost = name;
        });
        // `<rheostat_runtime::alloc::.. as ..>::alloc` too.
        let is_own =
            OWN.iter().any(|own| outermost.trim_start_matches(['<', '_']).starts_with(own.trim_start_matches('_')));
        let location = (!is_own).then(|| self.add(address, lines));
        self.locations.insert(address, location);
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
            let innermost = calls(sample)[0];
            assert!(!innermost.contains("rheostat_runtime::alloc") && !innermost.contains("backtrace"), "{innermost}");
        }
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
