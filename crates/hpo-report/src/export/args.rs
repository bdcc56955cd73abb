//! Command-line arguments as the study's own command gives them to the program, quoted for a shell: in its style
//! (`${args_no_hyphens}`, `${param:lr}` …), nested parameters too. `--name=value`, in name order, where the command gives none.

use hpo_study::command::{Surroundings, expand, parameters_named};
use hpo_study::{CommandJob, Job, StudySpec, Trial};

pub(super) fn write(spec: &StudySpec, trial: &Trial) -> String {
    let job = match &spec.job {
        Job::Command(job) => CommandJob {
            command: items(job),
            shell: false,
            ..job.clone()
        },
        Job::Trainer(_) => CommandJob {
            command: vec![ARGS.to_owned()],
            ..CommandJob::default()
        },
    };
    // None of this is asked for by the items that are left.
    let surroundings = Surroundings {
        variable: &|_| None,
        interpreter: "",
        program: None,
        args_json_file: "",
        trial_dir: "",
        checkpoint_dir: "",
        trial: trial.id.0,
        seed: 0,
        budget: None,
    };
    let words = expand(&job, &trial.config, &surroundings);
    let quoted: Vec<String> = words.iter().map(|word| super::shell_quoted(word)).collect();
    quoted.join(" ") + "\n"
}

const ARGS: &str = "${args}";

/// The items of the study's command that are about parameters and nothing else.
fn items(job: &CommandJob) -> Vec<String> {
    let found: Vec<String> = job
        .command
        .iter()
        .filter(|_| !job.shell)
        .filter(|item| is_about_parameters(item))
        // The file is one trial's own: what stands in it is the same.
        .map(|item| item.replace("${args_json_file}", "${args_json}"))
        .collect();
    if found.is_empty() {
        vec![ARGS.to_owned()]
    } else {
        found
    }
}

fn is_about_parameters(item: &str) -> bool {
    let named = parameters_named(item).count();
    item.starts_with("${args") || named > 0 && item.matches("${").count() == named
}
