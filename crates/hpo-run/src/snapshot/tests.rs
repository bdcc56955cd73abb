use std::process::Command;

use hpo_study::CommandJob;

use super::*;

fn job(program: &str) -> Job {
    Job::Command(CommandJob {
        program: Some(program.to_owned()),
        command: vec!["${interpreter}".into(), "${program}".into()],
        shell: false,
        python: None,
        cwd: None,
        env: BTreeMap::new(),
        groups: Vec::new(),
        metrics: Vec::new(),
    })
}

fn look(dir: &Path, study_file: Option<&Path>) -> Code {
    let place = Place {
        work_dir: dir,
        runs: &dir.join("runs"),
        study_file,
    };
    Code::look(&job("train.sh"), "1", &place)
}

fn git(dir: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"];
    let mut command = Command::new("git");
    let output = command
        .args(identity)
        .args(arguments)
        .current_dir(dir)
        .output();
    let output = output.expect("git is there");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_git_the_program_is_what_counts() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train.sh"), "echo 1").unwrap();
    let first = look(dir.path(), None);
    assert_eq!(first.program, [dir.path().join("train.sh")]);
    assert_eq!(first.commit, None);
    fs::write(dir.path().join("model.py"), "not named, and no repository").unwrap();
    assert_eq!(look(dir.path(), None).checksum, first.checksum);
    fs::write(dir.path().join("train.sh"), "echo 2").unwrap();
    assert_ne!(look(dir.path(), None).checksum, first.checksum);
    first.keep(&dir.path().join("kept")).unwrap();
    let kept = dir
        .path()
        .join(format!("kept/code-{}/program/train.sh", first.checksum));
    assert_eq!(fs::read_to_string(kept).unwrap(), "echo 1");
}

#[test]
fn a_repository_is_kept_as_commit_changes_and_new_files_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = &fs::canonicalize(dir.path()).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    git(dir, &["init", "-q"]);
    for (name, text) in [
        ("train.sh", "echo 1\n"),
        ("study.yaml", "run_cap: 3\n"),
        (".gitignore", "secret*\n"),
    ] {
        write(name, text);
    }
    git(dir, &["add", "."]);
    git(dir, &["commit", "-qm", "x"]);
    let study_file = dir.join("study.yaml");
    let clean = look(dir, Some(&study_file));
    assert!(clean.commit.is_some() && !clean.dirty, "{clean:?}");

    // Neither what trials leave behind nor a raised cap is a change of the code.
    write("runs/a/study.db", "x");
    write("study.yaml", "run_cap: 9\n");
    write("out/model.pt", "weights");
    write("secret.py", "token");
    let same = look(dir, Some(&study_file));
    assert_eq!(same.checksum, clean.checksum);
    assert_eq!(same.untracked, [Path::new("out/model.pt")]);

    write("train.sh", "echo 2\n");
    write("lib/new.py", "x = 1\n");
    write("lib/big.py", &"x".repeat(2 << 20));
    std::os::unix::fs::symlink("/etc/hostname", dir.join("link.py")).unwrap();
    let index = fs::read(dir.join(".git/index")).unwrap();
    let changed = look(dir, Some(&study_file));
    assert!(changed.dirty && changed.checksum != clean.checksum);
    assert_eq!(fs::read(dir.join(".git/index")).unwrap(), index);
    assert!(
        changed
            .left_out
            .iter()
            .any(|why| why.starts_with("lib/big.py"))
    );
    assert!(!changed.untracked.contains(&"link.py".into()));

    let kept = tempfile::tempdir().unwrap();
    changed.keep(kept.path()).unwrap();
    let kept = kept.path().join(format!("code-{}", changed.checksum));
    let diff = fs::read_to_string(kept.join("changes.diff")).unwrap();
    assert!(
        diff.contains("+echo 2") && !diff.contains("run_cap"),
        "{diff}"
    );
    assert_eq!(
        fs::read_to_string(kept.join("untracked/lib/new.py")).unwrap(),
        "x = 1\n"
    );
    assert!(!kept.join("untracked/secret.py").exists());
}

#[test]
fn only_a_python_is_asked_for_its_version() {
    for (word, yes) in [
        ("python", true),
        ("python3.12", true),
        ("/opt/v/bin/python3", true),
        ("pythonista", false),
        ("train.py", false),
        ("bash", false),
    ] {
        assert_eq!(is_python(word), yes, "{word}");
    }
}
