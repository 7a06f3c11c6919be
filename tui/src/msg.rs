//! What can happen to the dashboard, and what it can ask for in return.

use crate::turn::Turn;
use crossterm::event::KeyEvent;
use rheostat_api::{Change, Entry, History, Snapshot};
use std::time::{Duration, Instant};

/// Something happened. All text in it has been scrubbed.
#[derive(Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The window has this many columns and rows now.
    Resize(u16, u16),
    /// The host as it stands.
    Snapshot(Box<Snapshot>),
    /// The host does not answer.
    FeedLost {
        /// What went wrong.
        why: String,
        /// When it will be tried again.
        retry_in: Duration,
    },
    /// Changes, new or measured since.
    Changes(Vec<Change>),
    /// What the host remembers of one resource from before we came.
    History(History),
    /// The greatest entries of a map.
    Top {
        /// The map's address.
        address: String,
        /// Its entries.
        entries: Vec<Entry>,
    },
    /// A question was answered, or a turn refused: a sentence for the bottom line.
    Told {
        /// The sentence.
        text: String,
        /// Whether it is bad news.
        bad: bool,
    },
    /// It is this late. Comes before every other message, and once a second.
    Tick(Instant),
}

/// Something to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cmd {
    /// Turn a knob.
    Turn(Turn),
    /// Fetch the greatest entries of a map.
    Top {
        /// The map's address.
        address: String,
    },
    /// Give the terminal back to the shell until the user returns.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Leave.
    Quit,
}
