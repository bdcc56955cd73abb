//! The promises of docs/safety.md, from outside: no shell, no secrets on the disk, nobody else's files, nothing for
//! terminals and browsers to obey.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::bench::{Bench, Ended, count, shell_study, study_directory, wait_for};

/// Texts that a shell, a parser of options, a terminal or a browser would make something of.
const HOSTILE: [&str; 11] = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "a\ntouch pwned",
    "-rf",
    "--help",
    "${HOME} ${trial} $((1+1)) *?[a]",
    "</script><script>alert(1)</script>",
    "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m",
    "\u{202e}gnp.exe\u{2066}\u{200f}",
];

/// The texts as a list in YAML, which has no bare C1 characters.
fn quoted() -> String {
    let json = serde_json::to_string(&HOSTILE).unwrap();
    json.replace('\u{9b}', "\\u009b")
}

/// Every file and directory below one.
fn everything(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![below.to_owned()];
    while let Some(path) = left.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        found.push(path);
    }
    found
}

fn nothing_was_run(bench: &Bench) {
    let pwned = everything(bench.path())
        .into_iter()
        .find(|path| path.ends_with("pwned"));
    assert_eq!(pwned, None);
}

/// A grid over the hostile texts for a script that writes down its arguments, each ended by a NUL.
fn arguments_study(bench: &Bench, command: &str, more: &str) {
    let values = quoted();
    bench.write(
        "$(touch pwned).sh",
        "printf '%s\\0' \"$@\" > \"$HPO_TRIAL_DIR/arguments\"\nprintf '%s' \"$V\" > \"$HPO_TRIAL_DIR/v\"\n\
         echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n",
    );
    bench.write(
        "study.yaml",
        &format!(
            "name: shell\nprogram: $(touch pwned).sh\ncommand: [{command}]\nmethod: grid\nmetric: {{name: loss}}\n\
             parameters:\n  x: {{values: {values}}}\n  \"-n $(touch pwned) é\": 1\n{more}"
        ),
    );
}

