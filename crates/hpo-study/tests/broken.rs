//! Broken study files: what people read when a file is wrong, one snapshot per kind of mistake.

use hpo_study::study_file::{self, Source};

const GOOD: &str = "\
program: train.py
method: random
metric: {name: val_loss}
run_cap: 20
";

/// What is wrong with a text, as people read it.
fn render(text: &str) -> String {
    let source = Source {
        file: "study.yaml".into(),
        directory: "/home/me".into(),
    };
    let checked = study_file::read(text, &source);
    checked
        .problems
        .iter()
        .map(|p| p.render("study.yaml", text))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A test per broken file; `+` puts the text behind a sound beginning.
macro_rules! broken {
    ($($name:ident: $text:expr,)+) => {
        $(
            #[test]
            fn $name() {
                let text = match $text.strip_prefix('+') {
                    Some(rest) => format!("{GOOD}{}", rest.trim_start_matches('\n')),
                    None => $text.to_owned(),
                };
                let rendered = render(&text);
                assert!(rendered.contains("error: "), "{rendered}");
                insta::assert_snapshot!(stringify!($name), rendered);
            }
        )+
    };
}

broken! {
    names_that_are_none: "program: train.py\nmethod: random\nname: ''\nmetric: {name: step}\nrun_cap: 3\nparameters: {\"a\\nb\": {value: 1}}\n",
    characters_no_program_gets: "command: [\"a\\0b\"]\nmethod: random\nmetric: {name: \"val\\tloss\"}\nrun_cap: 3\nparameters: {lr: {values: [\"x\\0\"]}}\n",
    whole_numbers_beyond_all: "+parameters:\n  n: {min: 0, max: 9223372036854775807}\n",
    empty_file: "# nothing but a comment\n\n",
    not_a_map: "- just\n- a list\n",
    binary_garbage: "\u{1}\u{2}name: \0\u{7f}ELF\u{3}",
    tabs: "metric:\n\tname: val_loss\n",
    unclosed_bracket: "method: random\nrun_cap: [1, 2\nname: x\n",
    several_documents: "method: random\n---\nmethod: grid\n",
    anchors: "+parameters: &all\n  lr: {value: 0.1}\n",
    everything_missing: "name: x\n",
    unknown_key: "+parameters: {lr: {value: 0.1}}\nrun_cpa: 10\nfailure: {retries: 3}\n",
    misspelt_required_key: "program: train.py\nmetod: random\nmetric: {nme: val_loss}\nrun_cap: 3\nparameters: {lr: {value: 1}}\n",
    later_key: "+parameters: {lr: {value: 0.1}}\nexecutor: {seeds: 3}\n",
    divergence_misspelt: "+parameters: {lr: {value: 0.1}}\ndivergence: {policy: kill, chanse: 2.3, recover_steps: 0, rescue: {lr_factor: 2}}\n",
    chance_twice: "program: train.py\nmethod: random\nmetric: {name: loss, chance: 2.3, num_classes: 10}\nrun_cap: 3\nparameters: {lr: {value: 1}}\n",
    chance_in_two_places: "program: train.py\nmethod: random\nmetric: {name: loss, chance: 2.3}\nrun_cap: 3\nparameters: {lr: {value: 1}}\ndivergence: {chance: 2.4}\n",
    duplicate_keys: "+parameters:\n  lr: {value: 0.1}\n  lr: {value: 0.2}\nrun_cap: 30\n",
    bounds_in_the_wrong_order: "+parameters:\n  lr: {min: 0.1, max: 1e-4, distribution: log_uniform_values}\n",
    log_through_zero: "+parameters:\n  lr: {min: 0, max: 0.1, distribution: log_uniform_values}\n  wd: {min: -1e-3, max: 1e-1, distribution: q_log_uniform_values, q: 0.01}\n",
    one_minus_log_up_to_one: "+parameters:\n  momentum: {min: 0.5, max: 1.0, distribution: one_minus_log}\n",
    quoted_numbers: "+parameters:\n  lr: {min: '1e-4', max: \"0.1\"}\nseed: '7'\n",
    not_finite: "+parameters:\n  lr: {min: .nan, max: .inf}\n  b: {values: [1.0, -.inf]}\n",
    unknown_parameter_in_when: "+parameters:\n  optimizer: {values: [sgd, adam]}\n  momentum: {min: 0.5, max: 0.99, when: {optimiser: sgd}}\n",
    impossible_value_in_when: "+parameters:\n  optimizer: {values: [sgd, adam]}\n  momentum: {min: 0.5, max: 0.99, when: {optimizer: [sgd, adamw]}}\n",
    when_on_a_range: "+parameters:\n  lr: {min: 0.0, max: 1.0}\n  momentum: {min: 0.5, max: 0.99, when: {lr: 0.1}}\n",
    circular_conditions: "+parameters:\n  a: {values: [1, 2], when: {b: 1}}\n  b: {values: [1, 2], when: {c: 1}}\n  c: {values: [1, 2], when: {a: 1}}\n  d: {values: [1, 2], when: {d: 1}}\n",
    overlapping_branches: "+parameters:\n  optimizer: {values: [sgd, adam, adamw]}\n  lr:\n    - {when: {optimizer: [sgd, adam]}, min: 0.001, max: 1.0}\n    - {when: {optimizer: [adam, adamw]}, min: 0.0001, max: 0.1}\n    - {when: {optimizer: sgd}, value: 0.1}\n",
    unreachable_branch: "+parameters:\n  optimizer: {values: [sgd, adam]}\n  lr:\n    - {value: 0.1}\n    - {when: {optimizer: adam}, value: 0.001}\n",
    values_that_are_no_list: "+parameters:\n  a: {values: {x: 1}}\n  b: {values: 3}\n  c: {values: [1, 2], probabilities: {x: 1}}\n  d: {values: [{x: 1}]}\n",
    no_values: "+parameters:\n  lr: {values: []}\n  wd: {}\n  b:\n  c: []\n  d: {q: 3}\n  e: {when: {lr: 1}}\n",
    values_twice: "+parameters:\n  batch_size: {values: [16, 32, 16.0]}\n",
    wrong_probabilities: "+parameters:\n  a: {values: [1, 2], probabilities: [0.5]}\n  b: {values: [1, 2], probabilities: [0.5, 0.6]}\n  c: {values: [1, 2], probabilities: [1.5, -0.5]}\n  d: {value: 1, probabilities: [1.0]}\n",
    keys_that_do_not_go_together: "+parameters:\n  a: {value: 1, min: 0}\n  b: {min: 1}\n  c: {min: 1, max: 2, distribution: categorical}\n  d: {min: 1.5, max: 2, distribution: int_uniform}\n  e: {min: 1, max: 2, q: 5, distribution: q_uniform}\n",
    a_list_for_choices: "+parameters:\n  lr: [0.1, 0.01]\n",
    unsupported_distribution: "+parameters:\n  lr: {mu: 0, sigma: 1, distribution: normal}\n  wd: {min: 0.1, max: 1, distribution: log_unifrom}\n",
    distributions_that_no_number_holds: "+parameters:\n  lr: {mu: 800, sigma: 9, distribution: log_normal}\n  b: {a: 0, distribution: beta}\n  wd: {mu: 0, sigma: 1}\n  n: {min: 0, mu: 1, distribution: normal}\n",
    nested_parameters: "+parameters:\n  opt.lr: 1\n  opt: {parameters: {lr: {min: 2, max: 1}, sgd: {parameters: {m: {vals: [1]}}, value: 3}}}\n",
    patterns_of_metrics: "+metrics:\n  - 'loss ((\\d+)'\n  - kers\n  - {regex: 'a (b)'}\n  - {regex: 'a (?P<b>.)', format: keras}\n  - {from: stderr}\n  - {format: pytorch}\n  - '(?P<name>.)'\n  - 'x(?=y)(?P<z>.)'\nparameters: {lr: {value: 0.1}}\n",
    metrics_by_name: "+metrics: {val_los: 'v (\\S+)', step: 'no group', acc: '(a)(b)'}\nparameters: {lr: {value: 0.1}}\n",
    environment: "+env: {1A: x, HPO_TRIAL: 3, LIST: [1], OK: null, N: 1}\nparameters: {lr: {value: 0.1}}\n",
    shell_texts: "method: random\nmetric: {name: val_loss}\nrun_cap: 1\nshell: true\ncommand: \"echo '${args}' ${program} ${param:rl} ${HOME}\"\nparameters: {lr: {value: 0.1}}\n",
    tags: "+parameters:\n  lr: {value: !!float 0.1}\n  wd: !choice {values: [1]}   # not !this\n  b:\n    !x\n    value: 1\n  c: \"no !tag\"\ndescription: |\n  nor !here\n",
    log_uniform_exponents: "+parameters:\n  lr: {min: 1, max: 1000, distribution: log_uniform}\n",
    log_uniform_values_for_exponents: "+parameters:\n  lr: {min: 1e-5, max: 0.1, distribution: log_uniform}\n  wd: {min: 1e-5, max: 0.1, distribution: log_unifrom}\n",
    a_rule_for_a_method: "program: train.py\nmethod: hyperband\nmetric: {name: val_loss}\nrun_cap: 20\nparameters: {lr: {min: 0.001, max: 1.0}}\n",
    a_negative_deviation: "+parameters:\n  lr: {sigma: -1, distribution: normal}\n",
    what_does_not_go_with_a_population: "program: train.py\nmethod: pbt\nmetric: {name: val_loss}\nrun_cap: 20\nrepeats: 3\nconfirm: {top: 1}\nearly_terminate: auto\ndivergence: {policy: auto, rescue: {attempts: 1}}\npbt: {interval: 30, max_iter: 10, mutate: [lrr, opt]}\nparameters:\n  lr: {min: 0.001, max: 1.0}\n  opt: {value: sgd}\n",
    trials_from_elsewhere_for_a_population: "program: train.py\nmethod: pbt\nmetric: {name: val_loss}\nimport: old.csv\npbt: {interval: 3, max_iter: 10}\nparameters: {lr: {min: 0.001, max: 1.0}}\n",
    trials_from_elsewhere_for_several_objectives: "program: train.py\nmethod: random\nmetric: [{name: val_loss}, {name: size}]\nrun_cap: 20\nimport: [{from: old.csv}, {from: old.csv}]\nparameters: {lr: {min: 0.001, max: 1.0}}\n",
    keys_of_a_population: "program: train.py\nmethod: pbt\nmetric: {name: val_loss}\npbt: {population: 1, perturbation_interval: 3, quantile: 0.7, factors: [], resample: 2, mutate: lr}\nparameters: {lr: {min: 0.001, max: 1.0}}\n",
    population_without_a_length: "program: train.py\nmethod: pbt\nmetric: {name: val_loss}\nparameters: {lr: {min: 0.001, max: 1.0}}\n",
    population_of_which_nothing_changes: "trainer: {model: mlp, dataset: digits, epochs: 5}\nmethod: pbt\nmetric: {name: val_loss}\nparameters: {optimizer: {values: [sgd, adam]}, lr: {value: 0.1}}\n",
    population_of_another_method: "+parameters: {lr: {min: 0.001, max: 1.0}}\npbt: {interval: 3}\n",
    method_by_another_name: "program: train.py\nmethod: cma-es\nmetric: {name: val_loss}\nrun_cap: 20\nparameters: {lr: {value: 0.1}}\nearly_terminate: {type: bohb}\n",
    grid_over_a_range: "program: train.py\nmethod: grid\nmetric: {name: val_loss}\nparameters:\n  lr: {min: 0.1, max: 0.2}\n  a: {values: [1, 2]}\n",
    enormous_grid: "program: train.py\nmethod: grid\nmetric: {name: val_loss}\nparameters:\n  a: {min: 1, max: 100000}\n  b: {min: 1, max: 100000}\n",
    grid_of_tiny_steps: "program: train.py\nmethod: grid\nmetric: {name: val_loss}\nparameters:\n  a: {min: 0.0, max: 1.0, q: 1e-9, distribution: q_uniform}\n",
    a_step_of_nothing: "+parameters:\n  a: {min: 0.0, max: 1.0, q: 1e-320, distribution: q_uniform}\n  b: {min: 0.0, max: 1.0, q: 0}\n",
    rungs_above_the_length_apart: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: asha, min_iter: 30, max_iter: 10}\n",
    one_rung_only: "+parameters: {lr: {valu: 0.1}}\nearly_terminate: {type: asha, min_iter: 9, max_iter: 10}\n",
    rungs_above_the_length: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: asha, min_iter: 30, max_iter: 10, eta: 1}\n",
    no_length_for_rungs: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: sha, min_iter: 3}\n",
    useless_keys_of_patience: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: patient, rule: median, percentile: 30, eta: 3}\n",
    wrong_values_of_rules: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: percentile, percentile: 100, interval: 0, rule: sha, min_delta: -1}\n",
    promotion_without_a_length: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: asha, variant: promotion, min_iter: 3}\n",
    methods_without_rungs: "program: train.py\nmethod: dehb\nmetric: {name: val_loss}\nrun_cap: 20\nparameters: {lr: {value: 0.1}}\n",
    rungs_that_do_not_suit_the_method: "program: train.py\nmethod: bohb\nmetric: {name: val_loss}\nrun_cap: 20\nparameters: {lr: {value: 0.1}}\nearly_terminate: {type: median}\n",
    instances_without_a_metric: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: wilcoxon, p_threshold: 1, eta: 3}\n",
    useless_stopping_keys: "+parameters: {lr: {value: 0.1}}\nearly_terminate: {type: median, eta: 3}\n",
    wrong_times: "+parameters: {lr: {value: 0.1}}\ntime_cap: eight hours\nstop_grace: -5\n",
    trainer_and_program: "+trainer: {model: mlp, dataset: digits, epochs: 3}\nparameters: {optimizer: {value: sgd}}\n",
    no_job: "method: random\nmetric: {name: val_loss}\nrun_cap: 5\nparameters: {lr: {value: 0.1}}\n",
    broken_trainer: "method: random\nmetric: {name: val_acc}\nrun_cap: 5\ntrainer: {model: mpl, dataset: mnist, epochs: 0, lr: 0.1, validation: 1}\nparameters: {optimizer: {value: sgd}}\n",
    trainer_reads_no_such_parameter: "method: random\nmetric: {name: val_loss}\nrun_cap: 5\ntrainer: {model: cnn, hidden: [3], dataset: digits, epochs: 5}\nparameters:\n  optimizer: {values: [sgd, adamw, lion]}\n  schedule: {value: cosin}\n  learning_rate: {min: 0.1, max: 0.2}\n  momentun: {value: 0.9}\n  beta1: {values: [0.9, 1.0]}\n",
    trainer_without_optimizer: "method: random\nmetric: {name: val_loss}\nrun_cap: 5\ntrainer: {model: mlp, dataset: digits, epochs: 5}\nparameters: {lr: {value: 0.1}}\nearly_terminate: {type: asha, max_iter: 9}\n",
    recipe_of_strangers: "+recipe: {optimizers: [sgd, adamm, lion], schedules: []}\n",
    unknown_macros: "+command: [python, '${programm}', '--all=${args}', '${args_jsn}', '${what}']\nparameters: {lr: {value: 0.1}}\n",
    command_as_a_text: "+command: python train.py ${args}\nparameters: {lr: {value: 0.1}}\n",
    program_macro_without_program: "method: random\nmetric: {name: val_loss}\nrun_cap: 5\ncommand: [python, '${program}']\nparameters: {lr: {value: 0.1}}\n",
    wrong_kinds: "name: [a]\nprogram: 7\nmethod: [random]\nmetric: val_loss\nrun_cap: many\nseed: 1.5\ncpu: 4\nparameters: lr\nfailure: {crash_retries: -1}\nversion: 2\n",
    a_name_that_is_no_directory: "+parameters: {lr: {value: 0.1}}\nname: ../../etc\n",
    booleans_of_yaml_1_1: "+recipe: {optimizers: [sgd], warmup: yes}\n",
}

#[test]
fn a_file_that_is_too_large_is_refused_at_once() {
    let text = format!("# {}", "x".repeat(study_file::LONGEST_FILE));
    assert!(render(&text).contains("larger than 1 MiB"));
}

#[test]
fn too_many_parameters_are_refused() {
    let mut text = format!("{GOOD}parameters:\n");
    for i in 0..10_001 {
        text.push_str(&format!("  p{i}: 1\n"));
    }
    assert!(
        render(&text).contains("10000 is the most"),
        "{}",
        render(&text)
    );
}

#[test]
fn deep_and_wide_texts_are_refused_quickly() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        format!("a: [{}]", "1,".repeat(300_000)),
        "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n".to_owned(),
        "- ".repeat(100_000),
    ] {
        assert!(render(&text).contains("error: "));
    }
}
