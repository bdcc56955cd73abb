// Each parameter that population-based training changed, over the steps: a stretch per trial, and a dotted line to
// where a copy began.
section("population", (data, place) => {
  const best = new Set(data.best), index = new Map(data.trials.map((t, i) => [t, i]));
  place.append(el("p", {}, "Each level line is one member over one interval. A dotted line shows a copy: the member above or below it took over those weights and went on with another value. The thick line is what the best trial's weights were trained with."));
  const last = Math.max(1, ...data.to_step.filter(s => s !== null));
  for (const parameter of data.parameters) {
    const scale = SCALES[parameter.scale], level = parameter.values.map(v => v === null ? NaN : scale.forward(num(v)));
    place.append(el("h3", {}, parameter.name));
    const ends = i => [data.from_step[i], data.to_step[i] ?? data.from_step[i]];
    frame(place, {
      height: 280, alt: parameter.name + " of each member over the steps",
      x: { label: "step", kind: "linear", range: around([0, last], .02) },
      y: { label: parameter.name, kind: parameter.scale, range: around(level) },
      hits: () => data.trials.map((t, i) => ({ trial: t, x: (ends(i)[0] + ends(i)[1]) / 2, y: level[i] })).filter(h => Number.isFinite(h.y)),
      draw(g) {
        for (const strong of [false, true]) data.trials.forEach((t, i) => {
          if (best.has(t) !== strong || !Number.isFinite(level[i])) return;
          const [from, to] = ends(i), from_i = index.get(data.parent[i]);
          g.ctx.strokeStyle = colour(strong ? "--ink" : "--dim");
          if (from_i !== undefined && Number.isFinite(level[from_i]) && level[from_i] !== level[i]) {
            g.ctx.setLineDash([2 * g.ratio, 3 * g.ratio]); g.ctx.lineWidth = (strong ? 1.8 : 1) * g.ratio;
            g.ctx.beginPath(); g.ctx.moveTo(g.X(from), g.Y(level[from_i])); g.ctx.lineTo(g.X(from), g.Y(level[i])); g.ctx.stroke();
          }
          g.ctx.setLineDash([]); g.ctx.lineWidth = (strong ? 3 : 1.4) * g.ratio;
          g.ctx.beginPath(); g.ctx.moveTo(g.X(from), g.Y(level[i])); g.ctx.lineTo(g.X(to), g.Y(level[i])); g.ctx.stroke();
        });
      },
      mark(g, t, strong) { const i = index.get(t); if (i !== undefined && Number.isFinite(level[i])) ring(g, g.X((ends(i)[0] + ends(i)[1]) / 2), g.Y(level[i]), strong); },
    });
  }
});
