//! `run`, `submit`, `watch`, `cancel`, `check` and `workloads`.

use super::answer::Answer;
use super::interrupt::interrupted;
use super::progress::Progress;
use super::sweep::{self, Axis};
use super::{absolute, report};
use crate::attach::{Hosting, Whereabouts};
use crate::exit::{Exit, Failure};
use crate::scrub::{Scrub, scrubbed};
use crate::wording;
use clap::Args;
use rheostat_api::{Client, Run, RunState, RunVerdict, Submission};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a cancelled run may take to stop and write down what it measured.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// A run is asked how it is this soon at first, so that a short one ends promptly, and four times a second later.
const POLL_FIRST: Duration = Duration::from_millis(20);
const POLL_LATER: Duration = Duration::from_millis(250);

/// Bytes a workload file may have; a daemon takes no more by default either.
const WORKLOAD_BYTES_MAX: u64 = 8 << 20;

/// A workload and what the command line adds to it.
#[derive(Debug, Args)]
pub struct Workload {
    /// The workload file, or the name of one that ships (`rheostat workloads` lists them)
    file: PathBuf,
    /// Files, folders and patterns to read in place of the file's own inputs
    #[arg(long, value_name = "PATH", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Set a variable of the workload's [vars]
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = variable)]
    define: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` sets nothing: write NAME=VALUE")),
    }
}

impl Workload {
    /// Reads the file and looks at the inputs, so that a wrong path is named here and not by a daemon elsewhere.
    fn read(&self) -> Result<Read, Failure> {
        let inputs = self.input.iter().map(|path| readable(path)).collect::<Result<_, _>>()?;
        let vars = self.define.iter().cloned().collect();
        let (file, text) = match self.shipped() {
            Some(name) => (name.to_owned(), None),
            None => {
                let text = read_capped(&self.file).map_err(|error| {
                    Failure::usage(format!("the workload {} cannot be read", self.file.display())).because(error)
                })?;
                // Absolute, since paths in a workload start at its folder and the daemon has a folder of its own.
                (absolute(&self.file)?.display().to_string(), Some(text))
            }
        };
        Ok(Read { file, text, inputs, vars })
    }

    /// The name of a workload that ships, unless there is such a file.
    fn shipped(&self) -> Option<&str> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
        self.file.to_str().filter(|name| name.chars().all(is_letter) && !self.file.exists())
    }
}

/// A workload as it was read here.
struct Read {
    file: String,
    /// Absent for one that ships: the daemon has it.
    text: Option<String>,
    inputs: Vec<String>,
    vars: BTreeMap<String, String>,
}

impl Read {
    async fn submission(self, client: &Client) -> Result<Submission, Failure> {
        let Read { file, text, inputs, vars } = self;
        let text = match text {
            Some(text) => text,
            None => {
                let shipped = client.workloads().await?.into_iter().find(|shipped| shipped.name == file);
                let unknown = || {
                    Failure::usage(format!("there is no file `{file}`, and no workload of that name ships"))
                        .advise("list those that do with `rheostat workloads`")
                };
                shipped.ok_or_else(unknown)?.text
            }
        };
        Ok(Submission { file, text, inputs, vars })
    }
}

/// Reads a workload file, refusing what no workload is: a device that never ends, or more than a daemon takes.
fn read_capped(path: &Path) -> io::Result<String> {
    // Before opening: a pipe would wait for somebody to write to it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    let read = File::open(path)?.take(WORKLOAD_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > WORKLOAD_BYTES_MAX {
        let why = format!("it is longer than {} MiB, the most a workload may be", WORKLOAD_BYTES_MAX >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

/// The absolute form of an input that can be read, or of a pattern, which the daemon expands.
fn readable(path: &Path) -> Result<String, Failure> {
    let absolute = absolute(path)?;
    let text = absolute.to_str().ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())))?;
    let opened = match absolute.metadata() {
        Ok(meta) if meta.is_dir() => std::fs::read_dir(&absolute).map(drop),
        Ok(_) => File::open(&absolute).map(drop),
        Err(_) if text.contains(['*', '?', '[']) => Ok(()),
        Err(error) => Err(error),
    };
    opened.map_err(|error| {
        Failure::usage(format!("the input {} cannot be read", path.display()))
            .because(error)
            .advise("name an existing file or folder, or quote a pattern such as 'texts/**/*.txt'")
    })?;
    Ok(text.to_owned())
}

/// A workload to run, once or over the values of variables.
#[derive(Debug, Args)]
pub struct Runs {
    #[command(flatten)]
    workload: Workload,
    /// Run once for each value of a variable, and compare; with several, for each combination
    #[arg(long, value_name = "NAME=VALUE,VALUE..", value_parser = Axis::parse)]
    sweep: Vec<Axis>,
}

/// `rheostat run FILE`: on the daemon that answers, else on one of our own.
pub async fn run(at: &Whereabouts, runs: &Runs, answer: &mut Answer) -> Result<Exit, Failure> {
    let read = runs.workload.read()?;
    let host = at.attach_or_start(Hosting::Nothing).await?;
    let client = host.client();
    let ended = match read.submission(client).await {
        Ok(submission) if runs.sweep.is_empty() => once(client, &submission, answer).await,
        Ok(submission) => each(client, &submission, &sweep::cells(&runs.sweep), answer).await,
        Err(failure) => Err(failure),
    };
    host.leave().await;
    ended
}

async fn once(client: &Client, submission: &Submission, answer: &mut Answer) -> Result<Exit, Failure> {
    let run = submit_and_follow(client, submission, answer.is_json()).await?;
    let interrupted = run.verdict == Some(RunVerdict::Cancelled);
    let exit = conclude(client, run, answer).await?;
    Ok(if interrupted { Exit::Verdict(RunVerdict::Cancelled) } else { exit })
}

/// Runs the workload for every cell and compares what came of it.
async fn each(
    client: &Client,
    submission: &Submission,
    cells: &[sweep::Cell],
    answer: &mut Answer,
) -> Result<Exit, Failure> {
    let submissions = cells.iter().map(|cell| {
        let mut submission = submission.clone();
        submission.vars.extend(cell.iter().cloned());
        (cell, submission)
    });
    let submissions: Vec<_> = submissions.collect();
    // A value that does not fit is said before anything is measured, not after half of it was.
    for (_, submission) in &submissions {
        client.check(submission).await?;
    }
    let mut done = Vec::new();
    let mut worst = RunVerdict::Pass;
    for (cell, submission) in submissions {
        let run = submit_and_follow(client, &submission, answer.is_json()).await?;
        let verdict = run.verdict.unwrap_or(RunVerdict::Error);
        worst = sweep::worse(worst, verdict);
        if let Some(error) = run.error {
            Failure::new(
                Exit::Verdict(verdict),
                format!("{} ended: {}", sweep::spelled(cell), wording::verdict(verdict)),
            )
            .because(error)
            .print(answer.is_json());
        } else {
            let result = client.result(&run.id).await?;
            if answer.is_json() {
                let cell: BTreeMap<_, _> = cell.iter().cloned().collect();
                answer.object(&serde_json::json!({ "cell": cell, "result": result }))?;
                answer.flush()?;
            }
            done.push((cell.clone(), result));
        }
        if verdict == RunVerdict::Cancelled {
            break;
        }
    }
    if !answer.is_json() {
        answer.line(sweep::report(&done))?;
    }
    answer.flush()?;
    Ok(Exit::Verdict(worst))
}

/// Hands a workload in and follows it to its end. Ctrl-C cancels it, and then waits for what was measured.
async fn submit_and_follow(client: &Client, submission: &Submission, silent: bool) -> Result<Run, Failure> {
    let run = client.submit(submission).await?;
    tokio::select! {
        run = follow(client, &run.id, silent, |_| Ok(())) => run,
        () = interrupted() => {
            client.cancel(&run.id).await?;
            let stopped = tokio::time::timeout(CANCEL_PATIENCE, follow(client, &run.id, silent, |_| Ok(())));
            stopped.await.unwrap_or_else(|_| {
                let text = format!("run {} was cancelled but has not stopped yet", run.id);
                Err(Failure::new(Exit::Verdict(RunVerdict::Cancelled), text))
            })
        }
    }
}

/// `rheostat watch ID`. Ctrl-C leaves the run alone.
pub async fn watch(client: &Client, id: &str, answer: &mut Answer) -> Result<Exit, Failure> {
    let json = answer.is_json();
    let followed = tokio::select! {
        run = follow(client, id, json, |run| if json { answer.object(run).and_then(|()| answer.flush()) } else { Ok(()) }) => Some(run?),
        () = interrupted() => None,
    };
    match followed {
        Some(run) => conclude(client, run, answer).await,
        None => Ok(Exit::Verdict(RunVerdict::Cancelled)),
    }
}

/// Shows how far a run is until it has ended.
async fn follow(
    client: &Client,
    id: &str,
    silent: bool,
    mut each: impl FnMut(&Run) -> Result<(), Failure>,
) -> Result<Run, Failure> {
    let mut progress = Progress::new(silent);
    let mut pause = POLL_FIRST;
    loop {
        let mut run = client.run(id).await?;
        run.scrub();
        each(&run)?;
        if run.state == RunState::Finished {
            progress.end();
            return Ok(run);
        }
        progress.show(&run);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL_LATER);
    }
}

/// Prints what a run came to.
async fn conclude(client: &Client, run: Run, answer: &mut Answer) -> Result<Exit, Failure> {
    let verdict = run.verdict.unwrap_or(RunVerdict::Error);
    match client.result(&run.id).await {
        Ok(result) if answer.is_json() => answer.object(&result)?,
        Ok(result) => answer.line(report::text(&result))?,
        // Without a result the run's own error says more than the missing result does.
        Err(_) if run.error.is_some() => {}
        Err(error) => return Err(error.into()),
    }
    answer.flush()?;
    if let Some(error) = run.error {
        Failure::new(Exit::Verdict(verdict), format!("run {} ended: {}", run.id, wording::verdict(verdict)))
            .because(error)
            .print(answer.is_json());
    }
    Ok(Exit::Verdict(verdict))
}

/// `rheostat submit FILE`.
pub async fn submit(client: &Client, workload: &Workload, answer: &mut Answer) -> Result<Exit, Failure> {
    let submission = workload.read()?.submission(client).await?;
    let mut run = client.submit(&submission).await?;
    if answer.is_json() {
        answer.object(&run)?;
    } else {
        run.scrub();
        answer.line(format_args!("{}  {}  (follow it with `rheostat watch {}`)", run.id, run.name, run.id))?;
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

/// `rheostat workloads`: those that ship.
pub async fn catalogue(at: &Whereabouts, answer: &mut Answer) -> Result<Exit, Failure> {
    let host = at.attach_or_start(Hosting::Nothing).await?;
    let shipped = host.client().workloads().await;
    host.leave().await;
    for workload in shipped? {
        if answer.is_json() {
            answer.object(&workload)?;
        } else {
            answer.line(scrubbed(&format!("{:<26}{}", workload.name, workload.summary)))?;
        }
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

/// `rheostat cancel ID`.
pub async fn cancel(client: &Client, id: &str, answer: &mut Answer) -> Result<Exit, Failure> {
    let mut run = client.cancel(id).await?;
    if answer.is_json() {
        answer.object(&run)?;
    } else {
        run.scrub();
        answer.line(format_args!("{}  {}  cancelled", run.id, run.name))?;
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

/// `rheostat check FILE`.
pub async fn check(at: &Whereabouts, workload: &Workload, answer: &mut Answer) -> Result<Exit, Failure> {
    let read = workload.read()?;
    let host = at.attach_or_start(Hosting::Nothing).await?;
    let checked = match read.submission(host.client()).await {
        Ok(submission) => host.client().check(&submission).await.map(|()| submission).map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    host.leave().await;
    let submission = checked?;
    if answer.is_json() {
        answer.object(&serde_json::json!({ "file": submission.file, "valid": true }))?;
    } else {
        answer.line(format_args!("{} is a valid workload", submission.file))?;
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_become_absolute_and_patterns_stay_patterns() {
        assert!(readable(Path::new("Cargo.toml")).unwrap().starts_with('/'));
        assert!(readable(Path::new("src")).unwrap().ends_with("/src"));
        assert!(readable(Path::new("src/**/*.none")).unwrap().ends_with("/src/**/*.none"));
        assert_eq!(readable(Path::new("no-such-file")).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn variables_have_a_name() {
        assert_eq!(variable("records=5=6"), Ok(("records".into(), "5=6".into())));
        assert!(variable("=5").is_err());
        assert!(variable("records").is_err());
    }
}
