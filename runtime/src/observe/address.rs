//! Names: `kind.name`, a stage below its pipeline, a knob appended.

use std::fmt;
use std::str::FromStr;

/// The kinds of resource a host can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Source, stages and sink.
    Pipeline,
    /// One step of a pipeline, with its own queue and workers.
    Stage,
    /// A hosted queue.
    Queue,
    /// A hosted map.
    Map,
    /// An allocator pool.
    Pool,
    /// The allocator of the whole process.
    Allocator,
    /// A hosted trie.
    Trie,
    /// Byte strings to symbols and back.
    Interner,
    /// Threads for parallel regions.
    Scheduler,
    /// Readers, and the garbage that they may still see.
    Domain,
}

impl Kind {
    /// Every kind whose addresses start with its own name; a stage's start with `pipeline`.
    const HEADS: [Kind; 9] = [
        Kind::Pipeline,
        Kind::Queue,
        Kind::Map,
        Kind::Pool,
        Kind::Allocator,
        Kind::Trie,
        Kind::Interner,
        Kind::Scheduler,
        Kind::Domain,
    ];

    /// The kind as it is spelled in addresses, JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Pipeline => "pipeline",
            Kind::Stage => "stage",
            Kind::Queue => "queue",
            Kind::Map => "map",
            Kind::Pool => "pool",
            Kind::Allocator => "allocator",
            Kind::Trie => "trie",
            Kind::Interner => "interner",
            Kind::Scheduler => "scheduler",
            Kind::Domain => "domain",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a resource is called: `map.words`, `pipeline.words`, or a stage, `pipeline.words.count`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    head: Kind,
    name: Box<str>,
    stage: Option<Box<str>>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The part before the first dot names no kind.
    #[error(
        "`{0}` does not start with a kind of resource: write kind.name, where kind is pipeline, queue, map, pool, \
         allocator, trie, interner, scheduler or domain"
    )]
    Kind(String),
    /// A name breaks the rule for names.
    #[error("`{0}` is not a name: names start with a-z and go on with a-z, 0-9, _ or -, 64 characters at most")]
    Name(String),
    /// Too many or too few parts.
    #[error("`{0}` has the wrong number of parts: a resource is kind.name, a stage is pipeline.name.stage")]
    Shape(String),
}

impl Address {
    /// A resource of its own.
    ///
    /// # Errors
    /// When the name breaks the rule for names, or `kind` is [`Kind::Stage`], which lives below a pipeline.
    pub fn new(kind: Kind, name: &str) -> Result<Self, AddressError> {
        if kind == Kind::Stage {
            return Err(AddressError::Shape(format!("stage.{name}")));
        }
        Ok(Self { head: kind, name: checked(name)?, stage: None })
    }

    /// A stage of a pipeline.
    ///
    /// # Errors
    /// When either name breaks the rule for names.
    pub fn stage(pipeline: &str, stage: &str) -> Result<Self, AddressError> {
        Ok(Self { head: Kind::Pipeline, name: checked(pipeline)?, stage: Some(checked(stage)?) })
    }

    /// The kind of the resource itself: [`Kind::Stage`] for a stage.
    pub fn kind(&self) -> Kind {
        if self.stage.is_some() { Kind::Stage } else { self.head }
    }

    /// The name after the kind; for a stage, its pipeline's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stage's own name, if this is a stage.
    pub fn stage_name(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// The address without its stage: the pipeline's for a stage, its own for everything else.
    pub fn of_whole(&self) -> Self {
        Self { stage: None, ..self.clone() }
    }

    /// The address as metric labels: `{map="words"}`, `{pipeline="words",stage="count"}`.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let stage = self.stage.as_deref().map(|stage| (Kind::Stage.as_str(), stage));
        std::iter::once((self.head.as_str(), &*self.name)).chain(stage)
    }

    /// Splits `pipeline.words.count.workers` into the resource and the name of its knob.
    ///
    /// # Errors
    /// When what stands before the last dot is no address, or what follows it is no name.
    pub fn parse_knob(text: &str) -> Result<(Self, String), AddressError> {
        let (resource, knob) = text.rsplit_once('.').ok_or_else(|| AddressError::Shape(text.into()))?;
        Ok((resource.parse()?, checked(knob)?.into()))
    }
}

fn checked(name: &str) -> Result<Box<str>, AddressError> {
    let rest_holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let holds = name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(rest_holds);
    if holds { Ok(name.into()) } else { Err(AddressError::Name(name.chars().take(80).collect())) }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut parts = text.split('.');
        let head = parts.next().unwrap_or_default();
        let Some(kind) = Kind::HEADS.into_iter().find(|kind| kind.as_str() == head) else {
            return Err(AddressError::Kind(text.chars().take(80).collect()));
        };
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), None, _) => Address::new(kind, name),
            (Some(name), Some(stage), None) if kind == Kind::Pipeline => Address::stage(name, stage),
            _ => Err(AddressError::Shape(text.chars().take(200).collect())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.head, self.name)?;
        self.stage.iter().try_for_each(|stage| write!(f, ".{stage}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_both_ways() {
        for text in ["map.words", "pipeline.words", "pipeline.words.count", "scheduler.main"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let (stage, knob) = Address::parse_knob("pipeline.words.count.workers").unwrap();
        assert_eq!((stage.kind(), stage.stage_name(), knob.as_str()), (Kind::Stage, Some("count"), "workers"));
        let labels: Vec<_> = stage.labels().collect();
        assert_eq!(labels, [("pipeline", "words"), ("stage", "count")]);
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long = format!("map.{}", "x".repeat(65));
        for text in ["", "map", "map.", "map.Words", "map.a b", "map.../x", "maps.words", "map.a.b", "stage.a", &long] {
            assert!(text.parse::<Address>().is_err(), "{text:?} passed for an address");
        }
    }
}