/// What each trial's script was given.
fn given(bench: &Bench, trial: usize) -> Vec<String> {
    let file = study_directory(bench, "shell").join(format!("trials/{trial}/arguments"));
    let text = String::from_utf8(fs::read(file).unwrap()).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// A way to hand over arguments, and what becomes of a value of `x` in it.
type Style<'a> = (&'a str, &'a dyn Fn(&str) -> Vec<String>);

#[test]
fn no_shell_reads_what_a_study_says() {
    const NAME: &str = "-n $(touch pwned) é";
    let styles: [Style; 9] = [
        ("${args}", &|x| {
            vec![format!("--{NAME}=1"), format!("--x={x}")]
        }),
        ("${args_no_boolean_flags}", &|x| {
            vec![format!("--{NAME}=1"), format!("--x={x}")]
        }),
        ("${args_no_hyphens}", &|x| {
            vec![format!("{NAME}=1"), format!("x={x}")]
        }),
        ("${args_no_equals}", &|x| {
            vec![format!("--{NAME}"), "1".into(), "--x".into(), x.into()]
        }),
        ("${args_single_hyphen}", &|x| {
            vec![format!("-{NAME}"), "1".into(), "-x".into(), x.into()]
        }),
        ("${args_append_hydra}", &|x| {
            vec![format!("+{NAME}=1"), format!("+x={x}")]
        }),
        ("${args_override_hydra}", &|x| {
            vec![format!("++{NAME}=1"), format!("++x={x}")]
        }),
        ("${param:x}", &|x| vec![x.into()]),
        ("--out=a${param:x}b", &|x| vec![format!("--out=a{x}b")]),
    ];
    for (style, wanted) in styles {
        let bench = Bench::new();
        let command = format!("sh, \"${{program}}\", \"{style}\"");
        arguments_study(&bench, &command, "env: {V: \"<${param:x}>\"}\n");
        let ended = bench.run(&["run", "study.yaml"]);
        assert_eq!(ended.code, 0, "{style}: {ended:?}");
        for (trial, value) in HOSTILE.iter().enumerate() {
            assert_eq!(given(&bench, trial), wanted(value), "{style}");
            let v = format!("runs/shell/trials/{trial}/v");
            assert_eq!(bench.read(&v), format!("<{value}>"));
            let file = bench.read(&format!("runs/shell/trials/{trial}/params.json"));
            let json: Json = serde_json::from_str(&file).unwrap();
            assert_eq!((&json["x"], &json[NAME]), (&(*value).into(), &1.into()));
        }
        nothing_was_run(&bench);
    }
    for style in ["${args_json}", "${args_json_file}"] {
        let bench = Bench::new();
        arguments_study(&bench, &format!("sh, \"${{program}}\", \"{style}\""), "");
        let ended = bench.run(&["run", "study.yaml"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        for (trial, value) in HOSTILE.iter().enumerate() {
            let given = given(&bench, trial);
            let [argument] = given.as_slice() else {
                panic!("{given:?}");
            };
            let text = match style {
                "${args_json}" => argument.clone(),
                _ => fs::read_to_string(argument).unwrap(),
            };
            let json: Json = serde_json::from_str(&text).unwrap();
            assert_eq!(json["x"], **value);
        }
        nothing_was_run(&bench);
    }
}

#[test]
fn a_shell_that_was_asked_for_reads_no_value_either() {
    let bench = Bench::new();
    arguments_study(&bench, "x", "shell: true\n");
    let command = "command: sh \"${program}\" ${args} ${param:x} \"in ${param:x}\"\n";
    let text = bench
        .read("study.yaml")
        .replace("command: [x]\n", command)
        .replace("${program}", "./$(touch pwned).sh");
    // The program's name is the user's own word in the shell's text: here it is quoted.
    let text = text.replace("\"./$(touch pwned).sh\"", "'./$(touch pwned).sh'");
    bench.write("study.yaml", &text);
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for (trial, value) in HOSTILE.iter().enumerate() {
        // A parameter that is named elsewhere in the command is not among the arguments again.
        let wanted = [
            "---n $(touch pwned) é=1".to_owned(),
            (*value).to_owned(),
            format!("in {value}"),
        ];
        assert_eq!(given(&bench, trial), wanted);
    }
    nothing_was_run(&bench);
}

#[test]
fn what_is_longer_than_the_system_allows_fails_alone_and_says_what_to_do() {
    let bench = Bench::new();
    let long = "v".repeat(400_000);
    let more = |command: &str| {
        format!(
            "name: shell\nprogram: trial.sh\ncommand: [sh, \"${{program}}\", \"{command}\"]\nmethod: grid\n\
             metric: {{name: loss}}\nfailure: {{crash_retries: 0}}\nparameters: {{x: {{values: [{long}, b]}}}}\n"
        )
    };
    bench.write("trial.sh", "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n");
    bench.write("study.yaml", &more("${args}"));
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "the other trial completes: {ended:?}");
    assert!(ended.stderr.contains("Argument list too long"), "{ended:?}");
    assert!(ended.stderr.contains("${args_json_file}"), "{ended:?}");
    assert!(ended.stderr.len() + ended.stdout.len() < 10_000);
    let trials = bench.trials();
    assert_eq!(trials[0]["reason"], "not_started");
    assert_eq!(count(&trials, "completed"), 1);
    for page in [&["trials"][..], &["trial", "0"], &["check", "study.yaml"]] {
        let ended = bench.run(page);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.len() < 20_000, "{page:?}");
    }
    bench.write("study.yaml", &more("${args_json_file}"));
    let ended = bench.run(&["run", "study.yaml", "--dir", "other"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.json(&["trials", "-f", "json", "--dir", "other"]);
    assert_eq!(count(trials.as_array().unwrap(), "completed"), 2);
    let variable = format!("env: {{BIG: {long}}}\n");
    bench.write("study.yaml", &(more("${args_json_file}") + &variable));
    let ended = bench.run(&["run", "study.yaml", "--dir", "third"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("long variables"), "{ended:?}");
}

#[test]
fn secrets_of_the_environment_are_nowhere_on_the_disk() {
    const SECRET: &str = "hunter2-9f8e7d6c";
    let bench = Bench::new();
    let script = "[ ${#SECRET_TOKEN} = 16 ] && [ \"$KEY\" = \"$SECRET_TOKEN\" ] || exit 9\n\
                  [ \"$1\" = \"--key=$SECRET_TOKEN\" ] || exit 8\n\
                  echo \"[hpo] {\\\"step\\\": 1, \\\"loss\\\": 0.5}\"\n\
                  case \"$2\" in *a) echo broken >&2; exit 3;; *b) kill -9 $$;; *c) exit 75;; esac\n";
    shell_study(&bench, script, "");
    let text = "name: shell\nprogram: trial.sh\n\
        command: [sh, \"${program}\", \"--key=${envvar:SECRET_TOKEN}\", \"${args}\"]\n\
        env: {KEY: \"${envvar:SECRET_TOKEN}\"}\nmethod: grid\nmetric: {name: loss}\n\
        parameters: {kind: {values: [a, b, d, e]}}\nfailure: {crash_retries: 1, stop_after_consecutive: 0}\n\
        notify: {on: [done, failed, new_best], command: [sh, -c, \"exit 1\", \"${envvar:SECRET_TOKEN}\"], webhook: \"http://127.0.0.1:1/${envvar:SECRET_TOKEN}\"}\n";
    bench.write("study.yaml", text);
    let output = bench
        .hpo(&["-vv", "run", "study.yaml"])
        .env("SECRET_TOKEN", SECRET)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let trials = bench.trials();
    assert_eq!(
        (count(&trials, "completed"), count(&trials, "failed")),
        (2, 2),
        "{said}"
    );
    for arguments in [
        &["report"][..],
        &["trial", "0"],
        &["trial", "1", "-f", "json"],
        &["best", "-f", "args"],
        &["check", "study.yaml"],
    ] {
        let output = bench
            .hpo(arguments)
            .env("SECRET_TOKEN", SECRET)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!shown.contains(SECRET), "{arguments:?}: {shown}");
    }
    assert!(!said.contains(SECRET), "{said}");
    let files: Vec<PathBuf> = everything(&study_directory(&bench, "shell"))
        .into_iter()
        .filter(|path| path.is_file())
        .collect();
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
        assert!(!found, "{} has the secret", file.display());
    }
}

/// Starts the program through a shell that sets something first (`umask 000`, `ulimit -t 60`).
fn under(bench: &Bench, first: &str, arguments: &[&str]) -> Command {
    let hpo = bench.hpo(arguments);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{first} && exec \"$0\" \"$@\"")])
        .arg(hpo.get_program())
        .args(arguments)
        .current_dir(bench.path())
        .stdin(Stdio::null());
    shell
}

