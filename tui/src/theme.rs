//! Colours and signs. Every colour comes with a sign that says the same, for those who cannot tell colours apart,
//! for terminals without them, and for `NO_COLOR`.

use ratatui::style::{Color, Modifier, Style};

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// None: bold, dim and reverse only.
    None,
    /// The terminal's own sixteen.
    Sixteen,
    /// All of them: the Okabe-Ito palette, made for colour-blind eyes.
    True,
}

/// What a part of the screen means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text.
    Plain,
    /// Less important than what stands beside it.
    Quiet,
    /// A heading.
    Head,
    /// The selected row or knob.
    Selected,
    /// As it should be; workers busy.
    Good,
    /// Worth a look; workers held back.
    Warn,
    /// Wrong.
    Bad,
    /// Workers idle.
    Idle,
    /// A trend or a chart.
    Trend,
    /// The mark of a change.
    Mark,
    /// A column of a trend that a mark is on.
    Marked,
}

/// Signs.
#[derive(Debug)]
pub struct Signs {
    /// Stands before the selected row.
    pub cursor: &'static str,
    /// Path separator of the title.
    pub path: &'static str,
    /// As it should be.
    pub good: &'static str,
    /// Worth a look.
    pub warn: &'static str,
    /// Wrong.
    pub bad: &'static str,
    /// Live data.
    pub live: &'static str,
    /// Waiting.
    pub waiting: &'static str,
    /// No data.
    pub lost: &'static str,
    /// Frozen.
    pub frozen: &'static str,
    /// At the end of what had no room for the rest of it.
    pub goes_on: &'static str,
    /// In the first row of a list that begins above it.
    pub above: &'static str,
    /// In the last row of a list that goes on below it.
    pub below: &'static str,
    /// From one value to another.
    pub to: &'static str,
    /// Busy share of a bar.
    pub busy: &'static str,
    /// Held-back share of a bar.
    pub backpressured: &'static str,
    /// Idle share of a bar.
    pub idle: &'static str,
    /// Full share of a gauge.
    pub full: &'static str,
    /// Empty share of a gauge.
    pub empty: &'static str,
    /// Heights of a column from almost nothing to full.
    pub heights: [&'static str; 8],
    /// The mark of a change.
    pub mark: &'static str,
    /// A rule between parts.
    pub rule: &'static str,
}

static UNICODE: Signs = Signs {
    cursor: ">",
    path: "▸",
    good: "·",
    warn: "▲",
    bad: "■",
    live: "✓",
    waiting: "…",
    lost: "✗",
    frozen: "‖",
    goes_on: "…",
    above: "↑",
    below: "↓",
    to: "→",
    busy: "█",
    backpressured: "▒",
    idle: "░",
    full: "█",
    empty: "░",
    heights: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    mark: "┆",
    rule: "─",
};

static ASCII: Signs = Signs {
    cursor: ">",
    path: ">",
    good: "o",
    warn: "^",
    bad: "!",
    live: "+",
    waiting: "~",
    lost: "x",
    frozen: "=",
    goes_on: "~",
    above: "^",
    below: "v",
    to: "->",
    busy: "#",
    backpressured: "%",
    idle: ".",
    full: "#",
    empty: ".",
    heights: ["_", ".", ":", "-", "=", "+", "*", "#"],
    mark: "|",
    rule: "-",
};

/// Colours and signs in force.
#[derive(Debug)]
pub struct Theme {
    colours: Colours,
    /// The signs.
    pub signs: &'static Signs,
}

impl Theme {
    /// A theme of these colours, with ASCII signs only if asked for.
    pub fn new(colours: Colours, ascii: bool) -> Self {
        Self { colours, signs: if ascii { &ASCII } else { &UNICODE } }
    }

