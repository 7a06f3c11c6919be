//! The size classes of a pool that were used: how full they are, how they are allocated from, where threads meet in
//! them.

use super::maps::in_force;
use super::table::Column;
use super::{Scene, bars, heat, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::Resource;

/// Of what a class holds, this much may be free before it is worth a look; and less than so many bytes never is.
const IDLE_SHARE: f64 = 0.4;
const IDLE_BYTES: f64 = 10.0 * 1024.0 * 1024.0;
/// Levels at which threads keep blocks of their own.
const CACHING: [&str; 2] = ["thread_cached", "unlocked"];
/// Figures that belong together would drift apart over the whole of a wide window.
const WIDTH_MAX: u16 = 108;

/// A size class of a pool.
pub struct Class {
    address: String,
    label: String,
    caches: bool,
    live: Option<f64>,
    /// Bytes carved for its blocks, in use and free.
    carved: Option<f64>,
    requested: Option<f64>,
}

impl Class {
    /// A class is named by the bytes of its blocks; one that is not keeps its name.
    pub fn size(&self) -> String {
        self.label.parse().map_or_else(|_| self.label.clone(), units::memory)
    }

    /// Blocks in use over blocks there are.
    fn occupancy(&self) -> Option<f64> {
        let carved = self.carved.filter(|carved| *carved > 0.0)?;
        Some((self.live? / carved).min(1.0))
    }

    /// What is carved and free, as a share.
    fn outside(&self) -> Option<f64> {
        Some(1.0 - self.occupancy()?)
    }

    /// What blocks in use are longer than was asked for, as a share.
    fn inside(&self) -> Option<f64> {
        let live = self.live.filter(|live| *live > 0.0)?;
        Some((1.0 - self.requested? / live).max(0.0))
    }

    /// Much that idles is worth a look.
    fn tone(&self) -> Tone {
        let idle = self.carved.zip(self.live).map_or(0.0, |(carved, live)| carved - live);
        let wasteful = idle > IDLE_BYTES && self.outside().is_some_and(|share| share > IDLE_SHARE);
        if wasteful { Tone::Warn } else { Tone::Good }
    }

    fn rate(&self, scene: &Scene, family: &str) -> Option<f64> {
        scene.look().rate_where(&self.address, family, "size_class", &self.label)
    }

    /// Locks waited for and exchanges lost, in a second.
    fn contended(&self, scene: &Scene) -> Option<f64> {
        Some(self.rate(scene, POOL_LOCK_CONTENTIONS)? + self.rate(scene, POOL_CAS_FAILURES)?)
    }
}

static COLUMNS: &[Column<Class>] = &[
    Column {
        head: "CLASS",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, class, _| scene.line(Tone::Plain, class.size()),
    },
    Column { head: "ALLOCS", width: 8, right: true, from: 0, cell: |scene, class, _| rate(scene, class, POOL_ALLOCS) },
    Column { head: "LIVE", width: 8, right: true, from: 40, cell: |scene, class, _| memory(scene, class.live) },
    Column { head: "HELD", width: 8, right: true, from: 50, cell: |scene, class, _| memory(scene, class.carved) },
    Column { head: "IN USE", width: 10, right: false, from: 60, cell: in_use },
    Column { head: "HITS", width: 5, right: true, from: 40, cell: |scene, class, _| share(scene, hits(scene, class)) },
    Column {
        head: "REMOTE",
        width: 6,
        right: true,
        from: 76,
        cell: |scene, class, _| {
            let remote = class.rate(scene, POOL_REMOTE_FREES).zip(class.rate(scene, POOL_FREES));
            share(scene, remote.and_then(|(remote, all)| (all > 0.0).then(|| (remote / all).min(1.0))))
        },
    },
    Column {
        head: "CONTENDED",
        width: 9,
        right: true,
        from: 30,
        cell: |scene, class, _| scene.line(Tone::Plain, or_unknown(class.contended(scene), units::rate)),
    },
    Column { head: "INSIDE", width: 6, right: true, from: 88, cell: |scene, class, _| share(scene, class.inside()) },
    Column {
        head: "OUTSIDE",
        width: 7,
        right: true,
        from: 79,
        cell: |scene, class, _| {
            let tone = if class.tone() == Tone::Warn { Tone::Warn } else { Tone::Plain };
            scene.line(tone, or_unknown(class.outside(), units::percent))
        },
    },
    Column {
        head: "DEPOT",
        width: 8,
        right: true,
        from: 97,
        cell: |scene, class, _| rate(scene, class, POOL_DEPOT_EXCHANGES),
    },
    Column {
        head: "REFUSED",
        width: 8,
        right: true,
        from: 106,
        cell: |scene, class, _| rate(scene, class, POOL_REFUSALS),
    },
];

/// The classes of a pool that were used: those first in which most threads have met so far, then those that hold most.
/// By totals, so that rows keep their places while one looks.
pub fn of(pool: &Resource) -> Vec<Class> {
    let caches = are_cached(pool);
    let mut classes: Vec<_> = labels(pool)
        .into_iter()
        .map(|label| {
            let value = |family| pool.value_where(family, "size_class", label);
            let met = value(POOL_LOCK_CONTENTIONS).unwrap_or(0.0) + value(POOL_CAS_FAILURES).unwrap_or(0.0);
            let (live, carved, requested) = (value(POOL_LIVE), value(POOL_SLABS), value(POOL_REQUESTED));
            (met, Class { address: pool.address.clone(), label: label.clone(), caches, live, carved, requested })
        })
        .collect();
    classes.sort_by(|(met, class), (other_met, other)| {
        other_met.total_cmp(met).then(other.carved.unwrap_or(0.0).total_cmp(&class.carved.unwrap_or(0.0)))
    });
    classes.into_iter().map(|(_, class)| class).collect()
}

/// Whether threads keep blocks of their own at the level in force.
pub fn are_cached(pool: &Resource) -> bool {
    CACHING.contains(&in_force(pool, POOL_LEVEL, "level").as_str())
}

/// In the order in which the pool names them, which is that of their sizes.
fn labels(pool: &Resource) -> Vec<&String> {
    let of_class = pool.samples.iter().filter(|sample| sample.family == POOL_ALLOCS);
    of_class.filter_map(|sample| sample.labels.get("size_class")).collect()
}

/// One column for each class, the smallest first, as high as the class is in use; `None` without classes.
pub fn strip(scene: &Scene, pool: &Resource) -> Option<Vec<Span<'static>>> {
    let classes = of(pool);
    let in_order = labels(pool).into_iter().filter_map(|label| classes.iter().find(|class| class.label == *label));
    let columns: Vec<_> =
        in_order.map(|class| heat::column(scene, class.occupancy().unwrap_or(0.0), class.tone())).collect();
    (!columns.is_empty()).then_some(columns)
}

