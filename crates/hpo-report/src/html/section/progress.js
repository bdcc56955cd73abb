// What each trial reached, over trials or over time, with the best so far.
section("progress", (data, place) => {
  const hidden = new Set();
  const finite = values.filter(Number.isFinite);
  let by = "trial", log = false, whole = false;
  const kind = () => log ? "log" : "linear";
  const X = t => by === "trial" ? t : trials.ended_s[t] ?? (trials.started_s[t] === null ? null : trials.started_s[t] + num(trials.duration_s[t]));
  // Trials without a value are drawn at the worse end of the axis.
  const Y = (t, range) => { const v = SCALES[kind()].forward(values[t]); return Number.isFinite(v) ? clamp(v, range) : maximize ? range[0] : range[1]; };
  const shown = () => [...values.keys()].filter(t => !isHidden(hidden, t) && X(t) !== null && trials.fate[t] !== "waiting");
  const xs = () => [...values.keys()].map(X).filter(x => x !== null);
  const axes = () => ({
    x: { label: by === "trial" ? "trial" : "time since the study was opened (s)", kind: "linear", range: around(xs(), .02) },
    y: { label: report.study.metric, kind: kind(), range: whole ? around(finite.map(SCALES[kind()].forward)) : robust(finite.map(SCALES[kind()].forward), betterHalf(SCALES[kind()].forward)) },
  });
  const best = () => {
    if (by === "time") return data.improvements.map(i => [i.ended_s, num(i.value)]);
    let so_far = null;
    return [...values.keys()].flatMap(t => {
      // What was measured elsewhere is not the best of this study, unless it counts as if it had run here.
      if (trials.fate[t] !== "completed" || !Number.isFinite(values[t]) || (elsewhere(t) && elsewhere(t).as !== "trials")) return [];
      if (so_far !== null && !(maximize ? values[t] > so_far : values[t] < so_far)) return [];
      so_far = values[t];
      return [[t, so_far]];
    });
  };
  const tools = el("div", { class: "tools" }, choose([["trial", "by trial"], ["time", "over time"]], by, name => { by = name; plot.change(axes()); }, "horizontal axis"));
  if (finite.length && finite.every(v => v > 0)) tools.append(checkbox("log scale", log, is => { log = is; plot.change(axes()); }));
  tools.append(checkbox("whole range", whole, is => { whole = is; plot.change(axes()); }));
  place.append(tools);
  const plot = frame(place, {
    height: 340, ...axes(), alt: "The value of each trial, and the best so far: " + report.study.counts,
    hits: () => { const range = axes().y.range; return shown().map(t => ({ trial: t, x: X(t), y: Y(t, range) })); },
    draw(g) {
      const r = (count > 2000 ? 2.2 : 4) * g.ratio;
      for (const t of shown()) trialMark(g, t, g.X(X(t)), g.Y(Y(t, g.view.y)), r);
      const line = best();
      if (!line.length) return;
      g.ctx.strokeStyle = colour("--ink"); g.ctx.lineWidth = 1.8 * g.ratio;
      g.ctx.beginPath();
      line.forEach(([x, v], i) => {
        const y = g.Y(SCALES[kind()].forward(v));
        if (i) g.ctx.lineTo(g.X(x), g.Y(SCALES[kind()].forward(line[i - 1][1])));
        g.ctx[i ? "lineTo" : "moveTo"](g.X(x), y);
      });
      g.ctx.lineTo(g.X(g.view.x[1]), g.Y(SCALES[kind()].forward(line.at(-1)[1])));
      g.ctx.stroke();
    },
    mark(g, t, strong) { const x = X(t); if (x !== null) ring(g, g.X(x), g.Y(Y(t, g.view.y)), strong); },
  });
  fateLegend(place, hidden, () => plot.redraw());
  place.append(el("p", { class: "caption" }, "The line is the best completed trial so far" + (trials.imported ? ", of those that can be the best of this study" : "") + ". Values far beyond the others, and trials without one, are drawn at the edge."));
});