    /// What the environment asks for: `NO_COLOR`, `COLORTERM` and the locale; `variable` reads it.
    pub fn from_environment(ascii: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let colours = match set("COLORTERM").as_deref() {
            _ if set("NO_COLOR").is_some() => Colours::None,
            Some("truecolor" | "24bit") => Colours::True,
            _ => Colours::Sixteen,
        };
        // The first that is set decides, as in setlocale(3).
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name)).unwrap_or_default().to_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Self::new(colours, ascii || !utf8)
    }

    /// How text of this tone is drawn.
    pub fn style(&self, tone: Tone) -> Style {
        let plain = Style::new();
        let emphasis = match tone {
            Tone::Plain | Tone::Trend | Tone::Idle | Tone::Good => plain,
            Tone::Quiet => plain.add_modifier(Modifier::DIM),
            Tone::Head | Tone::Warn | Tone::Mark => plain.add_modifier(Modifier::BOLD),
            Tone::Selected => plain.add_modifier(Modifier::REVERSED),
            Tone::Bad if self.colours == Colours::None => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            // With colours, underlining bad news would only be noise.
            Tone::Bad => plain.add_modifier(Modifier::BOLD),
            // Underlined too, to be seen in the selected row, which is reversed as a whole.
            Tone::Marked if self.colours == Colours::None => {
                plain.add_modifier(Modifier::REVERSED | Modifier::UNDERLINED)
            }
            Tone::Marked => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        };
        let (sixteen, okabe_ito) = match tone {
            Tone::Plain | Tone::Quiet | Tone::Head | Tone::Selected => return emphasis,
            Tone::Good => (Color::Green, Color::Rgb(0, 158, 115)),
            Tone::Warn => (Color::Yellow, Color::Rgb(230, 159, 0)),
            Tone::Bad => (Color::Red, Color::Rgb(213, 94, 0)),
            Tone::Idle => (Color::DarkGray, Color::Rgb(127, 127, 127)),
            Tone::Trend => (Color::Cyan, Color::Rgb(86, 180, 233)),
            Tone::Mark | Tone::Marked => (Color::Magenta, Color::Rgb(204, 121, 167)),
        };
        match self.colours {
            Colours::None => emphasis,
            Colours::Sixteen => emphasis.fg(sixteen),
            Colours::True => emphasis.fg(okabe_ito),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme(variables: &[(&str, &str)]) -> Theme {
        let find =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Theme::from_environment(false, find)
    }

    #[test]
    fn the_environment_is_heeded() {
        let utf8 = ("LANG", "C.UTF-8");
        assert_eq!(theme(&[utf8]).colours, Colours::Sixteen);
        assert_eq!(theme(&[utf8, ("COLORTERM", "truecolor")]).colours, Colours::True);
        assert_eq!(theme(&[utf8, ("COLORTERM", "truecolor"), ("NO_COLOR", "1")]).colours, Colours::None);
        assert_eq!(theme(&[utf8, ("NO_COLOR", "")]).colours, Colours::Sixteen, "empty is unset: no-color.org");
        assert_eq!(theme(&[utf8]).signs.busy, "█");
        assert_eq!(theme(&[]).signs.busy, "#");
        assert_eq!(theme(&[utf8, ("LC_ALL", "POSIX")]).signs.busy, "#");
    }

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme::new(Colours::None, false);
        for tone in
            [Tone::Good, Tone::Warn, Tone::Bad, Tone::Idle, Tone::Trend, Tone::Mark, Tone::Marked, Tone::Selected]
        {
            assert_eq!(theme.style(tone).fg, None, "{tone:?}");
        }
    }

    #[test]
    fn ascii_signs_are_ascii() {
        let Signs { cursor, path, good, warn, bad, live, waiting, lost, frozen, to, .. } = &ASCII;
        let Signs { busy, backpressured, idle, full, empty, heights, mark, rule, .. } = &ASCII;
        let single = [cursor, path, good, warn, bad, live, waiting, lost, frozen, to];
        let bars = [busy, backpressured, idle, full, empty, mark, rule];
        for sign in single.into_iter().chain(bars).chain(heights) {
            assert!(sign.is_ascii(), "{sign}");
        }
    }
}
