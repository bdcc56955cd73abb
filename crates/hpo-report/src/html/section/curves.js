// Training curves of all trials, with what was found in them.
const curveOf = new Map((report.sections.curves?.trials ?? []).map(t => [t.trial, t]));
function points(series) {
  const v = series.values.map(num);
  const steps = Array.isArray(series.steps) ? series.steps : v.map((_, i) => series.steps.from + i * series.steps.by);
  return { steps, v };
}
section("curves", (data, place) => {
  const optimizers = [...new Set((trials.params.optimizer ?? []).filter(o => o !== null).map(String))].sort();
  const hiddenFates = new Set(), hiddenChoices = new Set();
  let metric = report.study.metric, by = optimizers.length > 1 ? "optimizer" : "fate", logX = false, logY = null, whole = false;
  let lines = [];
  const kindX = () => logX ? "log" : "linear", kindY = () => logY ? "log" : "linear";
  function load() {
    lines = data.trials.filter(t => t.metrics[metric]).map(t => ({ trial: t.trial, found: t.findings, rescues: t.rescues, ...points(t.metrics[metric]) }));
    const all = lines.flatMap(l => l.v.filter(Number.isFinite));
    // Losses over several powers of ten are read on a log scale.
    if (logY === null) logY = all.length > 0 && all.every(v => v > 0) && around(all, 0)[1] / around(all, 0)[0] > 30;
    if (!all.every(v => v > 0)) logY = false;
    if (!lines.every(l => l.steps[0] > 0)) logX = false;
    lines.forEach(l => { l.x = l.steps.map(SCALES[kindX()].forward); l.y = l.v.map(SCALES[kindY()].forward); });
  }
  const seen = l => !isHidden(hiddenFates, l.trial) && !(by === "optimizer" && hiddenChoices.has(String(trials.params.optimizer?.[l.trial] ?? "")));
  const n = t => optimizers.indexOf(String(trials.params.optimizer?.[t]));
  const paintOf = t => by === "optimizer" ? (n(t) < 0 ? colour("--dim") : choiceColour(n(t))) : by === "fate" ? fateColour(trials.fate[t]) : Number.isFinite(valueRanks[t]) ? shade(valueRanks[t]) : fateColour(trials.fate[t]);
  // What is never cut off: the best trials' curves from their second tenth on, and where completed ones ended.
  const good = () => lines.flatMap(l => valueRanks[l.trial] >= .9 ? l.y.slice(Math.floor(l.y.length / 10)) : trials.fate[l.trial] === "completed" && valueRanks[l.trial] >= .3 ? l.y.slice(-1) : []).filter(Number.isFinite);
  const axes = () => ({
    x: { label: "step", kind: kindX(), range: around(lines.flatMap(l => [l.x[0], l.x.at(-1)]), .02) },
    y: { label: metric, kind: kindY(), range: whole ? around(lines.flatMap(l => l.y)) : robust(lines.flatMap(l => l.y), good()) },
  });
  const refresh = () => { load(); plot.change(axes()); };
  load();
  function trace(g, l) {
    g.ctx.beginPath();
    let open = false;
    for (let i = 0; i < l.x.length; i++) {
      if (!Number.isFinite(l.y[i])) { open = false; continue; }
      g.ctx[open ? "lineTo" : "moveTo"](g.X(l.x[i]), g.Y(l.y[i]));
      open = true;
    }
    g.ctx.stroke();
    // A single point is no line, but it is there.
    if (l.x.length === 1 && Number.isFinite(l.y[0])) shape(g.ctx, "dot", g.X(l.x[0]), g.Y(l.y[0]), 3 * g.ratio, g.ctx.strokeStyle);
  }
  const at = (l, step) => { let i = l.steps.length - 1; while (i > 0 && (l.steps[i] > step || !Number.isFinite(l.y[i]))) i--; return Number.isFinite(l.y[i]) ? l.y[i] : null; };
  function marks(g, l, r) {
    for (const finding of [...l.found, ...l.rescues.map(x => ({ verdict: "rescued", step: x.step, certain: true }))]) {
      const x = SCALES[kindX()].forward(finding.step), y = at(l, finding.step);
      const look = finding.verdict === "spiking" ? "diamond" : finding.verdict === "recovered" ? "disc" : finding.verdict === "rescued" ? "ring" : FATES[finding.verdict]?.shape ?? "plus";
      if (Number.isFinite(x)) shape(g.ctx, look, g.X(x), g.Y(y === null ? g.view.y[1] : clamp(y, g.view.y)), r, findingColour(finding.verdict));
    }
    // Where it was no longer a number: a cross at the worse edge.
    const broke = l.v.findIndex(v => !Number.isFinite(v)), edge = maximize && metric === report.study.metric ? 0 : 1;
    if (broke >= 0) shape(g.ctx, "cross", g.X(l.x[broke]), g.Y(g.view.y[edge]), r, fateColour("diverged"));
  }
  const plot = frame(place, {
    height: 420, ...axes(), alt: "Training curves: " + metric + " over steps, a line per trial",
    hits: () => lines.filter(seen).flatMap(l => l.x.map((x, i) => ({ trial: l.trial, x, y: l.y[i], line: l, i })).filter(h => Number.isFinite(h.y))),
    tip: h => "step " + h.line.steps[h.i] + ": " + metric + " = " + fmt(h.line.v[h.i]) + "\n" + describe(h.trial),
    draw(g) {
      const all = lines.filter(seen);
      g.ctx.globalAlpha = all.length > 400 ? .25 : all.length > 60 ? .5 : .8;
      g.ctx.lineWidth = (all.length > 200 ? 1 : 1.4) * g.ratio;
      for (const l of all) {
        g.ctx.strokeStyle = paintOf(l.trial);
        const dash = elsewhere(l.trial) ? [1.5, 3.5] : by === "optimizer" ? choiceDash(Math.max(0, n(l.trial))) : [];
        g.ctx.setLineDash(dash.map(d => d * g.ratio));
        trace(g, l);
      }
      g.ctx.setLineDash([]);
      g.ctx.globalAlpha = 1;
      if (all.length <= 2000) for (const l of all) marks(g, l, (all.length > 150 ? 3 : 4.2) * g.ratio);
    },
    mark(g, t, strong) {
      const l = lines.find(line => line.trial === t);
      if (!l) return;
      g.ctx.globalAlpha = .55; g.ctx.strokeStyle = colour("--paper"); g.ctx.lineWidth = 5 * g.ratio; trace(g, l); g.ctx.globalAlpha = 1;
      g.ctx.strokeStyle = strong ? colour("--ink") : paintOf(t); g.ctx.lineWidth = 3 * g.ratio; trace(g, l);
      marks(g, l, 5 * g.ratio);
    },
  });
  const tools = el("div", { class: "tools" });
  if (data.names.length > 1) tools.append(dropdown("metric", data.names.map(name => [name, name]), metric, name => { metric = name; logY = null; refresh(); logBox.querySelector("input").checked = logY; }));
  const colours = [["optimizer", "optimizer"], ["fate", "state"], ["value", "value"]].filter(([name]) => name !== "optimizer" || optimizers.length > 1);
  const logBox = checkbox("log scale", logY, is => { logY = is; refresh(); logBox.querySelector("input").checked = logY; });
  const choiceBox = el("div");
  tools.append(el("label", {}, "colour", choose(colours, by, name => { by = name; choiceBox.hidden = by !== "optimizer"; plot.redraw(); }, "colour")), logBox,
    checkbox("log steps", false, is => { logX = is; refresh(); }), checkbox("whole range", whole, is => { whole = is; refresh(); }));
  place.prepend(tools);
  if (optimizers.length > 1) choiceLegend(choiceBox, optimizers, hiddenChoices, () => plot.redraw());
  place.append(choiceBox);
  fateLegend(place, hiddenFates, () => plot.redraw());
  const kinds = new Map();
  for (const t of data.trials) for (const f of [...t.findings.map(x => x.verdict), ...t.rescues.map(() => "rescued")]) kinds.set(f, (kinds.get(f) ?? 0) + 1);
  const found = [...kinds].map(([verdict, times]) => times + " × " + verdict.replace("_", " ")).join(", ");
  place.append(el("p", { class: "caption" }, (found ? "Found in them: " + found + "; marked where it was found: ◆ spiking, ● recovered, ✕ diverged, ■ stuck, ▼ no progress, ○ rescued. " : "") + (lines.some(l => elsewhere(l.trial)) ? "Dotted: imported. " : "") + "A cross at the edge: from there on the value was no longer finite. Curves of more than " + data.longest + " points are thinned by largest triangles, which keeps spikes and breaks."
    + (data.objective_only ? " For " + data.objective_only + " trials only " + report.study.metric + " is here; hpo trial N has everything." : "")));
});
