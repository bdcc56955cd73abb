use super::*;
use crate::sample;

fn source(history: &History) -> Source<'_> {
    Source {
        study_file: Some("name: digits\n"),
        ..Source::of(history)
    }
}

#[test]
fn the_data_of_a_study() {
    let history = sample::study();
    let mut data = serde_json::to_value(report(&source(&history))).unwrap();
    // These have snapshots of their own, or change with every version.
    let sections = &mut data["sections"];
    for text in sections["answer"]["exports"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        *text = "…".into();
    }
    sections["making"]["report_version"] = "…".into();
    sections["making"]["spec"] = "…".into();
    insta::assert_json_snapshot!(data);
}

#[test]
fn a_study_without_trials_has_a_page_all_the_same() {
    let history = sample::empty();
    let data = report(&source(&history));
    let names: Vec<&String> = data.sections.keys().collect();
    assert_eq!(names, ["answer", "making"]);
    assert!(page(&source(&history)).ends_with("</html>\n"));
}

#[test]
fn every_column_is_as_long_as_there_are_trials() {
    let history = sample::study();
    let data = serde_json::to_value(report(&source(&history))).unwrap();
    let n = history.trials().len();
    for (name, column) in data["trials"].as_object().unwrap() {
        match column {
            serde_json::Value::Array(rows) => assert_eq!(rows.len(), n, "{name}"),
            serde_json::Value::Object(columns) => {
                for (column, rows) in columns {
                    assert_eq!(rows.as_array().unwrap().len(), n, "{name}.{column}");
                }
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn what_scripts_and_people_name_cannot_leave_the_data() {
    let evil = "</script><script>alert(1)</script>";
    let history = sample::study_with(|spec| {
        spec.name = evil.into();
        spec.description = Some(format!("<img src=x onerror=alert(1)> {evil}"));
        spec.metric.name = "val_accuracy".into();
    });
    let page = page(&source(&history));
    assert!(!page.contains(evil));
    assert!(!page.contains("<img"));
    // The page's own elements, no more: two of data, the library, the scripts.
    assert_eq!(page.matches("</script>").count(), 4);
}

#[test]
fn the_page_names_nothing_outside_of_itself() {
    let history = sample::study();
    let page = page(&source(&history));
    let (before, after) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let data_end = after.find("</script>").unwrap();
    let markup = format!("{before}{}", &after[data_end..]);
    for forbidden in [
        " src=",
        "url(",
        "@import",
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "import(",
    ] {
        assert!(!markup.contains(forbidden), "{forbidden}");
    }
    // Links within the page, and the empty icon.
    for link in markup.split("href=\"").skip(1) {
        assert!(link.starts_with("data:,"), "{}", &link[..20]);
    }
}

/// A study as large as they come: the file stays small enough to be opened and sent.
#[test]
fn ten_thousand_trials_of_a_hundred_reports_stay_below_ten_megabytes() {
    let history = sample::large(10_000, 100);
    let page = page(&source(&history));
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let data: serde_json::Value =
        serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["trials"]["value"].as_array().unwrap().len(), 10_000);
    let curves = data["sections"]["curves"]["trials"].as_array().unwrap();
    assert_eq!(curves.len(), 10_000);
    assert!(curves.iter().all(|c| {
        c["metrics"]["val_accuracy"]["values"]
            .as_array()
            .unwrap()
            .len()
            >= 10
    }));
    // The best ones have everything.
    let best = &curves[history.best().unwrap().id.index()];
    assert_eq!(best["metrics"].as_object().unwrap().len(), 6);
}

/// `failure.trial_time_limit`: neither is it the user's doing, nor a fate that the page has no mark for.
#[test]
fn a_trial_over_its_own_time_limit_is_cut_off_by_time() {
    let mut history = sample::study();
    let is_running = |t: &&hpo_study::Trial| t.state == hpo_study::TrialState::Running;
    let trial = history.trials().iter().find(is_running).unwrap().id;
    let evidence = "it ran for 2h".to_owned();
    let reason = hpo_study::StopReason::TimeLimit { evidence };
    let kind = hpo_study::EventKind::TrialStopped { trial, reason };
    let at = history.last_event();
    history.apply(&hpo_study::Event { at, kind }).unwrap();
    let fates = trials::columns(&source(&history)).fate;
    assert_eq!(fates[trial.index()], "cut_off");
    let script = include_str!("../../assets/page/base.js");
    for fate in fates {
        assert!(script.contains(&format!("\n  {fate}: {{ words:")), "{fate}");
    }
    let counts = crate::status::counts(&history);
    assert!(counts.contains("1 cut off by time"), "{counts}");
}
