//! Ask and tell over standard input and output: `stdio --space FILE [--seed N] [--method M]
//! [--early-terminate E]`. The protocol is in `docs/stdio.md`.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use hpo_search::stdio::Session;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let mut options = HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let known = ["--space", "--seed", "--method", "--early-terminate"];
        if !known.contains(&flag.as_str()) {
            return Err(format!("unknown option `{flag}`"));
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("`{flag}` needs a value"))?;
        options.insert(flag, value);
    }
    let option = |flag: &str, absent: &str| {
        options
            .get(flag)
            .cloned()
            .unwrap_or_else(|| absent.to_owned())
    };
    let path = options.get("--space").ok_or("`--space` is missing")?;
    let space = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let seed = option("--seed", "0")
        .parse()
        .map_err(|_| "`--seed` must be a whole number")?;
    let (method, rule) = (
        option("--method", "bayes"),
        option("--early-terminate", "none"),
    );
    let mut session = Session::open(&space, seed, &method, &rule)?;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        writeln!(output, "{}", session.answer(&line)).map_err(|e| e.to_string())?;
        output.flush().map_err(|e| e.to_string())?;
    }
    Ok(())
}
