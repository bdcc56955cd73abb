//! `hpo pause`, `resume`, `stop`, `cancel`, `set` and `enqueue`: what is asked of a study from another
//! terminal.

use std::path::Path;

use hpo_study::control::{self, Answer, Limits, Request};
use hpo_study::{Config, Domain, StudySpec, TrialId};

use crate::cli::{EnqueueArguments, NamedStudyArguments, SetArguments, TextFormat, WhoseArguments};
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{output, study_dir};

pub(super) fn pause(arguments: &WhoseArguments) -> Result<Exit, Failure> {
    let of = |trial| Request::PauseTrial { trial };
    ask_of(arguments, Request::Pause, of)
}

pub(super) fn resume(arguments: &WhoseArguments) -> Result<Exit, Failure> {
    let of = |trial| Request::ResumeTrial { trial };
    ask_of(arguments, Request::Resume, of)
}

pub(super) fn stop(arguments: &WhoseArguments) -> Result<Exit, Failure> {
    let of = |trial| Request::StopTrial { trial };
    ask_of(arguments, Request::Stop, of)
}

pub(super) fn cancel(arguments: &WhoseArguments) -> Result<Exit, Failure> {
    let of = |trial| Request::CancelTrial { trial };
    ask_of(arguments, Request::Cancel, of)
}

fn ask_of(
    arguments: &WhoseArguments,
    of_study: Request,
    of_trial: impl Fn(TrialId) -> Request,
) -> Result<Exit, Failure> {
    let request = match arguments.trial {
        Some(trial) => of_trial(TrialId(trial)),
        None => of_study,
    };
    ask(&arguments.study, &request)
}

pub(super) fn set(arguments: &SetArguments) -> Result<Exit, Failure> {
    let limits = Limits {
        max_parallel: arguments.max_parallel,
        time_cap: arguments.time_cap,
        run_cap: arguments.run_cap,
    };
    let (trials, values): (Vec<_>, Vec<_>) =
        arguments.what.iter().partition(|word| !word.contains('='));
    let usage = "hpo set 7 lr=1e-4, or hpo set --max-parallel 8";
    let request = match trials.as_slice() {
        [] if values.is_empty() && !limits.is_empty() => Request::Limits { limits },
        [trial] if !values.is_empty() && limits.is_empty() => {
            let trial = trial.parse().map_err(|_| {
                Failure::usage(format!("`{trial}` is no trial's number")).hint(usage)
            })?;
            let trial = TrialId(trial);
            let values = assignments(values.into_iter())?;
            Request::Set { trial, values }
        }
        [_] if limits.is_empty() => {
            return Err(Failure::usage("which values should it have?").hint(usage));
        }
        [] if !values.is_empty() => {
            return Err(Failure::usage("which trial should have these values?").hint(usage));
        }
        [] if limits.is_empty() => {
            return Err(Failure::usage("nothing is to be set").hint(usage));
        }
        _ => {
            let name = trials.iter().find(|word| word.parse::<u32>().is_err());
            let message = match name {
                Some(name) => format!("`{name}` stands there without a value"),
                None if limits.is_empty() => "give one trial at a time".to_owned(),
                None => "give one trial with values, or limits of the study, not both".to_owned(),
            };
            return Err(Failure::usage(message).hint(usage));
        }
    };
    ask(&arguments.study, &request)
}

pub(super) fn enqueue(arguments: &EnqueueArguments) -> Result<Exit, Failure> {
    let again = arguments.again;
    if let Some(named) = arguments.study.named.as_ref().filter(|path| path.is_file()) {
        let target = study_dir::target(named, &arguments.study.place.dir)?;
        target.begin(&target.spec()?)?;
    }
    let Some(file) = &arguments.from else {
        let config = assignments(arguments.values.iter())?;
        return ask(&arguments.study, &Request::Enqueue { config, again });
    };
    let directory = study_dir::directory(
        arguments.study.named.as_ref(),
        &arguments.study.place.dir,
        arguments.study.print.format == TextFormat::Text,
    )?;
    let spec = study_dir::spec_of(&directory)?;
    let configs = configurations(file, &spec)?;
    let mut exit = Exit::Done;
    for config in configs {
        exit = ask(&arguments.study, &Request::Enqueue { config, again })?;
        if exit != Exit::Done {
            break;
        }
    }
    Ok(exit)
}

/// The configurations of a file; none of them when one is wrong.
fn configurations(file: &Path, spec: &StudySpec) -> Result<Vec<Config>, Failure> {
    let names = spec.space.parameters.iter().map(|p| p.name.clone());
    let rows = hpo_import::configurations(file, &names.collect()).map_err(|error| {
        let failure = Failure::usage(&error);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let mut configs = Vec::new();
    for (name, config) in rows {
        let checked = control::check_values(&spec.space, &config, Domain::contains);
        configs.push(checked.map_err(|(why, hint)| {
            let failure = Failure::usage(format!("{}, {name}: {why}", file.display()));
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?);
    }
    Ok(configs)
}

pub(super) fn assignments<'a>(words: impl Iterator<Item = &'a String>) -> Result<Config, Failure> {
    let mut config = Config::new();
    for word in words {
        let pair = word.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = pair.ok_or_else(|| {
            Failure::usage(format!("`{word}` is not NAME=VALUE")).hint("for example lr=3e-4")
        })?;
        let name = name.trim_start_matches('-');
        if config.set(name, control::value(value)).is_some() {
            return Err(Failure::usage(format!("`{name}` stands twice")));
        }
    }
    Ok(config)
}

fn ask(study: &NamedStudyArguments, request: &Request) -> Result<Exit, Failure> {
    let directory = study_dir::directory(
        study.named.as_ref(),
        &study.place.dir,
        study.print.format == TextFormat::Text,
    )?;
    let answer = hpo_run::ask(&directory, request).map_err(Failure::trouble)?;
    if study.print.format == TextFormat::Json {
        output::json(&answer)?;
        return Ok(match answer {
            Answer::Done { .. } => Exit::Done,
            Answer::Refused { .. } => Exit::Usage,
        });
    }
    match answer {
        Answer::Done { words } => {
            words!("{}: {words}", study_dir::short_name(&directory));
            Ok(Exit::Done)
        }
        Answer::Refused { why, hint } => {
            let failure = Failure::usage(why);
            Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
    }
}
