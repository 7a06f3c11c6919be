//! Quantities as people write them: every duration, rate and size carries its unit.

use std::fmt::Write;
use std::time::Duration;

/// Units of time, in nanoseconds.
const TIMES: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Units of size, in bytes.
const SIZES: [(&str, f64); 7] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

/// Multipliers of plain numbers.
const SCALES: [(&str, f64); 4] = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];

/// What a quantity measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Time; its base unit is the nanosecond.
    Time,
    /// Operations or records per second.
    Rate,
    /// Bytes.
    Size,
    /// Bytes per second.
    ByteRate,
    /// A plain number; `%` divides by a hundred.
    Number,
}

impl Dimension {
    /// How to write a quantity of this dimension.
    pub fn example(self) -> &'static str {
        match self {
            Dimension::Time => "a time with its unit, such as \"500ms\", \"10s\" or \"2m\"",
            Dimension::Rate => "a rate with its unit, such as \"40k/s\" or \"1M/s\"",
            Dimension::Size => "a size with its unit, such as \"64B\", \"4KiB\" or \"1MB\"",
            Dimension::ByteRate => "bytes per second with their unit, such as \"200MB/s\"",
            Dimension::Number => "a plain number, such as 0, 1000000 or 99.5%",
        }
    }
}

/// A number with its dimension, in base units: nanoseconds, bytes, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    /// The number in base units.
    pub base: f64,
    /// What it measures.
    pub dimension: Dimension,
}

impl Quantity {
    /// Reads `10s`, `64KiB`, `1M/s`, `200MB/s`, `0.5`, `5%`. `None` if it is no quantity.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('_') {
            return None;
        }
        let number: f64 = number.replace('_', "").parse().ok()?;
        let unit = unit.trim_start();
        let find = |units: &[(&str, f64)], name: &str| {
            units.iter().find(|(known, _)| *known == name).map(|(_, factor)| number * factor)
        };
        let quantity = |base, dimension| Self { base, dimension };
        if let Some(unit) = unit.strip_suffix("/s") {
            return find(&SCALES, unit)
                .map(|base| quantity(base, Dimension::Rate))
                .or_else(|| find(&SIZES, unit).map(|base| quantity(base, Dimension::ByteRate)));
        }
        match unit {
            "" => Some(quantity(number, Dimension::Number)),
            "%" => Some(quantity(number / 100.0, Dimension::Number)),
            unit => find(&TIMES, unit)
                .map(|base| quantity(base, Dimension::Time))
                .or_else(|| find(&SIZES, unit).map(|base| quantity(base, Dimension::Size))),
        }
    }
}

/// A duration as people write it: `90s`, `1m30s`, `250ms`.
pub fn duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let whole = |unit: u128| ns.is_multiple_of(unit).then_some(ns / unit);
    if ns >= 3_600_000_000_000 {
        let minutes = ns / 60_000_000_000;
        format!("{}h{:02}m", minutes / 60, minutes % 60)
    } else if ns >= 60_000_000_000 {
        let seconds = ns / 1_000_000_000;
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    } else if let Some(s) = whole(1_000_000_000) {
        format!("{s}s")
    } else if let Some(ms) = whole(1_000_000) {
        format!("{ms}ms")
    } else if let Some(us) = whole(1000) {
        format!("{us}us")
    } else {
        format!("{ns}ns")
    }
}

/// A number of bytes with three figures: `1.50MiB`.
pub fn bytes(bytes: u64) -> String {
    let mut shown = String::new();
    let (factor, unit) = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(factor, _)| bytes >= *factor)
        .unwrap_or((1, "B"));
    let value = bytes as f64 / factor as f64;
    let places = if factor == 1 || value >= 100.0 { 0 } else { 1 };
    let _ = write!(shown, "{value:.places$}{unit}");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_carry_units() {
        for (text, base, dimension) in [
            ("10s", 1e10, Dimension::Time),
            ("1.5ms", 1.5e6, Dimension::Time),
            ("50us", 5e4, Dimension::Time),
            ("30m", 1.8e12, Dimension::Time),
            ("1M/s", 1e6, Dimension::Rate),
            ("40k/s", 4e4, Dimension::Rate),
            ("7/s", 7.0, Dimension::Rate),
            ("64B", 64.0, Dimension::Size),
            ("4KiB", 4096.0, Dimension::Size),
            ("200MB/s", 2e8, Dimension::ByteRate),
            ("1_000", 1000.0, Dimension::Number),
            ("5%", 0.05, Dimension::Number),
        ] {
            assert_eq!(Quantity::parse(text), Some(Quantity { base, dimension }), "{text}");
        }
        for text in ["", "s", "-1s", "1 0s", "10 parsecs", "1.2.3s", "1_", "M/s", "1k", "/s", "inf", "NaN"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn shown_as_written() {
        let shown = |ms| duration(Duration::from_millis(ms));
        assert_eq!([shown(250), shown(2000), shown(90_000), shown(5_400_000)], ["250ms", "2s", "1m30s", "1h30m"]);
        assert_eq!([bytes(64), bytes(4096), bytes(3 << 29)], ["64B", "4.0KiB", "1.5GiB"]);
    }
}
