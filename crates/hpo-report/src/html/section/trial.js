// One trial: configuration, all its metrics as synced plots, what was found, its processes and last words.
section("trial", (data, place) => {
  const more = new Map(data.more.map(m => [m.trial, m]));
  const input = el("input", { type: "number", min: 0, max: count - 1, "aria-label": "trial", style: "width:6.5em" });
  const go = by => select(((chosen.select ?? 0) + by + count) % count);
  const head = el("p", { class: "big" }), detail = el("p", {}), facts = el("div"), plots = el("div", { class: "grid2" }), notes = el("div");
  const tools = el("div", { class: "tools" }, el("label", {}, "trial", input),
    el("button", { type: "button", onclick: () => go(-1), "aria-label": "previous trial" }, "◀"), el("button", { type: "button", onclick: () => go(1), "aria-label": "next trial" }, "▶"));
  const best = report.sections.answer?.trial;
  if (best !== null && best !== undefined) tools.append(el("button", { type: "button", onclick: () => select(best) }, "the best"));
  input.addEventListener("change", () => select(Math.trunc(Number(input.value))));
  const top = el("div", {}, facts, notes);
  place.append(tools, head, detail, top, plots);
  let drawn = [];
  const place_of = place.closest("section");

  function show(t) {
    input.value = t;
    head.textContent = "trial " + t + ": " + state(t);
    detail.textContent = trials.detail[t] ?? "";
    const curve = curveOf.get(t), extra = more.get(t);
    const names = Object.keys(trials.params).filter(name => trials.params[name][t] !== null);
    const rows = names.map(name => [name, fmt(trials.params[name][t])]), from = elsewhere(t);
    if (from) rows.unshift(["imported", "from " + from.source + ", " + from.name + ", as " + from.as]);
    facts.replaceChildren(el("dl", {}, [["value", report.study.metric + " = " + fmt(trials.value[t])], ["steps", fmt(trials.step[t])], ["ran", seconds(num(trials.duration_s[t]))], ...rows].flatMap(([name, value]) => [el("dt", {}, short(name, 40)), el("dd", {}, value)])));
    notes.replaceChildren();
    const found = curve ? [...curve.findings, ...curve.rescues.map(r => ({ verdict: "rescued", step: r.step, certain: true, words: r.words + ": " + r.evidence }))].sort((a, b) => a.step - b.step) : [];
    if (found.length) {
      notes.append(el("h3", {}, "What was found in it"), el("ul", { class: "findings" }, found.map(f => {
        const chip = el("span", { class: "chip", style: "background:" + findingColour(f.verdict) });
        // Only what may end a trial can be doubtful.
        const doubt = !f.certain && f.verdict in FATES ? ", not certain" : "";
        return el("li", {}, chip, f.words ?? "step " + f.step + ": " + f.verdict.replace("_", " ") + doubt + ": " + (f.detail ?? "by rule " + f.rule + " in " + f.metric));
      })));
    }
    if (extra) {
      if (extra.processes.length > 1) notes.append(el("h3", {}, "Its processes"), el("ul", { class: "findings" }, extra.processes.map(p => el("li", {}, "attempt " + p.attempt + (p.until ? " until step " + p.until : "") + ": " + (p.end ?? "running")))));
      if (extra.last_words) notes.append(el("h3", {}, "Its last words"), el("pre", {}, extra.last_words));
    }
    // With nothing beside it the configuration takes the whole width.
    const alone = !notes.childElementCount;
    top.className = alone ? "" : "columns";
    facts.firstChild.className = alone ? "wide" : "";
    draw(curve, found);
  }

  function draw(curve, found) {
    drawn.forEach(u => u.destroy());
    drawn = [];
    plots.replaceChildren();
    if (!curve) { plots.append(el("p", { class: "dim" }, "It has not reported anything.")); return; }
    const order = report.sections.curves.names.filter(name => curve.metrics[name]);
    let low = Infinity, high = -Infinity;
    const series = order.slice(0, 60).map(name => {
      const p = points(curve.metrics[name]);
      low = Math.min(low, p.steps[0]); high = Math.max(high, p.steps.at(-1));
      return { name, ...p };
    });
    if (low === high) { low -= .5; high += .5; }
    series.forEach(s => one(s, low, high, found));
    if (order.length > 60) plots.append(el("p", { class: "dim" }, "and " + (order.length - 60) + " more metrics"));
    if (order.length === 1 && report.sections.curves.names.length > 1) plots.append(el("p", { class: "dim" }, "Its other metrics are not in this report, to keep it small; hpo trial " + curve.trial + " has them."));
  }

  function one(s, low, high, found) {
    const finite = s.v.filter(Number.isFinite), positive = finite.length > 0 && finite.every(v => v > 0);
    const log = positive && Math.max(...finite) / Math.min(...finite) > 20;
    const [bottom, top] = log ? around(finite.map(Math.log10)).map(t => 10 ** t) : around(finite);
    const holder = el("div", { class: "plot", role: "img", "aria-label": s.name + " over steps, last " + fmt(s.v.at(-1)) });
    const last = el("span", { class: "dim" });
    const tell_last = i => { const k = i ?? s.v.length - 1; last.textContent = " " + fmt(s.v[k]) + " at step " + s.steps[k] + (log ? " (log scale)" : ""); };
    tell_last(null);
    plots.append(el("div", {}, el("div", { class: "caption" }, el("strong", { style: "color:var(--ink)" }, short(s.name, 50)), last), holder));
    const axis = side => ({ side, size: side === 3 ? 58 : 26, font: "11px system-ui, sans-serif", stroke: colour("--dim"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--line"), width: 1, size: 4 } });
    const splits = (self, i, a, b) => log ? ticks("log", Math.log10(a), Math.log10(b), 4).map(t => 10 ** t) : niceTicks(a, b, 5);
    const line = s.v.map(v => Number.isFinite(v) ? v : null);
    const u = new uPlot({
      width: Math.max(220, holder.clientWidth), height: 136, legend: { show: false },
      cursor: { sync: { key: "trial", scales: ["x", null] }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: () => [low, high] }, y: { distr: log ? 3 : 1, range: () => [bottom, top] } },
      axes: [{ ...axis(2), values: (self, list) => list.map(fmt) }, { ...axis(3), splits, filter: (self, list) => list, values: (self, list) => list.map(v => fmt(Number(v.toPrecision(6)))) }],
      series: [{}, { stroke: choiceColour(0), width: 1.8, spanGaps: false, points: { show: line.length < 40, size: 4, fill: choiceColour(0) } }],
      hooks: {
        setCursor: [self => tell_last(self.cursor.idx)],
        draw: [self => {
          const c = self.ctx, r = devicePixelRatio || 1, box = self.bbox;
          c.save();
          for (const f of found) {
            const x = self.valToPos(f.step, "x", true);
            c.strokeStyle = findingColour(f.verdict); c.lineWidth = 1.6 * r; c.setLineDash([4 * r, 3 * r]);
            c.beginPath(); c.moveTo(x, box.top); c.lineTo(x, box.top + box.height); c.stroke();
          }
          c.setLineDash([]);
          s.v.forEach((v, i) => { if (!Number.isFinite(v)) shape(c, "cross", self.valToPos(s.steps[i], "x", true), v === -Infinity || (maximize && s.name === report.study.metric) ? box.top + box.height - 5 * r : box.top + 5 * r, 3.5 * r, fateColour("diverged")); });
          c.restore();
        }],
      },
    }, [s.steps, line], holder);
    drawn.push(u);
  }

  on("select", (t, move) => { show(t); if (move) place_of.scrollIntoView({ behavior: "smooth", block: "start" }); });
  on("theme", () => { if (chosen.select !== null) show(chosen.select); });
  place.append(el("p", { class: "caption" }, "All that the trial reported. Dashed lines: findings of the divergence detector, in the colours of the list. A cross: the value was not finite there."));
});
