//! Programs that were never written for `hpo`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value as Json;

use crate::bench::{Bench, count};

const HEAD: &str = "name: s\nmethod: random\nseed: 1\nrun_cap: 3\nmetric: {name: val_loss}\ncpu: {max_parallel: 1}\nfailure: {crash_retries: 0}\n";

fn study(bench: &Bench, rest: &str) {
    bench.write("study.yaml", &format!("{HEAD}{rest}"));
}

#[test]
fn metrics_are_found_in_what_a_script_prints_with_bars_and_colours() {
    let bench = Bench::new();
    bench.write(
        "train.sh",
        r#"
for epoch in 1 2 3; do
  echo "Epoch $epoch/3"
  printf '\r1/2 - loss: 9.0\r\033[1m2/2\033[0m - 0s 1ms/step - loss: %s - val_loss: 0.%s\n' "$epoch" "$((9 - epoch))"
  echo "norm=1e-$epoch" >&2
done
echo '2/2 - 0s - loss: 7 - val_loss: 7'
"#,
    );
    study(
        &bench,
        "command: [sh, train.sh]\nmetrics: [keras, {regex: 'norm=(?P<norm>\\S+)', from: stderr}]\nparameters: {x: {min: 0.0, max: 1.0}}\n",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 3);
    for trial in &trials {
        assert_eq!(
            (trial["value"].as_f64(), trial["steps"].as_u64()),
            (Some(0.6), Some(3))
        );
        assert_eq!(trial["metrics"]["loss"].as_f64(), Some(3.0));
        assert_eq!(trial["metrics"]["norm"].as_f64(), Some(1e-3));
    }
    std::fs::copy(
        bench.path().join("runs/s/trials/0/stdout.log"),
        bench.path().join("log"),
    )
    .unwrap();
    let sample = bench.run(&["check", "study.yaml", "--sample", "log"]);
    assert_eq!(sample.code, 0, "{sample:?}");
    assert!(sample.stdout.contains("1 to 3"), "{sample:?}");
    let json = bench.json(&["check", "study.yaml", "--sample", "log", "-f", "json"]);
    assert_eq!(json["sample"]["objective_found"], true);
    bench.write("other", "nothing\nval_loss is missing\n");
    let missing = bench.run(&["check", "study.yaml", "--sample", "other"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(
        missing.stdout.contains("`val_loss` is not in it"),
        "{missing:?}"
    );
}

#[test]
fn a_trial_without_the_objective_says_what_it_did_report() {
    let bench = Bench::new();
    study(
        &bench,
        "shell: true\ncommand: \"echo starting; echo 'valid_loss: 0.5'; echo the last line\"\nmetrics: pairs\nparameters: {x: 1}\n",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    let detail = trial["detail"].as_str().unwrap();
    assert!(
        detail.contains("`valid_loss`") && detail.contains("did you mean"),
        "{detail}"
    );
    let page = bench.run(&["trial", "0"]);
    assert!(page.stdout.contains("the last line"), "{page:?}");
}

#[test]
fn the_environment_the_directory_and_the_shell_are_as_asked_for() {
    let bench = Bench::new();
    study(
        &bench,
        "shell: true\ncommand: |\n  pwd; printf '%s|' ${args} ${param:word} \"in ${param:word}\"; echo; \
         echo \"secret has ${#SECRET} letters, thread $THREADS\"; echo '{\"val_loss\": 1}'\n\
         cwd: ${trial_dir}/work\nenv: {SECRET: \"${envvar:HPO_TEST_SECRET_WORD}\", THREADS: 1}\nmetrics: json\n\
         parameters: {word: {values: [\"a  b\", \"$(touch pwned)\", \"'; touch pwned; '\"]}, n: 2}\n",
    );
    let mut command = bench.hpo(&["run", "study.yaml"]);
    let output = command
        .env("HPO_TEST_SECRET_WORD", "xyzzy-plugh")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for trial in bench.trials() {
        let log = bench
            .run(&["logs", &trial["trial"].to_string(), "--stdout"])
            .stdout;
        let word = trial["params"]["word"].as_str().unwrap();
        assert!(log.contains(&format!("--n=2|{word}|in {word}|")), "{log}");
        assert!(log.contains("secret has 11 letters, thread 1"), "{log}");
        assert!(log.lines().next().unwrap().ends_with("/work"), "{log}");
    }
    // Neither a command in a value nor a secret leaves a trace.
    let mut files = vec![bench.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        assert!(!path.ends_with("pwned"), "{path:?}");
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(11).any(|w| w == b"xyzzy-plugh");
        assert!(!found, "{path:?} has the secret");
    }
    let unset = bench.run(&["run", "study.yaml", "--dir", "other"]);
    assert_eq!(unset.code, 1, "{unset:?}");
    assert!(unset.stderr.contains("HPO_TEST_SECRET_WORD"), "{unset:?}");
}

#[test]
fn a_sweep_file_of_wandb_runs_as_it_is() {
    let bench = Bench::new();
    bench.write("train.sh", "echo \"$@\" > args; echo '[tune-metric]: {\"epoch\": 2, \"val_loss\": 0.5, \"st_worker_iter\": 0}'\n");
    bench.write(
        "sweep.yaml",
        "program: train.sh\nname: w\nproject: p\nentity: e\ncontroller: {type: local}\nmethod: bayes\nmetric: {name: val_loss, goal: minimize, target: 0.1, impute: worst}\nrun_cap: 4\n\
         early_terminate: {type: hyperband, min_iter: 3, eta: 2, strict: true}\ncommand: [sh, \"${program}\", \"${args}\"]\nparameters:\n  \
         lr: {distribution: log_normal, mu: -3, sigma: 1}\n  n: {distribution: q_normal}\n  share: {distribution: beta, a: 2, b: 3}\n  \
         inv: {distribution: inv_log_uniform, min: 0, max: 3}\n  old: {distribution: log_uniform, min: -5, max: 0}\n  \
         opt:\n    parameters:\n      name: {values: [sgd, adam], probabilities: [0.9, 0.1]}\n      beta: {value: 0.9}\n",
    );
    let ended = bench.run(&["run", "sweep.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 4, "{trials:#?}");
    assert_eq!(trials[0]["steps"], 2);
    assert!(
        bench.read("args").contains("--opt={'beta': 0.9, 'name': '"),
        "{}",
        bench.read("args")
    );
    let params: Json = serde_json::from_str(&bench.read("runs/w/trials/0/params.json")).unwrap();
    assert_eq!(params["opt"]["beta"], 0.9);
}

#[test]
fn a_study_is_proposed_from_what_a_program_says_of_itself() {
    let bench = Bench::new();
    bench.write(
        "train",
        "#!/bin/sh\n[ \"$1\" = --help ] || { touch started; exit 3; }\nsleep 0 & cat <<'X'\nusage: train\n  --lr LR      rate (default: 0.1)\n  --epochs N   (default: 9)\n  --data DIR   where\nX\n",
    );
    let path = bench.path().join("train");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.write("log", "epoch 1 val_loss: 0.5\nepoch 2 val_loss: 0.4\n");
    let ended = bench.run(&["init", "./train", "--sample", "log"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("left at their defaults: --data"),
        "{ended:?}"
    );
    let text = bench.read("study.yaml");
    assert!(
        text.contains("lr: {min: 0.003, max: 3.0") && text.contains("metrics: pairs"),
        "{text}"
    );
    assert_eq!(bench.run(&["check", "study.yaml"]).code, 0);
    assert!(!path.with_file_name("started").exists());
    // Epochs that begin with 1 are no progress bar of Lightning's.
    bench.write("log", "Epoch 1/2 val_loss=0.5\nEpoch 2/2 val_loss=0.4\n");
    let counted = bench.run(&["init", "./train", "--sample", "log", "-o", "-"]);
    assert!(counted.stdout.contains("metrics: pairs"), "{counted:?}");
    bench.write(
        "log",
        "Epoch 0: 100%|##| 9/9 [00:00<00:00, 99.00it/s, v_num=0, val_loss=0.5]\n",
    );
    let bar = bench.run(&["init", "./train", "--sample", "log", "-o", "-"]);
    assert!(bar.stdout.contains("metrics: lightning"), "{bar:?}");
    let again = bench.run(&["init", "./train"]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("--force"), "{again:?}");
    assert_eq!(bench.read("study.yaml"), text);
    assert_eq!(bench.run(&["init", "./train", "--force"]).code, 0);
    bench.write("slow.py", "import time; time.sleep(1000)\n");
    let slow = bench.run(&[
        "init",
        "slow.py",
        "--timeout",
        "1",
        "-o",
        "-",
        "--python",
        "python3",
    ]);
    assert_eq!(slow.code, 2, "{slow:?}");
    assert!(slow.stderr.contains("--timeout"), "{slow:?}");
    assert_eq!(bench.run(&["init", "not-there"]).code, 2);
}

#[test]
fn every_refused_change_has_a_line_of_its_own() {
    let bench = Bench::new();
    let rest = "shell: true\ncommand: \"echo '{\\\"val_loss\\\": 1}'\"\nmetrics: json\nparameters: {a: 1, b: 2}\n";
    study(&bench, rest);
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    study(&bench, &rest.replace("a: 1, b: 2", "a: 2, b: 3"));
    let refused = bench.run(&["run", "study.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let lines = refused
        .stderr
        .lines()
        .filter(|l| l.trim_start().starts_with("- "))
        .count();
    assert_eq!(lines, 2, "{refused:?}");
}

#[test]
fn where_there_is_python3_and_no_python_it_is_said_before_any_trial() {
    let bench = Bench::new();
    let bin = bench.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let python = bin.join("python3");
    let help = "#!/bin/sh\necho '  --lr LR  learning rate (default: 0.001)'\n";
    std::fs::write(&python, help).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.write("train.py", "");
    let hpo = |arguments: &[&str]| {
        let mut command = bench.hpo(arguments);
        let output = command.env("PATH", &bin).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let study = "program: train.py\nmethod: random\nmetric: {name: loss}\nrun_cap: 1\n\
                 parameters: {lr: {values: [1, 2]}}\n";
    bench.write("study.yaml", study);
    let [_, words] = hpo(&["check", "study.yaml"]);
    let warning = "warning: there is no `python` on the PATH: trials cannot be started; there is `python3`: write \
                   `python: python3`";
    assert!(words.contains(warning), "{words}");
    for other in ["python: python3\n", "env: {PATH: /opt/bin}\n"] {
        bench.write("study.yaml", &(study.to_owned() + other));
        let [_, words] = hpo(&["check", "study.yaml"]);
        assert!(!words.contains("PATH"), "{other}: {words}");
    }
    let [proposal, _] = hpo(&["init", "train.py", "-o", "-"]);
    assert!(proposal.contains("\npython: \"python3\"\n"), "{proposal}");
}
