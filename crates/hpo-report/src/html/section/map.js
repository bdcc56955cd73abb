// Optimizer × learning rate: every trial a point, lost ones marked, the edge of divergence per optimizer.
section("map", (data, place) => {
  const names = data.rows.map(row => row.optimizer ?? "all");
  data.optimizer.forEach((name, t) => { if (data.rate[t] !== null && !names.includes(name ?? "all")) names.push(name ?? "all"); });
  const hidden = new Set(), log = SCALES.log.forward;
  const rates = data.rate.map(rate => rate === null ? NaN : log(num(rate)));
  const rowOf = t => names.indexOf(data.optimizer[t] ?? "all");
  // Points of a row are spread a little, always the same way, so that they do not hide each other.
  const spread = t => ((t * 0.618034) % 1 - .5) * .56;
  const Y = t => names.length - 1 - rowOf(t) + spread(t);
  const shown = () => rates.map((rate, t) => t).filter(t => Number.isFinite(rates[t]) && !isHidden(hidden, t));
  const lost = new Set(["diverged", "stuck"]);
  const plot = frame(place, {
    height: Math.min(720, 90 + 46 * names.length),
    alt: "Learning rates by optimizer. " + data.rows.map(row => (row.optimizer ?? "all") + ": " + row.words).join(". "),
    x: { label: data.parameter + " (as the trial began)", kind: "log", range: around(rates, .03) },
    y: { kind: "choice", names: [...names].reverse(), range: [-.6, names.length - .4] },
    hits: () => shown().map(t => ({ trial: t, x: rates[t], y: Y(t) })),
    draw(g) {
      data.rows.forEach((row, i) => {
        if (row.edge === null) return;
        const at = names.length - 1 - i, x = g.X(log(num(row.edge))), top = g.Y(at + .42), bottom = g.Y(at - .42);
        g.ctx.globalAlpha = dark() ? .16 : .11;
        g.ctx.fillStyle = fateColour("diverged");
        g.ctx.fillRect(x, top, g.left + g.width - x, bottom - top);
        g.ctx.globalAlpha = 1;
        g.ctx.strokeStyle = fateColour("diverged");
        g.ctx.lineWidth = 2.2 * g.ratio;
        g.ctx.beginPath(); g.ctx.moveTo(x, top); g.ctx.lineTo(x, bottom); g.ctx.stroke();
      });
      const r = (count > 1500 ? 2.6 : 4.4) * g.ratio;
      for (const t of shown()) {
        const fate = trials.fate[t], fine = fate === "completed" || fate === "pruned" || fate === "cut_off";
        const rank = valueRanks[t];
        const paint = fine && Number.isFinite(rank) ? shade(rank) : fateColour(fate);
        trialMark(g, t, g.X(rates[t]), g.Y(Y(t)), fate === "pruned" ? r * .7 : r, paint, fine ? "disc" : FATES[fate].shape);
        if (trials.rescues[t]) shape(g.ctx, "ring", g.X(rates[t]), g.Y(Y(t)), r * 1.5, findingColour("rescued"));
      }
    },
    mark(g, t, strong) { if (Number.isFinite(rates[t])) ring(g, g.X(rates[t]), g.Y(Y(t)), strong); },
  });
  fateLegend(place, hidden, () => plot.redraw());
  const scale = el("canvas", { width: 240, height: 20, style: "width:120px;height:10px", "aria-hidden": "true" });
  const paint = () => { const c = scale.getContext("2d"); for (let i = 0; i < 240; i++) { c.fillStyle = shade(i / 239); c.fillRect(i, 0, 1, 20); } };
  paint();
  on("theme", paint);
  place.append(el("p", { class: "caption" }, "Colour of a disc: its value, by rank, from worst ", scale, " to best; small discs were pruned. The line is the edge: the rate that best tells lost trials (diverged, stuck, or rescued from it) from the others; beyond it the row is shaded."));
  const telling = data.rows.filter(row => row.lost || row.idle);
  place.append(telling.length ? el("ul", {}, telling.map(row => el("li", {}, (row.optimizer ?? "all trials") + ": " + row.words)))
    : el("p", {}, "No trial was lost to its learning rate."));
});
