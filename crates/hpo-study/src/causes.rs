//! What failures have in common, and what can be done about them: words of programs, read.

use crate::event::FailReason;

/// Longer messages are compared by their beginning.
const LONGEST: usize = 300;

/// What tells one kind of failure from another: two failures with the same signature are alike. Numbers
/// are left out of it, since messages hold values, addresses and process ids.
#[must_use]
pub fn signature(reason: &FailReason) -> String {
    match reason {
        FailReason::Crash { how, stderr } => {
            format!("{how}: {}", without_numbers(last_line(stderr)))
        }
        FailReason::NotStarted { error } => format!("not started: {}", without_numbers(error)),
        FailReason::NoMetric { .. }
        | FailReason::Lost
        | FailReason::Stalled { .. }
        | FailReason::Oom { .. } => reason.word().to_owned(),
    }
}

/// Whether a process died because there was no room on a disk, as far as its last words tell.
#[must_use]
pub fn is_disk_full(stderr: &str) -> bool {
    const SIGNS: [&str; 5] = [
        "no space left on device",
        "disk quota exceeded",
        "[errno 28]",
        "os error 28",
        "enospc",
    ];
    let words = stderr.to_lowercase();
    SIGNS.iter().any(|sign| words.contains(sign))
}

/// The last line of a text that says anything.
#[must_use]
pub fn last_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines.rfind(|line| !line.is_empty()).unwrap_or_default()
}

/// What can be done about a failure, where that is known: a program, a module or a permission that
/// is missing, or arguments that a script does not know.
#[must_use]
pub fn hint(reason: &FailReason) -> Option<String> {
    match reason {
        FailReason::NotStarted { error } if error.contains("not found") => Some(
            "is it installed, and on the PATH that `hpo` runs with? `command` in the study file \
             says what is started"
                .to_owned(),
        ),
        FailReason::NotStarted { error } if error.contains("ermission denied") => {
            Some(NOT_EXECUTABLE.to_owned())
        }
        FailReason::NotStarted { error } if error.contains("Argument list too long") => Some(
            "the configuration or the study's `env` is longer than the system allows: write \
             ${args_json_file} in `command` for long values, and put long variables into a file"
                .to_owned(),
        ),
        FailReason::Crash { how, stderr } => crash_hint(how, stderr),
        FailReason::NoMetric { .. } => Some(
            "print one line per epoch: [hpo] {\"step\": 1, \"<the objective>\": 0.5}, with the name \
             that `metric` has in the study file"
                .to_owned(),
        ),
        FailReason::Stalled { .. } => Some(
            "a program that waits for something looks like this; if silence is normal, raise \
             `failure.stall_timeout`, and flush what is printed"
                .to_owned(),
        ),
        _ => None,
    }
}

const NOT_EXECUTABLE: &str = "make the program executable (chmod +x), or name its interpreter in `command`: \
                              [\"python3\", \"${program}\", \"${args}\"]";

const NO_PYTHON: &str = "many systems have no `python`: write `python: python3`, or the directory of a virtual environment, \
                         in the study file (it is `${interpreter}` in `command`)";

fn crash_hint(how: &str, stderr: &str) -> Option<String> {
    let after = |mark: &str| {
        let rest = stderr.rsplit_once(mark)?.1.lines().next()?;
        Some(
            rest.trim()
                .trim_matches(['\'', '"', '‘', '’', '`'])
                .to_owned(),
        )
    };
    if let Some(module) = after("No module named ") {
        return Some(format!(
            "the Python that runs the trial has no module `{module}`: install it there, or name another \
             interpreter in `command`"
        ));
    }
    if let Some(arguments) = after("unrecognized arguments: ") {
        return Some(format!(
            "the script does not know {arguments}: parameters are handed over as options of the same name; \
             rename them, or use ${{args_json_file}} in `command`"
        ));
    }
    if how == "exit code 127" && after("env: ").is_some_and(|rest| rest.starts_with("python")) {
        return Some(NO_PYTHON.to_owned());
    }
    if stderr.contains("can't open file") {
        return Some(
            "there is no such script: paths start from the study file's directory".to_owned(),
        );
    }
    if is_disk_full(stderr) {
        return Some("make room on the disk; `hpo prune-runs` shows what can go".to_owned());
    }
    match how {
        "exit code 127" => Some(
            "that is a shell's code for a program that was not found: is it installed, and on the PATH?"
                .to_owned(),
        ),
        "exit code 126" => Some(NOT_EXECUTABLE.to_owned()),
        _ => None,
    }
}

