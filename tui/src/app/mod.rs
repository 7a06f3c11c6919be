//! What the dashboard knows. It has one owner, changes only in [`App::update`], and is drawn without being changed.

mod cursor;
mod look;
mod palette;
mod staging;
mod trend;
mod update;

pub use cursor::Cursor;
pub use look::{Look, Shares};
pub use palette::{Typed, completions};
pub use staging::Staging;
pub use trend::Trend;

use crate::family;
use rheostat_api::{Change, Entry, Knob, Resource};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Data older than this is shown as stale: eight snapshots did not come.
pub const STALE_AFTER: Duration = Duration::from_secs(2);
/// A notice goes after this long, or with the next key.
const NOTICE_LASTS: Duration = Duration::from_secs(10);
/// As many changes as are kept; the host keeps them all.
const CHANGES_MAX: usize = 1000;

/// The screens, by their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Everything at a glance.
    Overview,
    /// Pipelines and their stages.
    Pipelines,
    /// Hosted queues, and the queues in front of stages.
    Queues,
    /// Maps.
    Maps,
    /// Allocator pools, and the process's allocator.
    Pools,
    /// Turned knobs.
    Changes,
}

impl Screen {
    /// All of them, in the order of their digits.
    pub const ALL: [Screen; 6] =
        [Screen::Overview, Screen::Pipelines, Screen::Queues, Screen::Maps, Screen::Pools, Screen::Changes];

    /// The key that shows it.
    pub fn digit(self) -> char {
        match self {
            Screen::Overview => '1',
            Screen::Pipelines => '2',
            Screen::Queues => '3',
            Screen::Maps => '4',
            Screen::Pools => '5',
            Screen::Changes => '8',
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Screen::Overview => "Overview",
            Screen::Pipelines => "Pipelines",
            Screen::Queues => "Queues",
            Screen::Maps => "Maps",
            Screen::Pools => "Pools",
            Screen::Changes => "Changes",
        }
    }

    /// Whether it lists this resource.
    fn lists(self, resource: &Resource) -> bool {
        match self {
            Screen::Overview => true,
            Screen::Pipelines => matches!(resource.kind.as_str(), "pipeline" | "stage"),
            Screen::Queues => resource.kind == "queue" || resource.value(family::STAGE_QUEUE_CAPACITY).is_some(),
            Screen::Maps => resource.kind == "map",
            Screen::Pools => matches!(resource.kind.as_str(), "pool" | "allocator"),
            Screen::Changes => false,
        }
    }
}

/// How it stands with the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No snapshot yet.
    Connecting,
    /// Snapshots come.
    Live,
    /// They do not.
    Lost {
        /// What went wrong.
        why: String,
        /// When it will be tried again.
        retry_at: Instant,
    },
}

/// What the keys mean at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Look around.
    Browse,
    /// The help is shown, scrolled by so many lines.
    Help(usize),
    /// A filter is typed.
    Filter,
    /// A command is typed.
    Palette(Typed),
    /// A change is staged.
    Staging(Staging),
}

/// A sentence on the bottom line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The sentence.
    pub text: String,
    /// Whether it is bad news.
    pub bad: bool,
    since: Instant,
}

/// The greatest entries of a map.
#[derive(Debug, Clone)]
struct Top {
    address: String,
    entries: Vec<Entry>,
    asked: Instant,
}

/// The state of the dashboard.
#[derive(Debug)]
pub struct App {
    endpoint: String,
    now: Instant,
    seen: Option<Instant>,
    link: Link,
    live: Look,
    frozen: Option<Box<Look>>,
    changes: Vec<Change>,
    top: Option<Top>,
    screen: Screen,
    detail: Option<String>,
    cursors: [Cursor; Screen::ALL.len()],
    detail_cursor: Cursor,
    knob: usize,
    filter: Typed,
    mode: Mode,
    notice: Option<Notice>,
    rows_shown: u16,
    dirty: bool,
}

impl App {
    /// A dashboard of the host at `endpoint` that has seen nothing yet.
    pub fn new(endpoint: String, now: Instant) -> Self {
        Self {
            endpoint,
            now,
            seen: None,
            link: Link::Connecting,
            live: Look::default(),
            frozen: None,
            changes: Vec::new(),
            top: None,
            screen: Screen::Overview,
            detail: None,
            cursors: Default::default(),
            detail_cursor: Cursor::default(),
            knob: 0,
            filter: Typed::default(),
            mode: Mode::Browse,
            notice: None,
            rows_shown: 24,
            dirty: true,
        }
    }

