//! `hpo report`, and its page in a real browser.
//!
//! The browser is the one that `HPO_TEST_CHROMIUM` names. Without it those tests say that they were
//! skipped; `HPO_TEST_REQUIRE_ALL=1` makes that a failure. Last run with Chromium 148.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, study_directory, wait_for};

const DIGITS: &str = "\
name: rates
description: Rates up to far too high.
trainer: {model: mlp, hidden: [16], dataset: digits, epochs: 12}
metric: {name: val_loss}
method: sobol
seed: 4
run_cap: 26
parameters:
  optimizer: {values: [adam, momentum]}
  lr: {min: 1e-4, max: 30.0, distribution: log_uniform_values}
  momentum: {when: {optimizer: momentum}, min: 0.5, max: 0.99, distribution: one_minus_log}
  batch_size: {min: 16, max: 64, distribution: int_log_uniform}
early_terminate: {type: asha, min_iter: 4, max_iter: 12, eta: 2}
divergence: {metric: train_loss}
";

/// A script that crashes, spikes and stops being a number, and names things as nobody should.
const EVIL: &str = r#"
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
case $x in
  0.[01]*) printf '\033[31mTraceback\033[0m </script><script>errors.push("evil")</script>\n' >&2; exit 1 ;;
esac
for step in 1 2 3 4 5; do
  echo "[hpo] {\"step\": $((step * 100)), \"loss\": $x, \"a</script><b>\": 1e30, \"minus\": -$step}"
done
case $x in 0.[45]*) echo '[hpo] {"step": 600, "loss": NaN, "minus": -Infinity}' ;; esac
exit 0
"#;

#[test]
fn a_session_leaves_a_report_and_the_command_writes_it_anew() {
    let bench = Bench::new();
    shell_study(
        &bench,
        "echo '[hpo] {\"step\": 1, \"loss\": 1}'\n",
        "run_cap: 3",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("report.html"), "{ended:?}");
    let left = study_directory(&bench, "shell").join("report.html");
    let page = fs::read_to_string(&left).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));

    fs::remove_file(&left).unwrap();
    let again = bench.run(&["report"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{again:?}");
    assert_eq!(
        fs::read_to_string(&left).unwrap(),
        page,
        "nothing happened meanwhile"
    );
    assert_eq!(bench.run(&["report", "-o", "-"]).stdout, page);
    assert_eq!(bench.run(&["report", "-o", "mine.html"]).code, 0);
    assert_eq!(bench.read("mine.html"), page);
    assert_eq!(bench.run(&["report", "-o", "no/such/place.html"]).code, 4);

    let data = bench.json(&["report", "-f", "json"]);
    assert_eq!(
        (&data["version"], &data["study"]["name"]),
        (&1.into(), &"shell".into())
    );
    assert_eq!(data["trials"]["value"].as_array().unwrap().len(), 3);
    let embedded = embedded(&page);
    assert_eq!(embedded, data, "the page shows the same");
}

#[test]
fn a_study_that_failed_has_a_report_too() {
    let bench = Bench::new();
    shell_study(
        &bench,
        "exit 1\n",
        "run_cap: 2\nfailure: {crash_retries: 0}",
    );
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 1);
    let data = bench.json(&["report", "-f", "json"]);
    assert_eq!(data["sections"]["answer"]["trial"], Json::Null);
    assert_eq!(data["sections"]["making"]["failures"][0]["count"], 2);
    assert!(
        study_directory(&bench, "shell")
            .join("report.html")
            .is_file()
    );
    // It cannot be written: a warning, no more.
    let report = study_directory(&bench, "shell").join("report.html");
    fs::remove_file(&report).unwrap();
    fs::create_dir(&report).unwrap();
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("warning") && ended.stderr.contains("report"),
        "{ended:?}"
    );
}

#[test]
fn a_report_of_the_digits_is_drawn_and_can_be_used() {
    let Some(browser) = browser() else { return };
    let bench = Bench::new();
    bench.write("study.yaml", DIGITS);
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = study_directory(&bench, "rates").join("report.html");
    let seen = open(&bench, &browser, &report, "theme=light");
    check(
        &seen,
        &[
            ("choices", 1),
            ("progress", 1),
            ("map", 1),
            ("curves", 1),
            ("trial", 8),
            ("slices", 4),
            ("parallel", 1),
        ],
    );
    let drawn = &seen["drawn"];
    assert_eq!(drawn["trials"]["rows"], 26);
    assert_eq!(
        seen["filtered"],
        serde_json::json!({ "all": 26, "none": 0, "odd": 2 })
    );
    let text = |section: &str| drawn[section]["text"].as_str().unwrap().to_owned();
    assert!(text("answer").contains("torch.optim"), "{}", text("answer"));
    assert!(text("map").contains("lost"), "{}", text("map"));
    assert!(text("saved").contains("steps"), "{}", text("saved"));
    assert!(
        text("importance").contains("momentum"),
        "{}",
        text("importance")
    );
    assert!(
        text("making").contains("Rates up to far too high."),
        "{}",
        text("making")
    );
}

