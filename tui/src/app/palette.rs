//! The command line within the dashboard: `:set ADDRESS.KNOB=VALUE`, `:get`, screen names, `:quit`.

use super::Screen;
use crate::turn::Turn;
use rheostat_api::Resource;

/// More than this is not typed but pasted by mistake.
const CHARS_MAX: usize = 256;

/// A line that is being typed, always edited at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed(String);

impl Typed {
    /// What has been typed.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Types one character, unless it cannot be shown or there are too many.
    pub fn push(&mut self, c: char) {
        if !c.is_control() && self.0.chars().count() < CHARS_MAX {
            self.0.push(c);
        }
    }

    /// Types a text; what it holds beyond the bound is dropped.
    pub fn paste(&mut self, text: &str) {
        text.chars().take(CHARS_MAX).for_each(|c| self.push(c));
    }

    /// Takes the last character back; `false` if there was none.
    pub fn pop(&mut self) -> bool {
        self.0.pop().is_some()
    }

    /// Takes everything back.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Replaces what has been typed.
    pub fn set(&mut self, text: String) {
        self.0 = text;
    }
}

/// What a typed command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Nothing was typed.
    Nothing,
    /// Show a screen.
    Show(Screen),
    /// Turn a knob.
    Set(Turn),
    /// Show a resource in detail.
    Open(String),
    /// Say the value of a knob.
    Get {
        /// Address of the resource.
        address: String,
        /// The knob.
        knob: String,
    },
    /// Show the help.
    Help,
    /// Leave.
    Quit,
}

/// Reads a command.
///
/// # Errors
/// A sentence that says what would be understood.
pub fn parse(text: &str, resources: &[Resource]) -> Result<Command, String> {
    let text = text.trim();
    let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match verb {
        "" => Ok(Command::Nothing),
        "q" | "quit" => Ok(Command::Quit),
        "help" => Ok(Command::Help),
        "set" => {
            let turn: Turn = rest.parse()?;
            known_knob(&turn.address, &turn.knob, resources)?;
            Ok(Command::Set(turn))
        }
        "get" if rest.is_empty() => Err("write get ADDRESS or get ADDRESS.KNOB".to_owned()),
        "get" => {
            if resources.iter().any(|resource| resource.address == rest) {
                return Ok(Command::Open(rest.to_owned()));
            }
            let (address, knob) = rest.rsplit_once('.').ok_or_else(|| format!("no resource `{rest}` is hosted"))?;
            known_knob(address, knob, resources)?;
            Ok(Command::Get { address: address.to_owned(), knob: knob.to_owned() })
        }
        name => Screen::ALL
            .into_iter()
            .find(|screen| screen.name().eq_ignore_ascii_case(name))
            .map(Command::Show)
            .ok_or_else(|| {
                let screens: Vec<_> = Screen::ALL.iter().map(|screen| screen.name().to_lowercase()).collect();
                format!("`{name}` is no command: set, get, {}, help or quit", screens.join(", "))
            }),
    }
}

fn known_knob(address: &str, knob: &str, resources: &[Resource]) -> Result<(), String> {
    let resource = resources
        .iter()
        .find(|resource| resource.address == address)
        .ok_or_else(|| format!("no resource `{address}` is hosted"))?;
    if resource.knob(knob).is_none() {
        let known: Vec<_> = resource.knobs.iter().map(|knob| knob.name.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        return Err(format!("{address} has no knob `{knob}`: {known}"));
    }
    Ok(())
}

/// Everything the last word of the line could become: the whole line for each.
pub fn completions(text: &str, resources: &[Resource]) -> Vec<String> {
    let (verb, rest) = match text.split_once(' ') {
        None => {
            let names = Screen::ALL.iter().map(|screen| screen.name().to_lowercase());
            let verbs = ["set ", "get ", "help", "quit"].map(str::to_owned).into_iter().chain(names);
            return verbs.filter(|verb| verb.starts_with(text)).collect();
        }
        Some(split) => split,
    };
    let knobs = resources
        .iter()
        .flat_map(|resource| resource.knobs.iter().map(move |knob| format!("{}.{}", resource.address, knob.name)));
    let words: Vec<String> = match verb {
        "set" => knobs.map(|knob| format!("{knob}=")).collect(),
        "get" => resources.iter().map(|resource| resource.address.clone()).chain(knobs).collect(),
        _ => vec![],
    };
    words.into_iter().filter(|word| word.starts_with(rest)).map(|word| format!("{verb} {word}")).collect()
}

/// The line completed as far as all its completions agree.
pub fn complete(text: &str, resources: &[Resource]) -> Option<String> {
    let mut completions = completions(text, resources).into_iter();
    let first = completions.next()?;
    let common = completions.fold(first, |common, next| {
        let same = common.chars().zip(next.chars()).take_while(|(a, b)| a == b);
        same.map(|(c, _)| c).collect()
    });
    (common.len() > text.len()).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn commands_are_understood() {
        let resources = sketch::snapshot(0).resources;
        let parse = |text| parse(text, &resources);
        assert_eq!(
            parse("set pipeline.words.count.workers=4"),
            Ok(Command::Set("pipeline.words.count.workers=4".parse().unwrap()))
        );
        assert_eq!(parse("  get map.words "), Ok(Command::Open("map.words".into())));
        assert_eq!(
            parse("get scheduler.main.threads"),
            Ok(Command::Get { address: "scheduler.main".into(), knob: "threads".into() })
        );
        assert_eq!(parse("Pools"), Ok(Command::Show(Screen::Pools)));
        assert_eq!(parse(""), Ok(Command::Nothing));
        assert_eq!(parse("q"), Ok(Command::Quit));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let resources = sketch::snapshot(0).resources;
        let cases = [
            ("dance", "no command"),
            ("set", "ADDRESS.KNOB=VALUE"),
            ("set map.words.backend=", "ADDRESS.KNOB=VALUE"),
            ("set map.nope.x=1", "no resource `map.nope`"),
            ("set pipeline.words.count.wrkers=1", "it has workers"),
            ("get", "ADDRESS"),
            ("get map.nope", "no resource `map`"),
        ];
        for (text, expected) in cases {
            let refusal = parse(text, &resources).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }

    #[test]
    fn completion_goes_as_far_as_all_agree() {
        let resources = sketch::snapshot(0).resources;
        assert_eq!(complete("se", &resources).as_deref(), Some("set "));
        assert_eq!(
            complete("set pipeline.words.count.w", &resources).as_deref(),
            Some("set pipeline.words.count.workers=")
        );
        assert_eq!(complete("get pipeline.words.", &resources), None);
        assert_eq!(complete("nonsense ", &resources), None);
    }

    #[test]
    fn a_megabyte_pasted_is_cut() {
        let mut typed = Typed::default();
        typed.paste(&"x\u{7}".repeat(1 << 19));
        assert!(typed.text().len() <= CHARS_MAX);
        assert!(!typed.text().contains('\u{7}'));
    }
}
