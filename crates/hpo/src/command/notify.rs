//! `hpo notify --test`

use crate::cli::NotifyArguments;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{output, study_file};

pub(super) fn perform(arguments: &NotifyArguments) -> Result<Exit, Failure> {
    let study = study_file::load(&arguments.test)?;
    if study.spec.notify.is_off() {
        let message = format!("{} has no `notify`", arguments.test.display());
        let hint = "add `notify: {webhook: \"${envvar:MY_WEBHOOK}\"}`";
        return Err(Failure::usage(message).hint(hint));
    }
    let mut failed = false;
    for told in hpo_run::notify_test(&study.spec) {
        let seconds = told.took.as_secs_f64();
        match told.result {
            Ok(answer) => words!("{}: {answer} after {seconds:.1} s", output::green(told.how)),
            Err(why) => {
                failed = true;
                words!("{}: {why} (after {seconds:.1} s)", output::red(told.how));
            }
        }
    }
    if failed {
        return Ok(Exit::Trouble);
    }
    let on: Vec<&str> = study.spec.notify.on.iter().map(|e| e.word()).collect();
    words!("the study tells of: {}", on.join(", "));
    Ok(Exit::Done)
}
