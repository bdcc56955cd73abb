//! Command-line arguments as `${args}` of a study file (and of W&B's sweeps) gives them:
//! `--name=value`, in name order, quoted for a shell.

use hpo_study::Trial;
use hpo_study::command::python;

pub(super) fn write(trial: &Trial) -> String {
    let words: Vec<String> = trial
        .config
        .iter()
        .map(|(name, value)| super::shell_quoted(&format!("--{name}={}", python(value))))
        .collect();
    words.join(" ") + "\n"
}