/// What in a study's directory others than its owner may do something with.
fn open_to_others(study: &Path) -> Vec<(PathBuf, u32)> {
    let modes = everything(study).into_iter().map(|path| {
        let mode = path.symlink_metadata().unwrap().mode() & 0o777;
        (path, mode)
    });
    modes.filter(|(_, mode)| mode & 0o077 != 0).collect()
}

#[test]
fn a_study_is_its_owners_alone_whatever_the_umask() {
    for mask in ["000", "077"] {
        let bench = Bench::new();
        let script = "echo \"[hpo] {\\\"step\\\": 1, \\\"loss\\\": 0.5}\"\n\
                      [ $HPO_TRIAL != 1 ] || exit 3\nwhile [ ! -e go ]; do sleep 0.02; done\n";
        shell_study(
            &bench,
            script,
            "run_cap: 3\ncpu: {max_parallel: 1}\nfailure: {crash_retries: 1}",
        );
        let study = study_directory(&bench, "shell");
        let mut command = under(&bench, &format!("umask {mask}"), &["run", "study.yaml"]);
        let mut running = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("a process", || {
            study.join("trials/0/process.1.json").exists()
        });
        assert_eq!(bench.run(&["set", "0", "x=0.25"]).code, 0);
        let told = study.join("trials/0/control.json");
        assert!(told.exists());
        assert_eq!(open_to_others(&study), [], "umask {mask}, while it runs");
        fs::write(bench.path().join("go"), "").unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(0));
        let mut again = under(&bench, &format!("umask {mask}"), &["report"]);
        assert!(again.output().unwrap().status.success());
        assert_eq!(open_to_others(&study), [], "umask {mask}, at the end");
        for name in [
            "study.db",
            "log.jsonl",
            "control",
            "best.yaml",
            "report.html",
            "trials/2",
        ] {
            let mode = study.join(name).metadata().unwrap().mode() & 0o777;
            assert_eq!(mode & 0o600, 0o600, "{name} is of use to its owner");
        }
        // What people ask for elsewhere is as their umask has it.
        let out = bench.path().join("out.html");
        let mut command = under(
            &bench,
            &format!("umask {mask}"),
            &["report", "-o", "out.html"],
        );
        assert!(command.output().unwrap().status.success());
        let wanted = if mask == "000" { 0o666 } else { 0o600 };
        assert_eq!(out.metadata().unwrap().mode() & 0o777, wanted);
    }
}

