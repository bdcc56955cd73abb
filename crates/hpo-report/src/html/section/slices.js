// Value over each parameter.
section("slices", (data, place) => {
  const parameters = byImportance();
  const finite = values.filter(Number.isFinite);
  let log = false, whole = false;
  const kind = () => log ? "log" : "linear", forward = v => SCALES[kind()].forward(v);
  const grid = el("div", { class: "grid3" }), plots = [];
  const range = () => whole ? around(finite.map(forward)) : robust(finite.map(forward), betterHalf(forward));
  const tools = el("div", { class: "tools" });
  const change = () => plots.forEach(([plot, axis]) => plot.change({ y: axis() }));
  if (finite.every(v => v > 0)) tools.append(checkbox("log scale", false, is => { log = is; change(); }));
  tools.append(checkbox("whole range", false, is => { whole = is; change(); }));
  place.append(tools, grid);
  const MOST = 15;
  parameters.slice(0, MOST).forEach(one);
  if (parameters.length > MOST) place.append(el("p", { class: "dim" }, parameters.length - MOST + " more parameters are in the table of trials."));
  place.append(el("p", { class: "caption" }, "Parameters that matter more than chance come first, then those that most trials have. Lost and failed trials are marked as in the history" + (trials.imported ? ", and imported ones hollow" : "") + "; values far beyond the others, and trials without one, are drawn at the edge. Trials in which a parameter does not exist are left out of its plot."));

  function one(parameter) {
    const column = trials.params[parameter.name];
    if (!column) return;
    const choice = parameter.kind === "choice";
    // Texts, lists and booleans are compared as they are written.
    const names = choice ? [...new Set([...parameter.choices.map(String), ...column.filter(v => v !== null).map(String)])].slice(0, 40) : [];
    const nullable = choice && parameter.choices.includes(null);
    const X = t => {
      const v = column[t];
      if (choice) { if (v === null && !nullable) return NaN; const i = names.indexOf(String(v)); return i < 0 ? NaN : i + ((t * .618034) % 1 - .5) * .5; }
      return v === null ? NaN : SCALES[parameter.scale].forward(num(v));
    };
    const Y = (t, view) => { const v = forward(values[t]); return Number.isFinite(v) ? clamp(v, view) : maximize ? view[0] : view[1]; };
    const xs = values.map((_, t) => X(t)), here = [...xs.keys()].filter(t => Number.isFinite(xs[t]) && trials.fate[t] !== "waiting");
    if (!here.length) return;
    const box = el("div");
    grid.append(box);
    const axis = () => ({ kind: kind(), range: range() });
    const slanted = choice && names.length > 3;
    const plot = frame(box, {
      height: slanted ? 250 : 215, slanted, alt: report.study.metric + " over " + parameter.name,
      x: { label: parameter.name, kind: choice ? "choice" : parameter.scale, names, range: choice ? [-.6, names.length - .4] : around(here.map(t => xs[t])) },
      y: axis(),
      hits: () => { const view = range(); return here.map(t => ({ trial: t, x: xs[t], y: Y(t, view) })); },
      draw(g) {
        const r = (count > 1500 ? 1.8 : 3.2) * g.ratio;
        for (const t of here) trialMark(g, t, g.X(xs[t]), g.Y(Y(t, g.view.y)), r);
      },
      mark(g, t, strong) { if (Number.isFinite(xs[t])) ring(g, g.X(xs[t]), g.Y(Y(t, g.view.y)), strong); },
    });
    plots.push([plot, axis]);
  }
});
