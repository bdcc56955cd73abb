// Draws the page: head, links, then section by section, so that the first can be read while the last are drawn.

const page = document.getElementById("page");

function setTheme(name) {
  const wanted = name ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  if (document.documentElement.dataset.theme === wanted) return;
  document.documentElement.dataset.theme = wanted;
  allFrames.forEach(plot => plot.rebuild());
  tell("theme");
}

(async function start() {
  const asked = new URLSearchParams(location.hash.slice(1));
  let theme = ["light", "dark"].includes(asked.get("theme")) ? asked.get("theme") : null;
  setTheme(theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme));
  // Paper is white.
  addEventListener("beforeprint", () => {
    setTheme("light");
    // Chromium prints of a canvas that is drawn here only its last strokes, unless its pixels are put there as a whole.
    // uPlot draws in a microtask, so this is one too, after its.
    queueMicrotask(() => queueMicrotask(() => {
      for (const canvas of page.querySelectorAll("canvas")) {
        const context = canvas.getContext("2d");
        if (canvas.width && canvas.height) context.putImageData(context.getImageData(0, 0, canvas.width, canvas.height), 0, 0);
      }
    }));
  });
  addEventListener("afterprint", () => setTheme(theme));

  const study = report.study;
  document.body.append(tipBox);
  page.append(el("header", { class: "top" },
    el("h1", {}, study.name),
    study.description ? el("p", {}, short(study.description, 1000)) : null,
    el("p", { class: "dim" }, study.counts + " in " + study.ran + "; " + study.sentence + ". As of " + study.as_of.replace("T", " ").replace(/\.\d+Z/, " UTC") + ".")));

  const titles = JSON.parse(document.getElementById("titles").textContent).filter(([name]) => name in report.sections);
  const toggle = el("button", { type: "button", class: "right", title: "light or dark" }, "◐");
  toggle.setAttribute("aria-label", "light or dark");
  toggle.addEventListener("click", () => { theme = dark() ? "light" : "dark"; setTheme(theme); });
  const brief = { answer: "Answer", choices: "Comparison", progress: "History", map: "Learning rates", curves: "Curves", trial: "One trial", saved: "Saved", importance: "Importance", slices: "Parameters", parallel: "Parallel", trials: "Trials", making: "Making" };
  page.append(el("nav", { "aria-label": "sections" }, titles.map(([name, title]) => el("a", { href: "#" + name }, brief[name] ?? title)), toggle));

  const places = titles.map(([name, title]) => {
    const place = el("div");
    page.append(el("section", { id: name, "aria-label": title }, el("h2", {}, title), place));
    return [name, place];
  });
  page.append(el("footer", {}, "Made by hpo " + (report.sections.making?.report_version ?? "") + ". Drag in a plot to zoom, double-click to go back; click a point or a line to see its trial; arrow keys go from trial to trial."));

  for (const [name, place] of places) {
    try {
      sections.get(name)?.(report.sections[name], place, report);
    } catch (error) {
      errors.push(name + ": " + error + " " + error.stack);
      place.append(el("p", { class: "warn" }, "This section could not be drawn: " + error));
    }
    await new Promise(next => setTimeout(next));
  }

  const wanted = Number(asked.get("trial") ?? NaN);
  select(Number.isInteger(wanted) ? wanted : report.sections.answer?.trial ?? 0, false);
  let waiting = null;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { allFrames.forEach(plot => plot.resize()); tell("theme"); }, 120); });
  if (location.hash.length > 1 && !location.hash.includes("=")) document.getElementById(location.hash.slice(1))?.scrollIntoView();

  document.documentElement.dataset.ready = "1";
})();