    /// Where the host listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How it stands with the host.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// How long until the host is tried again.
    pub fn retry_in(&self) -> Option<Duration> {
        match &self.link {
            Link::Lost { retry_at, .. } => Some(retry_at.saturating_duration_since(self.now)),
            Link::Connecting | Link::Live => None,
        }
    }

    /// How old the newest data is.
    pub fn age(&self) -> Option<Duration> {
        self.seen.map(|at| self.now.saturating_duration_since(at))
    }

    /// Whether what is shown is no longer what is.
    pub fn stale(&self) -> bool {
        self.age().is_some_and(|age| age > STALE_AFTER)
    }

    /// What is to be shown: the host as seen last, or as it was when the screen was frozen.
    pub fn look(&self) -> &Look {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// Whether the screen is frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Turned knobs, oldest first.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The marks on the chart of a resource: the seconds since 1970 in which a knob of it was turned, or one of the
    /// pipeline it belongs to, where every stage feels what happens to another.
    pub fn marks(&self, address: &str) -> BTreeSet<u64> {
        let turned = self.changes.iter().filter(|change| flow(&change.resource) == flow(address));
        turned.map(|change| change.at_ms / Trend::STEP_MS).collect()
    }

    /// The greatest entries of that map, if they have been fetched.
    pub fn top(&self, address: &str) -> Option<&[Entry]> {
        self.top.as_ref().filter(|top| top.address == address).map(|top| top.entries.as_slice())
    }

    /// The screen.
    pub fn screen(&self) -> Screen {
        self.screen
    }

    /// The resource that is shown in detail.
    pub fn detail(&self) -> Option<&Resource> {
        self.look().resource(self.detail.as_deref()?)
    }

    /// What the keys mean at the moment.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// What rows are filtered by.
    pub fn filter(&self) -> &str {
        self.filter.text()
    }

    /// The sentence on the bottom line.
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    /// Whether a frame drawn now would differ from the last; asking makes it the last.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// The resources that the screen lists.
    pub fn listed(&self) -> Vec<&Resource> {
        let listed = self.look().resources().iter().filter(|resource| self.screen.lists(resource));
        listed.filter(|resource| self.passes(&resource.address)).collect()
    }

    /// The changes that the screen lists, newest first.
    pub fn listed_changes(&self) -> Vec<&Change> {
        let passes = |change: &&Change| self.passes(&change.resource) || self.passes(&change.actor);
        self.changes.iter().rev().filter(passes).collect()
    }

    /// Index of the selected row of what is shown.
    pub fn selected(&self) -> Option<usize> {
        self.cursor().index(&self.row_keys())
    }

    /// The resource that keys act on: the one shown in detail, or that of the selected row.
    pub fn subject(&self) -> Option<&Resource> {
        if self.detail.is_some() {
            return self.detail();
        }
        if self.screen == Screen::Changes {
            let change = *self.listed_changes().get(self.selected()?)?;
            return self.look().resource(&change.resource);
        }
        self.listed().get(self.selected()?).copied()
    }

    /// The knob that keys act on, and its index.
    pub fn subject_knob(&self) -> Option<(usize, &Knob)> {
        let knobs = &self.subject()?.knobs;
        let index = if self.detail.is_some() { self.selected()? } else { self.knob.checked_rem(knobs.len())? };
        Some((index, knobs.get(index)?))
    }

    fn passes(&self, text: &str) -> bool {
        self.filter.text().split_whitespace().all(|word| text.contains(word))
    }

    /// What identifies each row of what is shown, so that the selection stays on its row when others come and go.
    fn row_keys(&self) -> Vec<String> {
        if self.detail.is_some() {
            let Some(resource) = self.detail() else { return vec![] };
            let knobs = resource.knobs.iter().map(|knob| knob.name.clone());
            return knobs.chain((0..resource.samples.len()).map(|index| format!("#{index}"))).collect();
        }
        match self.screen {
            Screen::Changes => self.listed_changes().iter().map(|change| change.id.to_string()).collect(),
            _ => self.listed().iter().map(|resource| resource.address.clone()).collect(),
        }
    }

    fn cursor(&self) -> &Cursor {
        if self.detail.is_some() { &self.detail_cursor } else { &self.cursors[self.screen as usize] }
    }

    fn cursor_mut(&mut self) -> &mut Cursor {
        if self.detail.is_some() { &mut self.detail_cursor } else { &mut self.cursors[self.screen as usize] }
    }
}

/// What a resource shares its records with: `pipeline.words` for it and all of its stages, else only itself.
fn flow(address: &str) -> &str {
    let name = address.strip_prefix("pipeline.").and_then(|rest| rest.split('.').next());
    name.map_or(address, |name| &address[.."pipeline.".len() + name.len()])
}
