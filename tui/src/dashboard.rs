//! The loop: one owner of the state, messages in, frames out.

use crate::app::App;
use crate::attach::Attached;
use crate::exit::{Exit, Failure};
use crate::msg::{Cmd, Msg};
use crate::scrub::{Scrub, scrubbed};
use crate::summary::Summary;
use crate::terminal::{self, Guard};
use crate::theme::Theme;
use crate::{feed, view, wording};
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use rheostat_api::{Client, Outcome};
use std::io::{self, Write};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, interval, sleep_until};

/// Frames are at least this far apart.
const FRAME_EVERY: Duration = Duration::from_millis(100);
/// Ages and notices are looked at this often.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// Messages under way from feed to screen. The feed waits when they are not taken, and the host then spares us some.
const MSGS_MAX: usize = 64;
/// Entries of a map shown in its detail.
const TOP_ENTRIES: usize = 10;
/// Time given to the loop to end by itself on a signal, and then to the process: a terminal that takes no output, or
/// one that is gone and is read from for ever, holds them up.
const GRACE: Duration = Duration::from_secs(1);

/// Shows the dashboard until it is left, the time is up or a signal ends it.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(host: &Attached, lasting: Option<Duration>, ascii: bool) -> Result<Exit, Failure> {
    let theme = Theme::from_environment(ascii, |name| std::env::var(name).ok());
    let mut signals = Signals::take().map_err(no_terminal)?;
    let mut screen = Guard::take().map_err(no_terminal)?;
    let (sender, receiver) = channel(MSGS_MAX);
    let fed = tokio::spawn(feed::run(host.client().clone(), sender.clone()));
    let mut session = Session {
        app: App::new(scrubbed(host.label()), Instant::now().into_std()),
        theme,
        client: host.client().clone(),
        sender,
        summary: Summary::default(),
    };
    let ended = session.run(&mut screen, receiver, &mut signals, lasting).await;
    fed.abort();
    drop(screen);
    let exit = ended.map_err(no_terminal)?;
    if lasting.is_some() {
        // Whoever closed the output meanwhile does not want it.
        let _ = writeln!(io::stdout(), "{}", session.summary);
    }
    Ok(exit)
}

fn no_terminal(error: io::Error) -> Failure {
    Failure::new(Exit::Error, "the terminal cannot be used")
        .because(error)
        .advise("without a terminal, `rheostat | cat` prints a status line a second")
}

struct Session {
    app: App,
    theme: Theme,
    client: Client,
    sender: Sender<Msg>,
    summary: Summary,
}

impl Session {
    async fn run(
        &mut self,
        screen: &mut Guard,
        mut msgs: Receiver<Msg>,
        signals: &mut Signals,
        lasting: Option<Duration>,
    ) -> io::Result<Exit> {
        let mut events = EventStream::new();
        let mut ticks = interval(TICK_EVERY);
        let end = lasting.map(|lasting| Instant::now() + lasting);
        let mut drawn: Option<Instant> = None;
        let mut dirty = false;
        if let Ok((columns, rows)) = crossterm::terminal::size() {
            self.app.update(Msg::Resize(columns, rows));
        }
        loop {
            dirty |= self.app.take_dirty();
            let due = drawn.map_or_else(Instant::now, |at| at + FRAME_EVERY);
            if dirty && due <= Instant::now() {
                screen.draw(|frame| view::draw(&self.app, &self.theme, frame))?;
                (drawn, dirty) = (Some(Instant::now()), false);
            }
            let msg = tokio::select! {
                event = events.next() => match event {
                    Some(Ok(Event::Key(key))) => Msg::Key(key),
                    Some(Ok(Event::Paste(text))) => Msg::Paste(text),
                    Some(Ok(Event::Resize(columns, rows))) => Msg::Resize(columns, rows),
                    Some(Ok(_)) => continue,
                    // The terminal is gone: nothing can be shown or typed any more.
                    Some(Err(_)) | None => return Ok(Exit::Signal(SignalKind::hangup().as_raw_value())),
                },
                Some(msg) = msgs.recv() => {
                    if let Msg::Snapshot(snapshot) = &msg {
                        self.summary.take(snapshot);
                    }
                    msg
                }
                now = ticks.tick() => {
                    if terminal::hung_up() {
                        return Ok(Exit::Signal(SignalKind::hangup().as_raw_value()));
                    }
                    Msg::Tick(now.into_std())
                }
                () = sleep_until(due), if dirty => continue,
                () = sleep_until(end.unwrap_or(due)), if end.is_some() => return Ok(Exit::Pass),
                exit = signals.next() => return Ok(exit),
            };
            self.app.update(Msg::Tick(Instant::now().into_std()));
            match self.app.update(msg) {
                None => {}
                Some(Cmd::Quit) => return Ok(Exit::Pass),
                Some(Cmd::Redraw) => screen.forget()?,
                Some(Cmd::Suspend) => {
                    screen.suspend()?;
                    dirty = true;
                }
                Some(Cmd::Turn(turn)) => self.ask(|client| async move {
                    match client.turn(&turn.address, &turn.knob, turn.to.clone()).await {
                        Ok(mut changes) => {
                            changes.scrub();
                            let bad = changes.iter().any(|change| change.outcome == Outcome::Failed);
                            let text = changes.iter().map(wording::change).collect::<Vec<_>>().join("; ");
                            Msg::Told { text, bad }
                        }
                        Err(error) => Msg::Told { text: scrubbed(&format!("{turn}: {error}")), bad: true },
                    }
                }),
                Some(Cmd::Top { address }) => self.ask(|client| async move {
                    let name = address.strip_prefix("map.").unwrap_or(&address);
                    match client.map_top(name, TOP_ENTRIES).await {
                        Ok(mut entries) => {
                            entries.scrub();
                            Msg::Top { address, entries }
                        }
                        Err(error) => Msg::Told { text: scrubbed(&format!("{address}: {error}")), bad: true },
                    }
                }),
            }
        }
    }

    /// Asks the host for something while the screen goes on; the answer comes as a message.
    fn ask<F>(&self, question: impl FnOnce(Client) -> F)
    where
        F: Future<Output = Msg> + Send + 'static,
    {
        let (answer, sender) = (question(self.client.clone()), self.sender.clone());
        tokio::spawn(async move {
            // The dashboard may have been left meanwhile.
            let _ = sender.send(answer.await).await;
        });
    }
}

/// The signals that end the dashboard.
struct Signals {
    ended: Receiver<Exit>,
}

impl Signals {
    /// Takes them over. A task of its own waits for them: the loop may be held up by a terminal that takes no output.
    fn take() -> io::Result<Self> {
        let (sender, ended) = channel(1);
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            let signal = tokio::select! {
                () = next(&mut hangup) => SignalKind::hangup(),
                () = next(&mut terminate) => SignalKind::terminate(),
                () = next(&mut interrupt) => SignalKind::interrupt(),
            };
            let exit = Exit::Signal(signal.as_raw_value());
            // Nothing is written to a terminal that hung up, so giving it back cannot hold us up.
            if signal == SignalKind::hangup() {
                terminal::give_back();
            }
            let _ = sender.send(exit).await;
            // Closed is the loop, then; the rest of the process has as long to end.
            let _ = tokio::time::timeout(GRACE, sender.closed()).await;
            terminal::give_back();
            tokio::time::sleep(GRACE).await;
            std::process::exit(exit.code().into());
        });
        Ok(Self { ended })
    }

    async fn next(&mut self) -> Exit {
        match self.ended.recv().await {
            Some(exit) => exit,
            None => std::future::pending().await,
        }
    }
}

async fn next(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
