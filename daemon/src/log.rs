//! The daemon's log: a line an event, all of one shape, on standard error.
//!
//! `2026-11-21T09:37:52.000000Z rheostatd: warning: what happened field=value`. Colours are for terminals.

use std::fmt;
use std::io::IsTerminal;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where the filter is said.
const FILTER: &str = "RHEOSTAT_LOG";

/// Begins to log to standard error, what `RHEOSTAT_LOG` lets through.
pub fn begin() {
    let filter = EnvFilter::try_from_env(FILTER);
    let refused = std::env::var_os(FILTER).and(filter.as_ref().err().map(ToString::to_string));
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(!no_colour && std::io::stderr().is_terminal())
        // What cannot be logged is lost: complaining about it on a closed stderr would end the process.
        .log_internal_errors(false)
        .event_format(Line)
        .init();
    if let Some(error) = refused {
        tracing::warn!(%error, "{FILTER} is no filter, as `info` or `rheostat_daemon=debug` are; it is taken as info");
    }
}

/// An event as a line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        writer.write_str(" rheostatd: ")?;
        let (word, colour) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "\x1b[31m"),
            Level::WARN => ("warning: ", "\x1b[33m"),
            Level::INFO => ("", ""),
            Level::DEBUG | Level::TRACE => ("debug: ", ""),
        };
        if writer.has_ansi_escapes() && !colour.is_empty() {
            write!(writer, "{colour}{word}\x1b[0m")?;
        } else {
            writer.write_str(word)?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
