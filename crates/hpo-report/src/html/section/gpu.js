// What was in use on each GPU, what was set aside for trials, and the limit, over time.
section("gpu", (data, place) => {
  const LINES = [
    ["limit_gib", "the limit", () => colour("--warn"), [2, 4]],
    ["reserved_gib", "set aside for trials", () => colour("--dim"), [6, 4]],
    ["used_gib", "in use, by anybody", () => colour("--ink"), []],
    ["ours_gib", "in use by trials", () => colour("--bar"), []],
  ];
  const gib = x => x === null ? "an unknown amount" : fmt(Number(num(x).toPrecision(3))) + " GiB";
  for (const gpu of data.gpus) {
    const title = "GPU " + gpu.index + ", " + gpu.name;
    place.append(el("h3", {}, title), el("p", {}, "At most " + gib(gpu.peak_gib) + " was in use, and " + gib(gpu.most_reserved_gib) + " set aside, in " + gpu.samples + " samples" +
      (gpu.samples_reserved_over_limit ? "; in " + gpu.samples_reserved_over_limit + " of them more was set aside than the limit allows." : ".")));
    const numbers = LINES.flatMap(([name]) => gpu[name]).filter(x => x !== null).map(num);
    const times = gpu.at_s.map(num);
    const plot = frame(place, {
      height: 260, alt: title + ": memory over time; at most " + gib(gpu.peak_gib) + " in use",
      x: { label: "time since the study was opened (s)", kind: "linear", range: around(times, .02) },
      y: { label: "GiB", kind: "linear", range: around([0, ...numbers]) },
      draw(g) {
        for (const [name, , paint, dash] of LINES) {
          g.ctx.strokeStyle = paint(); g.ctx.lineWidth = 1.6 * g.ratio; g.ctx.setLineDash(dash.map(d => d * g.ratio));
          g.ctx.beginPath();
          let before = null;
          gpu[name].forEach((x, i) => {
            if (x === null) { before = null; return; }
            const [X, Y] = [g.X(times[i]), g.Y(num(x))];
            // It stayed so until it was seen to change.
            if (before === null) g.ctx.moveTo(X, Y); else { g.ctx.lineTo(X, before); g.ctx.lineTo(X, Y); }
            before = Y;
          });
          g.ctx.stroke();
        }
        g.ctx.setLineDash([]);
      },
    });
    const legend = el("p", { class: "caption" });
    const paint = () => legend.replaceChildren(...LINES.map(([, words, paint, dash]) => el("span", {}, el("span", { class: "chip", style: "background:" + (dash.length ? "repeating-linear-gradient(90deg," + paint() + " 0 4px,transparent 4px 7px)" : paint()) }), words + "   ")));
    paint();
    on("theme", () => { paint(); plot.redraw(); });
    place.append(legend);
  }
});
