//! Numbers as people read them: three digits that mean something and a unit.

use std::time::Duration;

/// What is shown where nothing is known; never for zero.
pub const UNKNOWN: &str = "-";

/// `950`, `1.9k`, `41.2k`, `912k`, `1.92M`.
pub fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// A rate of things: `1.92M/s`.
pub fn rate(per_s: f64) -> String {
    format!("{}/s", count(per_s))
}

/// Data read or written, in decimal units as throughput is counted: `214 MB`.
pub fn bytes(number: f64) -> String {
    scaled(number, 1000.0, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

/// `214 MB/s`.
pub fn bytes_rate(per_s: f64) -> String {
    format!("{}/s", bytes(per_s))
}

/// Memory, in binary units: `61.2 MiB`.
pub fn memory(number: f64) -> String {
    scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// A latency given in seconds: `210us`, `1.1ms`, `3.2s`.
pub fn latency(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0".to_owned(),
        s if s < 1e-6 => format!("{}ns", digits(s * 1e9)),
        s if s < 1e-3 => format!("{}us", digits(s * 1e6)),
        s if s < 1.0 => format!("{}ms", digits(s * 1e3)),
        s if s < 120.0 => format!("{}s", digits(s)),
        s => elapsed(s),
    }
}

/// A length of time in whole seconds: `12s`, `3m12s`, `2h05m`, `4d03h`.
pub fn elapsed(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A whole number in groups of three: `41 203`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::from(if number <= -0.5 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// The time of day of a moment given in milliseconds since 1970, in UTC: `14:05:40Z`.
pub fn clock(at_ms: u64) -> String {
    let second = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// A share between 0 and 1: `61%`, `0.4%`.
pub fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    if hundredths > 0.0 && hundredths < 9.95 { format!("{hundredths:.1}%") } else { format!("{hundredths:.0}%") }
}

/// Formats what may be unknown.
pub fn or_unknown(number: Option<f64>, show: impl FnOnce(f64) -> String) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Reads a length of time as people type it: `10s`, `500ms`, `2m`, `1h`.
///
/// # Errors
/// A sentence that says what would be understood.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time: write a number and a unit, as in 500ms, 10s, 2m or 1h");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let number: f64 = text[..split].parse().map_err(|_| wrong())?;
    let unit = match &text[split..] {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    let mut scaled = number;
    let mut unit = 0;
    // 999.5 would be printed as 1000: carry it into the next unit.
    while scaled.abs() >= 999.5 && unit + 1 < units.len() {
        scaled /= base;
        unit += 1;
    }
    let shown = if unit == 0 && (scaled.fract() == 0.0 || scaled.abs() >= 10.0) {
        format!("{scaled:.0}")
    } else {
        digits(scaled)
    };
    format!("{shown}{}", units[unit])
}

/// Three digits at most, without a trailing `.0`.
fn digits(number: f64) -> String {
    let text = match number.abs() {
        n if n < 9.995 => format!("{number:.2}"),
        n if n < 99.95 => format!("{number:.1}"),
        _ => return format!("{number:.0}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<_> = [0.0, 0.25, 950.0, 999.7, 1_900.0, 41_203.0, 912_000.0, 1_923_456.0].map(count).into();
        assert_eq!(shown, ["0", "0.25", "950", "1k", "1.9k", "41.2k", "912k", "1.92M"]);
        assert_eq!(memory(64_000_000.0), "61 MiB");
        assert_eq!(memory(1020.0 * 1024.0), "1 MiB");
        assert_eq!(bytes_rate(214_300_000.0), "214 MB/s");
    }

    #[test]
    fn latencies_choose_their_unit() {
        let shown: Vec<_> = [0.0, 61e-9, 210e-6, 1.1e-3, 0.0413, 3.2, 192.0].map(latency).into();
        assert_eq!(shown, ["0", "61ns", "210us", "1.1ms", "41.3ms", "3.2s", "3m12s"]);
    }

    #[test]
    fn whole_numbers_are_grouped() {
        let shown: Vec<_> = [0.0, 999.0, 1000.0, 41_203.0, 1_234_567.0, -1000.0].map(grouped).into();
        assert_eq!(shown, ["0", "999", "1 000", "41 203", "1 234 567", "-1 000"]);
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "10", "s", "-1s", "1.2.3s", "10 s", "1e99h", "999999999999999999999999h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_clock_is_utc() {
        assert_eq!(clock(0), "00:00:00Z");
        assert_eq!(clock(1_700_000_740_000), "22:25:40Z");
    }
}
