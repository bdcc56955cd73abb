// Expected best of k trials per choice, as curves and as a table, with the sentence about how sure it is.
section("choices", (data, place) => {
  data.forEach((comparison, i) => {
    const box = i < 2 ? place : place.appendChild(el("details", {}, el("summary", {}, comparison.parameter)));
    if (i < 2) box.append(el("h3", {}, comparison.parameter));
    box.append(el("p", {}, comparison.sentence));
    if (i < 2) one(comparison, box);
    else box.addEventListener("toggle", () => { if (box.open && !box.dataset.drawn) { box.dataset.drawn = "1"; one(comparison, box); } });
  });
  place.append(el("p", { class: "caption" }, "Expected best of k: the mean of the best value over all ways to pick k of a choice's finished trials (arXiv 1909.03004, unbiased as in arXiv 2004.13705), so that a choice that was tried more often has no advantage. Pruned trials count with the last value they reached, broken ones (failed or diverged) with the worst of the study."));

  function one(comparison, box) {
    const drawn = comparison.choices.filter(c => c.k.length > 1).slice(0, 24);
    if (drawn.length) {
      const names = drawn.map(c => c.value), hidden = new Set();
      let log = false;
      const lines = () => drawn.map((c, n) => ({ n, name: c.value, best: c.best_trial, k: c.k, v: c.expected_best_of.map(num).map(SCALES[log ? "log" : "linear"].forward) })).filter(l => !hidden.has(l.name));
      // The first few of a curve are far off and say little: the axis is about what k ≥ 3 reaches.
      const axis = () => ({ label: "expected best " + report.study.metric, kind: log ? "log" : "linear", range: robust(lines().flatMap(l => l.v.filter((_, i) => l.k[i] >= Math.min(3, l.k.at(-1)))), lines().map(l => l.v.at(-1))) });
      const plot = frame(box, {
        height: 300, alt: "Expected best " + report.study.metric + " of k trials, a curve per " + comparison.parameter + ". " + comparison.sentence,
        x: { label: "k: number of trials", kind: "linear", range: around(drawn.flatMap(c => [1, c.k.at(-1)]), .02) }, y: axis(),
        hits: () => lines().filter(l => l.best !== null).flatMap(l => l.k.map((k, i) => ({ trial: l.best, x: k, y: l.v[i], line: l, i }))),
        tip: hit => comparison.parameter + " " + hit.line.name + ": expected best of " + hit.x + " trials: " + fmt(SCALES[log ? "log" : "linear"].back(hit.y)),
        draw(g) {
          if (comparison.k) {
            g.ctx.strokeStyle = colour("--dim"); g.ctx.lineWidth = g.ratio; g.ctx.setLineDash([3 * g.ratio, 4 * g.ratio]);
            g.ctx.beginPath(); g.ctx.moveTo(g.X(comparison.k), g.top); g.ctx.lineTo(g.X(comparison.k), g.top + g.height); g.ctx.stroke();
          }
          for (const line of lines()) {
            g.ctx.strokeStyle = choiceColour(line.n); g.ctx.lineWidth = 2 * g.ratio; g.ctx.setLineDash(choiceDash(line.n).map(d => d * g.ratio));
            g.ctx.beginPath();
            line.k.forEach((k, i) => g.ctx[i ? "lineTo" : "moveTo"](g.X(k), g.Y(line.v[i])));
            g.ctx.stroke();
          }
          g.ctx.setLineDash([]);
        },
      });
      const positive = drawn.every(c => c.expected_best_of.every(v => num(v) > 0));
      const legend = choiceLegend(box, names, hidden, () => plot.change({ y: axis() }));
      if (positive) legend.prepend(checkbox("log scale", false, is => { log = is; plot.change({ y: axis() }); }));
      box.append(el("p", { class: "caption" }, comparison.k ? "The dashed line is at k = " + comparison.k + ", the most trials that every ranked choice has: there they are compared." : "Too few trials to compare them."));
    }
    const number = (words, get) => ({ words, number: true, cell: row => { const v = get(row); return v === null ? "–" : fmt(num(v)); }, key: row => { const v = get(row); return v === null ? null : num(v); } });
    table(box, {
      rows: comparison.choices, link: row => { if (row.best_trial !== null) select(row.best_trial); },
      columns: [
        { words: comparison.parameter, cell: row => row.value },
        number("trials", r => r.trials), number("done", r => r.completed), number("stopped", r => r.stopped), number("broken", r => r.broken),
        number("best", r => r.best), number("median", r => r.median),
        number(comparison.k ? "expected best of " + comparison.k : "expected best", r => r.expected_best),
        { words: "best trial's configuration", cell: row => row.best_configuration ?? "–" },
      ],
    });
    if (comparison.left_out) box.append(el("p", { class: "dim" }, comparison.left_out + " more are not shown."));
  }
});
