// How the numbers came about.
section("making", (data, place) => {
  const facts = [
    ["method", data.method + ", seed " + data.seed], ["objective", report.study.metric + ", " + report.study.goal],
    ["caps", [data.run_cap === null ? null : data.run_cap + " trials", data.time_cap_s === null ? null : seconds(data.time_cap_s)].filter(Boolean).join(", ") || "none"],
    ["begun", data.opened.replace("T", " ").replace(/\.\d+Z/, " UTC")], ["ran", report.study.ran + " in " + data.sessions + (data.sessions === 1 ? " session" : " sessions")],
    ["how it stands", report.study.sentence], ["hpo", data.hpo_version === data.report_version ? data.hpo_version : data.hpo_version + " began it, " + data.report_version + " made this report"],
  ];
  place.append(el("dl", {}, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  if (data.failures.length) {
    place.append(el("h3", {}, "What failed"));
    table(place, { rows: data.failures, link: f => select(f.trials[0]), columns: [
      { words: "trials", number: true, cell: f => String(f.count), key: f => f.count }, { words: "reason", cell: f => f.reason.replace("_", " ") },
      { words: "evidence", wrap: true, cell: f => f.detail }, { words: "which", cell: f => f.trials.join(", ") + (f.count > f.trials.length ? ", …" : "") },
    ] });
  } else place.append(el("p", { class: "dim" }, "No trial failed."));
  const text = data.study_file ?? JSON.stringify(data.spec, null, 2);
  const button = el("button", { type: "button" }, "copy");
  button.addEventListener("click", () => copy(text, button));
  place.append(el("details", {}, el("summary", {}, data.study_file ? "The study file" : "The study"), el("div", { class: "tools" }, button), el("pre", { tabindex: "0" }, text)));
});
