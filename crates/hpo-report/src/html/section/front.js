// Trials by two objectives at a time, with the front as a staircase; and how much of the space it covered.
section("front", (data, place) => {
  const hidden = new Set(), members = new Set(data.front), plots = [], kinds = new Map();
  const columns = data.objectives.map(o => o.values.map(v => v === null ? NaN : num(v)));
  const pairs = data.objectives.length === 3 ? [[0, 1], [0, 2], [1, 2]] : data.objectives.slice(1).map((_, i) => [0, i + 1]);
  place.append(el("p", {}, data.sentence[0].toUpperCase() + data.sentence.slice(1) + "."));
  const tools = el("div", { class: "tools" });
  data.objectives.forEach((o, j) => {
    kinds.set(j, "linear");
    const finite = columns[j].filter(Number.isFinite);
    if (finite.length && finite.every(v => v > 0)) tools.append(checkbox("log " + o.name, false, is => { kinds.set(j, is ? "log" : "linear"); plots.forEach(([plot, axes]) => plot.change(axes())); }));
  });
  place.append(tools);
  const grid = el("div", { class: pairs.length > 1 ? "grid3" : "" });
  place.append(grid);
  const forward = (j, v) => SCALES[kinds.get(j)].forward(v);
  for (const [a, b] of pairs) {
    const box = el("div");
    grid.append(box);
    const at = j => t => forward(j, columns[j][t]);
    const here = () => [...values.keys()].filter(t => !isHidden(hidden, t) && Number.isFinite(at(a)(t)) && Number.isFinite(at(b)(t)));
    if (!here().length) { box.append(el("p", { class: "dim" }, "No trial has reported both " + data.objectives[a].name + " and " + data.objectives[b].name + " yet.")); continue; }
    const axis = j => ({ label: data.objectives[j].name, kind: kinds.get(j), range: around(here().map(at(j))) });
    const axes = () => ({ x: axis(a), y: axis(b) });
    const plot = frame(box, {
      height: pairs.length > 1 ? 280 : 420, ...axes(), alt: data.objectives[b].name + " over " + data.objectives[a].name + ", with the front",
      hits: () => here().map(t => ({ trial: t, x: at(a)(t), y: at(b)(t) })),
      draw(g) {
        const r = (count > 2000 ? 2.2 : 4) * g.ratio;
        if (data.objectives.length === 2) stairs(g, here().filter(t => members.has(t)).sort((p, q) => at(a)(p) - at(a)(q)), at(a), at(b));
        for (const t of here()) {
          g.ctx.globalAlpha = members.has(t) ? 1 : .45;
          trialMark(g, t, g.X(at(a)(t)), g.Y(at(b)(t)), members.has(t) ? 1.5 * r : r);
        }
        g.ctx.globalAlpha = 1;
        if (data.compromise !== null && here().includes(data.compromise)) ring(g, g.X(at(a)(data.compromise)), g.Y(at(b)(data.compromise)), true);
      },
      mark(g, t, strong) { if (here().includes(t)) ring(g, g.X(at(a)(t)), g.Y(at(b)(t)), strong); },
    });
    plots.push([plot, axes]);
  }
  fateLegend(place, hidden, () => plots.forEach(([plot]) => plot.redraw()));
  place.append(el("p", { class: "caption" }, "Large marks are on the front: no other completed trial is at least as good in everything and better in something. The ring is the best compromise, nearest to the best of every objective."));

  // From member to member along the edge of what they dominate.
  function stairs(g, front, X, Y) {
    if (front.length < 2) return;
    const corner = (p, q) => data.objectives[0].goal === "minimize" ? [X(q), Y(p)] : [X(p), Y(q)];
    g.ctx.strokeStyle = colour("--ink"); g.ctx.lineWidth = 1.6 * g.ratio;
    g.ctx.beginPath();
    front.forEach((t, i) => {
      if (i) { const [x, y] = corner(front[i - 1], t); g.ctx.lineTo(g.X(x), g.Y(y)); }
      g.ctx[i ? "lineTo" : "moveTo"](g.X(X(t)), g.Y(Y(t)));
    });
    g.ctx.stroke();
  }

  if (data.covered.length < 2) return;
  const box = el("div");
  place.append(el("h3", {}, "What the front covered in the course of the study"), box);
  const done = data.covered.map(([, share]) => num(share));
  frame(box, {
    height: 260, alt: "The hypervolume of the front over completed trials",
    x: { label: "completed trials", kind: "linear", range: around([0, done.length], .02) },
    y: { label: "hypervolume (share)", kind: "linear", range: around([0, ...done], .04) },
    hits: () => data.covered.map(([t], i) => ({ trial: t, x: i + 1, y: done[i] })),
    draw(g) {
      g.ctx.strokeStyle = colour("--ink"); g.ctx.lineWidth = 1.8 * g.ratio;
      g.ctx.beginPath();
      done.forEach((share, i) => {
        if (i) g.ctx.lineTo(g.X(i + 1), g.Y(done[i - 1]));
        g.ctx[i ? "lineTo" : "moveTo"](g.X(i + 1), g.Y(share));
      });
      g.ctx.stroke();
    },
    mark(g, t, strong) { const i = data.covered.findIndex(([other]) => other === t); if (i >= 0) ring(g, g.X(i + 1), g.Y(done[i]), strong); },
  });
  place.append(el("p", { class: "caption" }, "The share of the box from the best of each objective to a tenth of its range beyond the worst, among completed trials, that the front dominates."));
});
