//! The terminal, taken over and given back. What was changed is put back exactly once, whichever way the dashboard
//! ends: its end, an error, a panic of its own thread, a signal.
//!
//! Not ratatui's `init`: its hook restores on any thread's panic, and a panic in a worker that is caught there would
//! wreck a screen that is still in use.

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{Command, cursor};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The thread whose panic ends the dashboard.
static OWNER: Mutex<Option<ThreadId>> = Mutex::new(None);
/// Panics of other threads, told once there is a place to tell them.
static ASIDE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Bytes gathered before they are written: a frame of a large window fits.
const FRAME_BYTES: usize = 64 << 10;

/// The terminal while it is ours. Drop gives it back.
pub struct Guard {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Guard {
    /// Takes the terminal over, for the calling thread.
    ///
    /// # Errors
    /// When it refuses; then it is as it was.
    pub fn take() -> io::Result<Self> {
        install_hook();
        *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
        enter()?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout()));
        match Terminal::new(backend) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws a frame; the terminal shows all of it at once.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, frame: impl FnOnce(&mut Frame)) -> io::Result<()> {
        crossterm::queue!(self.terminal.backend_mut(), terminal::BeginSynchronizedUpdate)?;
        self.terminal.draw(frame)?;
        crossterm::execute!(self.terminal.backend_mut(), terminal::EndSynchronizedUpdate)
    }

    /// Makes the next frame paint every cell.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn forget(&mut self) -> io::Result<()> {
        // Not `clear`: it asks the terminal where the cursor is, and the answer would go to whoever reads the keys.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Gives the terminal back to the shell, stops the process until it is continued, and takes it over again.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        enter()?;
        self.forget()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
        tell_aside();
    }
}

fn enter() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let entered = crossterm::execute!(io::stdout(), EnterAlternateScreen, cursor::Hide, EnableBracketedPaste);
    if entered.is_err() {
        give_back();
    }
    entered
}

/// Puts everything back that was changed, if it was and has not been put back yet. Each part is tried whatever came
/// of the others. From any thread: it takes no lock that drawing may hold.
pub fn give_back() {
    // Only one caller finds it taken; it puts back, the others find nothing to do.
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = terminal::disable_raw_mode();
    let mut sequence = String::new();
    // Writing to a string cannot fail.
    let _ = terminal::EndSynchronizedUpdate.write_ansi(&mut sequence);
    let _ = DisableBracketedPaste.write_ansi(&mut sequence);
    let _ = LeaveAlternateScreen.write_ansi(&mut sequence);
    let _ = cursor::Show.write_ansi(&mut sequence);
    // Past the lock of `io::stdout`, which a frame that the terminal does not take may hold for ever.
    let mut bytes = sequence.as_bytes();
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
}

/// Whether the terminal has gone away without a signal, as after `setsid`: reading from it would spin for ever.
pub fn hung_up() -> bool {
    let stdin = rustix::stdio::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0 && fds[0].revents().intersects(gone))
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let owner = *OWNER.lock().unwrap_or_else(PoisonError::into_inner);
            if owner.is_some_and(|owner| owner != thread::current().id()) && TAKEN.load(Ordering::SeqCst) {
                // The screen is in use: told afterwards.
                ASIDE.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            } else {
                give_back();
                before(info);
            }
        }));
    });
}

fn tell_aside() {
    let told = std::mem::take(&mut *ASIDE.lock().unwrap_or_else(PoisonError::into_inner));
    for panic in told {
        let _ = writeln!(io::stderr(), "rheostat: while the dashboard was shown, {}", crate::scrub::scrubbed(&panic));
    }
}