/// The text with a `#` in place of every number in it (`-1e-05`, `0x7f3a`, `3.5`).
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text
        .get(..LONGEST.min(text.len()))
        .unwrap_or(text)
        .chars()
        .peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        let signed = matches!(c, '-' | '+') && !before.is_alphanumeric();
        let starts = c.is_ascii_digit() && !before.is_alphabetic();
        if starts || signed && rest.peek().is_some_and(char::is_ascii_digit) {
            let mut last = c;
            while let Some(&next) = rest.peek() {
                let exponent = matches!(next, '-' | '+') && matches!(last, 'e' | 'E');
                if !(next.is_ascii_alphanumeric() || next == '.' || exponent) {
                    break;
                }
                last = next;
                rest.next();
            }
            out.push('#');
            before = '#';
        } else {
            // Digits within a word (a host's name, a trial's directory) are numbers, too.
            out.push(if c.is_ascii_digit() { '#' } else { c });
            before = c;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(stderr: &str) -> FailReason {
        FailReason::Crash {
            how: "exit code 1".into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn failures_are_alike_when_only_numbers_differ() {
        let alike = [
            (
                "x\nValueError: lr=-1e-05 at 0x7f3a",
                "ValueError: lr=0.5 at 0x8\n\n",
            ),
            ("KeyError: 'a'", "KeyError: 'a'"),
            ("no file /r/trials/3/x", "no file /r/trials/12/x"),
        ];
        for (a, b) in alike {
            assert_eq!(signature(&crash(a)), signature(&crash(b)), "{a} | {b}");
        }
        assert_ne!(
            signature(&crash("KeyError: 'a'")),
            signature(&crash("KeyError: 'b'"))
        );
        let silent = FailReason::NoMetric {
            evidence: String::new(),
            output: String::new(),
        };
        assert_ne!(signature(&crash("")), signature(&silent));
    }

    #[test]
    fn signatures_of_any_text_are_short_and_made() {
        for text in ["", "ü".repeat(1000).as_str(), "1", "-", "1e-", "é1é"] {
            assert!(signature(&crash(text)).len() < 2500);
        }
    }

    #[test]
    fn a_full_disk_is_recognized_in_many_tongues() {
        for words in [
            "OSError: [Errno 28] No space left on device",
            "Error: ENOSPC: no space left on device, write",
            "sh: write error: No space left on device",
            "Os { code: 28 } (os error 28)",
            "cp: Disk quota exceeded",
        ] {
            assert!(is_disk_full(words), "{words}");
        }
        assert!(!is_disk_full("CUDA out of memory"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let hint = |stderr: &str| hint(&crash(stderr)).unwrap();
        assert!(hint("ModuleNotFoundError: No module named 'torch'").contains("`torch`"));
        assert!(hint("train.py: error: unrecognized arguments: --lr=0.1\n").contains("--lr=0.1"));
        let not_found = FailReason::Crash {
            how: "exit code 127".into(),
            stderr: String::new(),
        };
        assert!(super::hint(&not_found).unwrap().contains("PATH"));
        let no_python = FailReason::Crash {
            how: "exit code 127".into(),
            stderr: "/usr/bin/env: ‘python’: No such file or directory\n".into(),
        };
        assert!(
            super::hint(&no_python)
                .unwrap()
                .contains("`python: python3`")
        );
        assert_eq!(super::hint(&crash("ValueError")), None);
    }
}