#[test]
fn a_study_that_was_open_to_others_is_closed_to_them() {
    let bench = Bench::new();
    shell_study(&bench, "echo '[hpo] {\"loss\": 1}'\n", "run_cap: 1");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let study = study_directory(&bench, "shell");
    for path in [study.clone(), study.join("study.db"), study.join("control")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(open_to_others(&study), []);
}

/// A refusal: exit code 4, and words that name the path and say what to do.
fn refused(ended: &Ended, path: &str) {
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains(path), "{path}: {ended:?}");
    assert!(ended.stderr.contains("symbolic link"), "{ended:?}");
}

#[test]
fn links_in_place_of_a_study_or_its_files_are_refused() {
    let bench = Bench::new();
    shell_study(&bench, "echo '[hpo] {\"loss\": 1}'\n", "run_cap: 1");
    let elsewhere = bench.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir(bench.path().join("runs")).unwrap();
    let study = study_directory(&bench, "shell");
    symlink(&elsewhere, &study).unwrap();
    refused(&bench.run(&["run", "study.yaml"]), "runs/shell");
    fs::remove_file(&study).unwrap();
    fs::create_dir(&study).unwrap();
    for name in [
        "study.db",
        "study.db-wal",
        "lock",
        "log.jsonl",
        "trials",
        "control",
        "wardens",
        "report.html",
    ] {
        symlink(elsewhere.join("victim"), study.join(name)).unwrap();
        refused(&bench.run(&["run", "study.yaml"]), name);
        fs::remove_file(study.join(name)).unwrap();
    }
    assert_eq!(
        fs::read_dir(&elsewhere).unwrap().count(),
        0,
        "nothing was written there"
    );
    // The directory above may be one: that is how runs are kept on another disk.
    fs::remove_dir_all(bench.path().join("runs")).unwrap();
    symlink(&elsewhere, bench.path().join("runs")).unwrap();
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert!(elsewhere.join("shell/study.db").exists());
}

#[test]
fn a_trial_does_not_run_in_a_directory_that_is_a_link() {
    let bench = Bench::new();
    // The first trial puts a link where the second is to be.
    let script = "[ $HPO_TRIAL != 0 ] || ln -s \"$PWD/elsewhere\" \"$HPO_TRIAL_DIR/../1\"\n\
                  echo '[hpo] {\"loss\": 1}'\n";
    shell_study(
        &bench,
        script,
        "run_cap: 3\ncpu: {max_parallel: 1}\nfailure: {crash_retries: 0}",
    );
    let elsewhere = bench.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{ended:?}");
    refused(&ended, "trials/1");
    let link = study_directory(&bench, "shell").join("trials/1");
    fs::remove_file(link).unwrap();
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "removed, it goes on: {ended:?}");
    assert_eq!(count(&bench.trials(), "completed"), 3);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

