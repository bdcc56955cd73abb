//! What a program says of itself: its answer to `--help`, and the study proposed from that.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hpo_study::proposal::{self, Proposal, Wish};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::sample;
use crate::cli::InitArguments;
use crate::failure::Failure;
use crate::output::{self, words};

/// How much of an answer is read.
const MOST: u64 = 1 << 20;
/// How often it is looked whether the program has answered.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the program with `--help` and proposes a study for it.
pub(super) fn propose(program: &str, arguments: &InitArguments) -> Result<Proposal, Failure> {
    let path = Path::new(program);
    let is_file = path.is_file();
    let python = program.ends_with(".py");
    if python && !is_file {
        return Err(Failure::usage(format!("there is no file {program}"))
            .hint("give the path of your training script"));
    }
    // A name alone is looked for on the PATH.
    if program.contains(['/', '.']) && path.is_dir() {
        return Err(Failure::usage(format!("{program} is a directory"))
            .hint("give the path of your training script"));
    }
    let log = arguments.sample.as_deref().map(sample::bytes).transpose()?;
    let source = is_file.then(|| fs::read_to_string(path).ok()).flatten();
    // `python` is not everywhere: many systems have `python3` alone.
    let interpreters = [arguments.python.as_str(), "python3"];
    let mut answer = String::new();
    let usual = hpo_run::interpreter(None, Path::new(""));
    let mut answered_by = usual.as_str();
    for interpreter in interpreters {
        let mut command = if python {
            let mut command = Command::new(interpreter);
            command.arg(program);
            command
        } else if is_file && !program.contains('/') {
            Command::new(Path::new(".").join(program))
        } else {
            Command::new(program)
        };
        match ask(
            command.arg("--help"),
            Duration::from_secs(arguments.timeout),
        ) {
            Ok(text) => {
                answer = text;
                answered_by = interpreter;
                break;
            }
            Err(Asked::NotThere) if python && interpreter != "python3" => {}
            Err(Asked::NotThere) => {
                return Err(
                    Failure::usage(format!("{program} cannot be started: not found"))
                        .hint("give its path, or a name on the PATH; for a script --python PYTHON"),
                );
            }
            Err(Asked::Trouble(error)) => {
                return Err(Failure::usage(format!(
                    "{program} cannot be started: {error}"
                )));
            }
            Err(Asked::TooLong) => {
                return Err(Failure::usage(format!(
                    "{program} --help did not end within {} s, and was ended",
                    arguments.timeout
                ))
                .hint("allow it more with --timeout, or write a starter with --program"));
            }
        }
    }
    let wish = Wish {
        program,
        help: &answer,
        log: log.as_deref(),
        source: source.as_deref(),
        python: (answered_by != usual).then_some(answered_by),
    };
    proposal::propose(&wish).ok_or_else(|| {
        let last = answer.lines().map(str::trim).rfind(|line| !line.is_empty());
        let last = last.map_or("nothing".to_owned(), |line| {
            let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
            format!("… {line}")
        });
        Failure::usage(format!(
            "{program} --help names no options; it said: {last}"
        ))
        .hint(format!(
            "write a starter with `hpo init --program {}`, and its `parameters` yourself",
            hpo_report::export::shell_quoted(program)
        ))
    })
}

/// Why there is no answer.
enum Asked {
    NotThere,
    TooLong,
    Trouble(std::io::Error),
}

/// What the command says on both of its streams, whatever its exit code: some programs know no `--help`, and
/// say how they are used when they are asked wrongly.
fn ask(command: &mut Command, timeout: Duration) -> Result<String, Asked> {
    let scratch = std::env::temp_dir().join(format!("hpo-init-{}", std::process::id()));
    let answer = ask_into(&scratch, command, timeout);
    let _ = fs::remove_file(&scratch);
    answer
}

fn ask_into(scratch: &Path, command: &mut Command, timeout: Duration) -> Result<String, Asked> {
    let file = File::options()
        .read(true)
        .append(true)
        .create_new(true)
        .open(scratch)
        .map_err(Asked::Trouble)?;
    let second = file.try_clone().map_err(Asked::Trouble)?;
    let third = file.try_clone().map_err(Asked::Trouble)?;
    let spawned = command
        .stdin(Stdio::null())
        .stdout(second)
        .stderr(third)
        .env("COLUMNS", "120")
        .env("NO_COLOR", "1")
        .env("TERM", "dumb")
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Asked::NotThere),
        Err(error) => return Err(Asked::Trouble(error)),
    };
    let group = Pid::from_raw(child.id().cast_signed());
    let start = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(_)) => break true,
            Ok(None) if start.elapsed() > timeout => break false,
            Ok(None) => std::thread::sleep(PAUSE),
            Err(error) => return Err(Asked::Trouble(error)),
        }
    };
    // What it may have started goes with it.
    let _ = killpg(group, Signal::SIGKILL);
    if !ended {
        let _ = child.wait();
        return Err(Asked::TooLong);
    }
    let mut bytes = Vec::new();
    let mut file = file;
    file.rewind()
        .and_then(|()| file.take(MOST).read_to_end(&mut bytes))
        .map_err(Asked::Trouble)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Says what was understood, and what was not.
pub(super) fn explain(proposal: &Proposal) {
    let list = |names: &[String]| {
        let clean = names
            .iter()
            .map(|n| n.chars().filter(|c| !c.is_control()).collect::<String>());
        clean.collect::<Vec<_>>().join(" ")
    };
    if !proposal.understood.is_empty() {
        words!("understood: {}", list(&proposal.understood));
    }
    if !proposal.left.is_empty() {
        words!("left at their defaults: {}", list(&proposal.left));
    }
    for note in &proposal.notes {
        words!("{}: {note}", output::yellow("note"));
    }
}
