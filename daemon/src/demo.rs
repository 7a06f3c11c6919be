//! What the daemon hosts when nobody says what: a configuration like any other.

use crate::config::{Config, Faults, Origin, Overrides, Source};
use std::path::PathBuf;

const TEXT: &str = include_str!("demo.toml");

/// The demo, reading the sources this was built from while they are there, else everything in the current folder.
pub(crate) fn config(overrides: &Overrides) -> Result<Config, Faults> {
    let sources = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if let Ok(base) = sources.canonicalize() {
        return Config::parse(Origin::Demo, TEXT, &base, overrides);
    }
    let mut config = Config::parse(Origin::Demo, TEXT, &std::env::current_dir().unwrap_or_default(), overrides)?;
    for pipeline in &mut config.resources.pipelines {
        if let Source::Files { patterns, .. } = &mut pipeline.source {
            *patterns = vec![".".into()];
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_a_right_configuration() {
        let config = config(&Overrides::default()).unwrap();
        assert_eq!(config.resources.pipelines.len(), 2);
    }
}