#[test]
fn a_report_with_evil_names_failures_and_broken_numbers_is_harmless() {
    let Some(browser) = browser() else { return };
    let bench = Bench::new();
    shell_study(
        &bench,
        EVIL,
        "run_cap: 30\nfailure: {crash_retries: 0, stop_after_consecutive: 0}\ndescription: '</script><img src=x onerror=errors.push(1)>'",
    );
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let report = study_directory(&bench, "shell").join("report.html");
    let seen = open(&bench, &browser, &report, "theme=dark");
    check(
        &seen,
        &[
            ("progress", 1),
            ("curves", 1),
            ("trial", 3),
            ("slices", 2),
            ("parallel", 1),
        ],
    );
    let making = seen["drawn"]["making"]["text"].as_str().unwrap();
    assert!(making.contains("Traceback </script>"), "{making}");
}

#[test]
fn trials_from_elsewhere_are_marked_as_such() {
    let bench = Bench::new();
    // Worse than what is known from elsewhere, which is not the best of this study all the same.
    shell_study(
        &bench,
        "echo '[hpo] {\"step\": 1, \"loss\": 5}'\n",
        "run_cap: 2",
    );
    bench.write(
        "old.csv",
        "x,kind,loss,state,steps\n0.1,a,1,completed,4\n0.2,b,2,pruned,2\n0.3,a,,failed,\n",
    );
    let told = bench.run(&["import", "study.yaml", "old.csv"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let report = study_directory(&bench, "shell").join("report.html");
    let data = embedded(&fs::read_to_string(&report).unwrap());
    let imported = data["trials"]["imported"].as_array().unwrap();
    assert_eq!(
        imported[1],
        serde_json::json!({ "source": "old.csv", "name": "line 3", "as": "evidence" })
    );
    assert!(imported[3].is_null() && imported.len() == 5);
    let improvements = &data["sections"]["progress"]["improvements"];
    assert_eq!(improvements.as_array().unwrap().len(), 1, "{improvements}");
    assert_eq!(improvements[0]["value"], 5.0);
    assert!(
        data["sections"]["saved"].is_null(),
        "nothing was saved here"
    );

    let Some(browser) = browser() else { return };
    let seen = open(&bench, &browser, &report, "trial=1");
    check(
        &seen,
        &[("progress", 1), ("curves", 1), ("trial", 1), ("slices", 2)],
    );
    let text = |section: &str| {
        seen["drawn"][section]["text"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    for (section, words) in [
        ("progress", "imported: hollow (3)"),
        ("curves", "Dotted: imported"),
        ("trial", "trial 1: pruned, imported"),
        ("trial", "from old.csv, line 3, as evidence"),
        ("slices", "imported ones hollow"),
        ("trials", "completed, imported"),
    ] {
        assert!(
            text(section).contains(words),
            "{section}: {words}: {seen:#}"
        );
    }
}

#[test]
fn a_report_of_a_single_trial_is_drawn() {
    let Some(browser) = browser() else { return };
    let bench = Bench::new();
    shell_study(
        &bench,
        "echo '[hpo] {\"step\": 0, \"loss\": 0}'\n",
        "run_cap: 1",
    );
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let report = study_directory(&bench, "shell").join("report.html");
    let seen = open(&bench, &browser, &report, "trial=0");
    check(
        &seen,
        &[("progress", 1), ("curves", 1), ("trial", 1), ("slices", 2)],
    );
}

/// What the tests above rely on: a request and a script's error would be seen.
#[test]
fn a_request_and_an_error_would_be_seen() {
    let Some(browser) = browser() else { return };
    let bench = Bench::new();
    let page =
        "<!DOCTYPE html><img src='http://probe.invalid/x.png'><script>nothing.at_all()</script>";
    let seen = look(&bench, &browser, page, "");
    assert!(
        seen.asked.iter().any(|r| r.contains("probe.invalid")),
        "{:?}",
        seen.asked
    );
    assert!(seen.words.contains("CONSOLE"), "{}", seen.words);
}

/// The data in a page.
fn embedded(page: &str) -> Json {
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

/// No error, no request, and in each of these sections at least so many plots, none of them empty.
fn check(seen: &Json, plots: &[(&str, u64)]) {
    assert_eq!(seen["errors"], serde_json::json!([]));
    assert_eq!(seen["fetched"], serde_json::json!([]));
    for (section, least) in plots {
        let drawn = &seen["drawn"][section];
        assert!(
            drawn["plots"].as_u64().is_some_and(|n| n >= *least),
            "{section}: {drawn}"
        );
    }
    for (section, drawn) in seen["drawn"].as_object().unwrap() {
        assert_eq!(drawn["blank"], 0, "{section}: {drawn}");
        assert!(
            !drawn["text"]
                .as_str()
                .unwrap()
                .contains("could not be drawn"),
            "{section}: {drawn}"
        );
    }
    let frames = seen["plots"].as_u64().unwrap();
    assert!(
        seen["hovered"]
            .as_u64()
            .is_some_and(|n| n > 0 && n <= frames),
        "keys find trials: {seen}"
    );
}

fn browser() -> Option<PathBuf> {
    let browser = env::var_os("HPO_TEST_CHROMIUM").map(PathBuf::from);
    if browser.is_none() {
        assert!(
            env::var("HPO_TEST_REQUIRE_ALL").as_deref() != Ok("1"),
            "HPO_TEST_CHROMIUM names no browser, and HPO_TEST_REQUIRE_ALL=1 forbids to skip"
        );
        let _ = writeln!(
            std::io::stderr(),
            "skipped: HPO_TEST_CHROMIUM names no browser"
        );
    }
    browser
}

/// Opens a copy of the report, with the script that uses everything on it, in the browser; gives back
/// what the script wrote down.
fn open(bench: &Bench, browser: &Path, report: &Path, hash: &str) -> Json {
    let page = fs::read_to_string(report).unwrap();
    let (before, after) = page.rsplit_once("</body>").unwrap();
    let check = include_str!("report.js");
    let copy = format!("{before}<script>{check}</script></body>{after}");
    let seen = look(bench, browser, &copy, hash);
    let complaints: Vec<&str> = seen
        .words
        .lines()
        .filter(|l| l.contains("CONSOLE"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(
        seen.asked.is_empty(),
        "asked of the network: {:#?}",
        seen.asked
    );
    let result = seen.dom.rsplit_once("id=\"check\">");
    let (_, result) =
        result.unwrap_or_else(|| panic!("it did not get to its end:\n{}", seen.words));
    serde_json::from_str(result.split_once("</script>").unwrap().0).unwrap()
}

/// A process that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What came of opening a page.
struct Seen {
    /// The page as it was in the end.
    dom: String,
    /// What the browser said.
    words: String,
    /// What the page asked the network for.
    asked: Vec<String>,
}

/// Opens a page in the browser. All that it asks the network for goes to a proxy of ours, which answers
/// nothing.
fn look(bench: &Bench, browser: &Path, page: &str, hash: &str) -> Seen {
    let copy = bench.path().join("looked-at.html");
    fs::write(&copy, page).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = listen(Arc::clone(&asked));
    let files = ["dom", "words"].map(|name| bench.path().join(name));
    let [dom, words] = files.each_ref().map(|path| fs::File::create(path).unwrap());
    let child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-quic",
            "--disable-sync",
            "--disable-default-apps",
            "--disable-extensions",
        ])
        .args([
            "--enable-logging=stderr",
            "--window-size=1280,900",
            "--virtual-time-budget=60000",
        ])
        .arg(format!(
            "--user-data-dir={}",
            bench.path().join("browser").display()
        ))
        .arg(format!("--proxy-server=127.0.0.1:{proxy}"))
        .args(["--proxy-bypass-list=<-loopback>", "--dump-dom"])
        .arg(format!("file://{}#{hash}", copy.display()))
        .stdin(Stdio::null())
        .stdout(dom)
        .stderr(words)
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    wait_for("the browser to end", || {
        child.0.try_wait().unwrap().is_some()
    });
    let [dom, words] =
        files.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    let mut asked = asked.lock().unwrap().clone();
    asked.retain(|request| !is_browsers_own(request));
    Seen { dom, words, asked }
}

/// Whether Chromium asks on its own behalf, as it does now and then whatever page is open: its time, its
/// updates, its accounts. (`performance` tells of the page's own requests, wherever they go.)
fn is_browsers_own(request: &str) -> bool {
    let host = request.split_whitespace().nth(1).unwrap_or_default();
    let host = host.trim_start_matches("http://");
    let host = host.split(['/', ':']).next().unwrap_or_default();
    host.is_empty()
        || [
            "clients2.google.com",
            "accounts.google.com",
            "update.googleapis.com",
        ]
        .contains(&host)
        || host.ends_with(".gvt1.com")
        || host == "android.clients.google.com"
}

/// A proxy on a free port, which is given back, that writes down what it is asked for and hangs up.
fn listen(asked: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let mut first = [0; 200];
            let read = { &stream }.read(&mut first).unwrap_or(0);
            let request = String::from_utf8_lossy(&first[..read])
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            asked.lock().unwrap().push(request);
        }
    });
    port
}
