//! The scripts and texts that ship inside the program, so that every installation has them.

/// The shipped workloads: name and text.
pub const SCRIPTS: [(&str, &str); 4] = [
    ("wordcount", include_str!("../scripts/wordcount.toml")),
    ("wordcount-turned", include_str!("../scripts/wordcount-turned.toml")),
    ("map-mixed", include_str!("../scripts/map-mixed.toml")),
    ("queue-ping", include_str!("../scripts/queue-ping.toml")),
];

/// The shipped texts, which `[data.NAME]` takes by `shipped = [..]`: name and text.
pub const TEXTS: [(&str, &str); 3] = [
    ("harbour", include_str!("../data/harbour.txt")),
    ("werkstatt", include_str!("../data/werkstatt.txt")),
    ("words-of-many", include_str!("../data/words-of-many.txt")),
];

/// The text of a shipped workload.
pub fn script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A shipped text.
pub fn text(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