/// Draws as many of them as there is room for and gives back what it left of the area.
pub fn draw(scene: &Scene, classes: &[Class], area: Rect, buf: &mut Buffer) -> Rect {
    let narrow = Rect { width: area.width.min(WIDTH_MAX), ..area };
    let left = table::draw(scene, COLUMNS, &classes.iter().collect::<Vec<_>>(), None, narrow, buf);
    Rect { width: area.width, ..left }
}

/// Allocations that found a block in their thread's cache.
fn hits(scene: &Scene, class: &Class) -> Option<f64> {
    let fills = class.rate(scene, POOL_CACHE_FILLS).filter(|_| class.caches)?;
    let allocs = class.rate(scene, POOL_ALLOCS).filter(|allocs| *allocs > 0.0)?;
    Some((1.0 - fills / allocs).max(0.0))
}

fn in_use(scene: &Scene, class: &Class, width: u16) -> Line<'static> {
    match (class.live, class.carved) {
        (Some(live), Some(carved)) => Line::from_iter(bars::share(scene, live, carved, class.tone(), width)),
        _ => scene.line(Tone::Quiet, units::UNKNOWN),
    }
}

fn rate(scene: &Scene, class: &Class, family: &str) -> Line<'static> {
    scene.line(Tone::Plain, or_unknown(class.rate(scene, family), units::rate))
}

fn share(scene: &Scene, share: Option<f64>) -> Line<'static> {
    scene.line(Tone::Plain, or_unknown(share, units::percent))
}

fn memory(scene: &Scene, bytes: Option<f64>) -> Line<'static> {
    scene.line(Tone::Plain, or_unknown(bytes, units::memory))
}
