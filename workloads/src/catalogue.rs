//! The scripts and texts that ship inside the program, so that every installation has them.

/// A script by its name, which is that of its file.
macro_rules! script {
    ($name:literal) => {
        ($name, include_str!(concat!("../scripts/", $name, ".toml")))
    };
}

/// The shipped workloads: name and text.
pub const SCRIPTS: [(&str, &str); 30] = [
    script!("wordcount"),
    script!("wordcount-turned"),
    script!("map-mixed"),
    script!("map-ycsb-a"),
    script!("map-ycsb-b"),
    script!("map-ycsb-c"),
    script!("map-ycsb-d"),
    script!("map-ycsb-e"),
    script!("map-ycsb-f"),
    script!("map-hot-key"),
    script!("map-rmw-lost-update"),
    script!("map-grow-stall"),
    script!("map-churn-stalled-reader"),
    script!("map-scan-under-write"),
    script!("map-switch-live"),
    script!("map-linearizable"),
    script!("queue-ping"),
    script!("queue-pairs"),
    script!("queue-burst"),
    script!("queue-fan-in"),
    script!("queue-fan-out"),
    script!("queue-slow-consumer"),
    script!("queue-switch-live"),
    script!("alloc-pairs"),
    script!("alloc-larson"),
    script!("alloc-cross-free"),
    script!("alloc-size-ramp"),
    script!("alloc-level-storm"),
    script!("alloc-impact"),
    script!("alloc-map-values"),
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

/// What a script is about: the comment it begins with, up to its first empty line.
pub fn summary(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("# "));
    lines.collect::<Vec<_>>().join(" ")
}

/// A shipped text.
pub fn text(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