/// Files that would take all memory, time or patience, with a word of the refusal.
fn bombs() -> Vec<(&'static str, String, &'static str)> {
    let head = |method: &str, rest: &str| {
        format!("program: t.sh\nmethod: {method}\nmetric: {{name: loss}}\n{rest}")
    };
    let one = "parameters: {x: {min: 0.0, max: 1.0}}\n";
    let study = |rest: &str| head("random", &format!("run_cap: 2\n{rest}"));
    let with = |rest: &str| study(&format!("{one}{rest}"));
    let parameters = |n: usize| {
        let list: String = (0..n)
            .map(|i| format!("  p{i}: {{min: 0, max: 1}}\n"))
            .collect();
        study(&format!("parameters:\n{list}"))
    };
    let grid = |n: usize, of: &str| {
        let list: Vec<String> = (0..n).map(|i| format!("p{i}: {of}")).collect();
        head("grid", &format!("parameters: {{{}}}\n", list.join(", ")))
    };
    let lol = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n";
    vec![
        ("aliases", with(lol), "anchors"),
        ("merge", study("parameters: {x: {<<: {min: 0}, max: 1}}\n"), "merge keys"),
        ("tag", study("parameters: {x: !!python/object/apply:os.system [touch pwned]}\n"), "tags"),
        ("lists", study(&format!("parameters: {}\n", "[".repeat(400_000))), "nested too deeply"),
        ("maps", study(&format!("parameters: {}\n", "{a: ".repeat(100_000))), "nested too deeply"),
        ("blocks", (0..1000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(), "nested too deeply"),
        ("large", with(&format!("description: {}\n", "x".repeat(5 << 20))), "larger than 1 MiB"),
        ("million", parameters(1_000_000), "larger than 1 MiB"),
        ("many", parameters(20_000), "too many values"),
        ("values", study(&format!("parameters: {{x: {{values: [{}]}}}}\n", "1,".repeat(200_000))), "too many values"),
        ("runs", with("").replace("run_cap: 2", "run_cap: 1e30"), "run_cap"),
        ("parallel", with("cpu: {max_parallel: 1000000000}\n"), "max_parallel"),
        ("retries", with("failure: {crash_retries: 4294967296}\n"), "crash_retries"),
        ("seed", with("seed: 1e300\n"), "seed"),
        ("time", with("time_cap: 1e300\n"), "ten years"),
        ("grace", with("stop_grace: 999999999999h\n"), "ten years"),
        ("name", with(&format!("name: {}\n", "n".repeat(1_000_000))), "at most 100"),
        ("name-path", with("name: ../../etc\n"), "becomes a directory"),
        ("key", study(&format!("parameters: {{\"{}\": 1}}\n", "k".repeat(900_000))), "error"),
        ("points", grid(12, "{min: 1, max: 10}"), "grid has more than"),
        ("range", grid(1, "{min: 1, max: 1000000000000}"), "grid has more than"),
        ("words", study("parameters: {x: 'range(0.0, 1e12, 0.001)'}\n"), "too long"),
        ("q", grid(1, "{min: 0.0, max: 1.0, q: 1.0e-300}"), "too small"),
        ("regex", with("metrics: {loss: '((a{1000}){1000}){1000}(b)'}\n"), "regular expression"),
        ("eta", with("early_terminate: {type: asha, min_iter: 1, max_iter: 9007199254740992, eta: 1.0000001}\n"), "eta"),
        (
            "trainer",
            "trainer: {model: mlp, hidden: [1000000000], dataset: digits, epochs: 3}\nmethod: random\n\
             metric: {name: val_loss}\nrun_cap: 1\nrecipe: {optimizers: [sgd]}\n"
                .to_owned(),
            "hidden",
        ),
        (
            "device",
            "trainer: {model: mlp, dataset: {csv: /dev/zero, target: y}, epochs: 1}\nmethod: random\n\
             metric: {name: val_loss}\nrun_cap: 1\nrecipe: {optimizers: [sgd]}\n"
                .to_owned(),
            "no plain file",
        ),
    ]
}

#[test]
fn study_files_that_are_bombs_are_refused_in_little_time_and_memory() {
    let bench = Bench::new();
    for (name, text, word) in bombs() {
        let file = format!("{name}.yaml");
        bench.write(&file, &text);
        for command in ["check", "run"] {
            // Seconds of CPU and KiB of address space; what breaks them dies of a signal.
            let limits = "ulimit -t 60 && ulimit -v 1000000";
            let output = under(&bench, limits, &[command, &file]).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            let shown: String = stderr.chars().take(2000).collect();
            assert_eq!(output.status.code(), Some(2), "{name}: {shown}");
            assert!(stderr.contains(word), "{name}: {shown}");
            assert!(
                stderr.len() < 5000,
                "{name}: {} bytes of words",
                stderr.len()
            );
        }
    }
    assert!(!bench.path().join("runs").exists(), "nothing was begun");
    nothing_was_run(&bench);
}

/// A study whose names, values, metrics and last words are all hostile.
fn hostile_study(bench: &Bench) {
    let metrics: Vec<String> = HOSTILE
        .iter()
        .map(|name| format!("{}: 1", serde_json::to_string(name).unwrap()))
        .collect();
    let report = format!("{{\"step\": 1, \"loss\": 0.5, {}}}", metrics.join(", "));
    bench.write("report", &format!("[hpo] {report}\n"));
    bench.write(
        "words",
        "\u{1b}]0;title\u{7}\u{1b}[2J\u{202e} </script><script>alert(2)</script> \u{1b}[31m\n",
    );
    bench.write(
        "trial.sh",
        "cat report; cat words; cat words >&2; [ $HPO_TRIAL -gt 3 ] || exit 3\n",
    );
    let values = quoted();
    let text = serde_json::to_string(HOSTILE[8]).unwrap();
    bench.write(
        "study.yaml",
        &format!(
            "name: shell\nprogram: trial.sh\ncommand: [sh, trial.sh]\nmethod: grid\nmetric: {{name: loss}}\n\
             description: {text}\nfailure: {{crash_retries: 0, stop_after_consecutive: 0}}\n\
             parameters:\n  x: {{values: {values}}}\n  \"</script><b>\": {{values: [1, 2]}}\n"
        ),
    );
}

#[test]
fn terminals_and_browsers_are_given_nothing_to_obey() {
    let bench = Bench::new();
    hostile_study(&bench);
    let mut shown = vec![("run", bench.run(&["run", "study.yaml"]))];
    assert_eq!(shown[0].1.code, 0, "{:?}", shown[0].1);
    for arguments in [
        &["check", "study.yaml"][..],
        &["status"],
        &["trials"],
        &["trials", "--best"],
        &["trial", "0"],
        &["trial", "9"],
        &["prune-runs"],
        &["run", "study.yaml"],
    ] {
        shown.push((arguments[0], bench.run(arguments)));
    }
    for (command, ended) in &shown {
        assert_eq!(ended.code, 0, "{command}: {ended:?}");
        for text in [&ended.stdout, &ended.stderr] {
            let strange = |c: char| {
                (c.is_control() && c != '\n')
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            let found: BTreeSet<char> = text.chars().filter(|c| strange(*c)).collect();
            assert!(found.is_empty(), "{command} prints {found:?}: {text:?}");
        }
    }
    // As many scripts as in the report of a study without any such words.
    let scripts = |page: &str| {
        let page = page.to_lowercase();
        (
            page.matches("<script").count(),
            page.matches("</script").count(),
        )
    };
    let page = bench.read("runs/shell/report.html");
    let plain = Bench::new();
    shell_study(&plain, "echo '[hpo] {\"loss\": 1}'\n", "run_cap: 2");
    assert_eq!(plain.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(
        scripts(&page),
        scripts(&plain.read("runs/shell/report.html"))
    );
    assert!(
        !page.contains("<b>\"") && !page.contains('\u{1b}'),
        "names are no elements"
    );
    // Programs get everything as it is.
    let trials = bench.trials();
    let values: BTreeSet<&str> = trials
        .iter()
        .filter_map(|t| t["params"]["x"].as_str())
        .collect();
    assert_eq!(values, BTreeSet::from(HOSTILE));
}

#[test]
fn what_a_trial_left_in_place_of_its_files_is_not_waited_for() {
    let bench = Bench::new();
    // A pipe where the metrics are to be, a device where checkpoints are, a link out of them.
    let script = "mkfifo \"$HPO_METRICS_FILE\"\nln -s /dev/zero \"$HPO_CHECKPOINT_DIR/zero\"\n\
                  ln -s \"$PWD/precious\" \"$HPO_CHECKPOINT_DIR/link\"\n\
                  echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n";
    fs::create_dir(bench.path().join("precious")).unwrap();
    bench.write("precious/file", "x");
    shell_study(
        &bench,
        script,
        "run_cap: 3\nkeep_checkpoints: none\ndisk_budget: 1GiB",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(count(&bench.trials(), "completed"), 3);
    assert_eq!(bench.run(&["prune-runs", "--yes"]).code, 0);
    assert_eq!(bench.read("precious/file"), "x");
}

#[test]
fn what_a_trial_left_in_place_of_its_files_is_told_once_and_ends_no_study() {
    let bench = Bench::new();
    bench.write("precious", "x");
    // Each of the first trials leaves something else, and fails; the second attempt finds it.
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nsleep 0.5\n\
                  if [ $HPO_ATTEMPT$HPO_TRIAL = 10 ]; then mkdir \"$HPO_METRICS_FILE\"; exit 1; fi\n\
                  if [ $HPO_ATTEMPT$HPO_TRIAL = 11 ]; then\n\
                  cd \"$HPO_TRIAL_DIR\"; rm stdout.log; ln -s ../../../../precious stdout.log; exit 1; fi\n\
                  [ $HPO_TRIAL != 0 ] || sleep 0.5\n";
    shell_study(&bench, script, "run_cap: 3");
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 2, "{trials:#?}");
    assert_eq!(trials[1]["reason"], "not_started", "{trials:#?}");
    let told = ended.stderr.matches("it is no plain file").count();
    assert!((1..=2).contains(&told), "once per process: {ended:?}");
}

#[test]
fn requests_of_no_sense_hurt_nobody() {
    let bench = Bench::new();
    let script =
        "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nwhile [ ! -e go ]; do sleep 0.02; done\n";
    shell_study(&bench, script, "run_cap: 2\ncpu: {max_parallel: 1}");
    let running = bench.start(&["run", "study.yaml"]);
    let study = study_directory(&bench, "shell");
    wait_for("a process", || {
        study.join("trials/0/process.1.json").exists()
    });
    let control = study.join("control");
    let large = "x".repeat(1 << 20);
    for (i, text) in ["", "{", "\u{0}\u{1}", "{\"set\": 1}", &large, "[[[[[[[["]
        .iter()
        .enumerate()
    {
        fs::write(control.join(format!("{i}.ask")), text).unwrap();
        let answer = control.join(format!("{i}.answer"));
        wait_for("an answer", || answer.exists());
        let json: Json = serde_json::from_str(&fs::read_to_string(answer).unwrap()).unwrap();
        assert!(json["refused"].is_object(), "{json}");
    }
    nix::unistd::mkfifo(&control.join("pipe.ask"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", control.join("link.ask")).unwrap();
    fs::create_dir(control.join("directory.ask")).unwrap();
    // It still listens.
    assert_eq!(bench.run(&["set", "--run-cap", "1"]).code, 0);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    assert_eq!(bench.trials().len(), 1);
}
