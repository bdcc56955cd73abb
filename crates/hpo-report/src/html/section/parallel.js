// Parallel coordinates: an axis per parameter, a line per trial, ending in its value. Dragging on an axis keeps the lines that pass there.
section("parallel", (data, place) => {
  const MOST = 10, FEW = 3;
  // Parameters that few trials have would be mostly gaps; the optimizer and its rate come first.
  const active = p => trials.params[p.name].filter(v => v !== null).length, first = ["optimizer", "lr", "learning_rate", "schedule"];
  const key = p => (first.indexOf(p.name) + 9) % 9;
  const common = byImportance().filter(p => 2 * active(p) > count), offered = common.length >= FEW ? common : byImportance();
  const drawn = offered.slice(0, MOST).sort((a, b) => key(a) - key(b));
  const axes = drawn.map(p => {
    const column = trials.params[p.name];
    if (p.kind === "choice") {
      const names = [...new Set([...p.choices.map(String), ...column.filter(v => v !== null).map(String)])].slice(0, 40), nullable = p.choices.includes(null);
      const at = t => column[t] === null && !nullable ? NaN : names.indexOf(String(column[t])) + ((t * .618034) % 1 - .5) * .3;
      return { name: p.name, at, range: [-.5, names.length - .5], ticks: names.map((name, i) => [i, name]) };
    }
    const { forward, back } = SCALES[p.scale], at = t => column[t] === null ? NaN : forward(num(column[t]));
    const range = around(column.map((_, t) => at(t)), 0);
    return { name: p.name, at, range, ticks: ticks(p.scale, range[0], range[1], 6).map(t => [t, fmt(Number(back(t).toPrecision(6)))]) };
  });
  const range = robust(values, betterHalf(v => v)), lines = [...values.keys()].filter(t => Number.isFinite(values[t])).sort((a, b) => valueRanks[a] - valueRanks[b]);
  axes.push({ name: report.study.metric, value: true, at: t => clamp(values[t], range), range: maximize ? range : [range[1], range[0]], ticks: niceTicks(range[0], range[1], 6).map(t => [t, fmt(t)]) });
  const kept = axes.map(() => null);
  const holder = el("div", { class: "plot", role: "img", tabindex: "0", "aria-label": "Parallel coordinates: " + axes.map(a => a.name).join(", ") });
  const canvas = el("canvas", { style: "width:100%;height:360px;cursor:crosshair" }), words = el("span", { class: "dim" });
  const clear = el("button", { type: "button" }, "all trials");
  clear.addEventListener("click", () => { kept.fill(null); paint(); });
  place.append(el("div", { class: "tools" }, clear, words), holder);
  // The marked lines are on a canvas of their own: thousands of others need not be drawn again for them.
  const over = el("canvas", { class: "over", style: "width:100%;height:360px" });
  holder.append(canvas, over);
  const TOP = 34, BOTTOM = 36, SIDE = 60;
  const width = () => canvas.clientWidth || 900, height = 360;
  const X = i => SIDE + i * (width() - 2 * SIDE) / Math.max(1, axes.length - 1);
  const Y = (axis, v) => Number.isFinite(v) ? TOP + (1 - (v - axis.range[0]) / (axis.range[1] - axis.range[0])) * (height - TOP - BOTTOM) : height - 14;
  const inside = t => axes.every((axis, i) => { if (!kept[i]) return true; const y = Y(axis, axis.at(t)); return y >= kept[i][0] && y <= kept[i][1]; });
  const trace = (c, t) => { c.beginPath(); axes.forEach((axis, i) => c[i ? "lineTo" : "moveTo"](X(i), Y(axis, axis.at(t)))); c.stroke(); };
  function paint() {
    const r = devicePixelRatio || 1;
    canvas.width = Math.round(width() * r); canvas.height = Math.round(height * r);
    const c = canvas.getContext("2d");
    c.scale(r, r);
    const active = lines.filter(inside);
    words.textContent = active.length + " of " + lines.length + " trials with a value" + (kept.some(Boolean) ? " pass through the marked ranges" : "") + "; lighter or darker by rank of their value, the best on top";
    c.globalAlpha = active.length > 1000 ? .15 : active.length > 150 ? .4 : .7;
    for (const t of active) { c.strokeStyle = shade(valueRanks[t]); c.lineWidth = 1.3; c.setLineDash(elsewhere(t) ? [2, 4] : []); trace(c, t); }
    c.setLineDash([]);
    c.globalAlpha = 1;
    c.font = "11px system-ui, sans-serif";
    axes.forEach((axis, i) => {
      const x = X(i);
      c.strokeStyle = colour("--dim"); c.lineWidth = 1;
      c.beginPath(); c.moveTo(x, TOP); c.lineTo(x, height - BOTTOM); c.stroke();
      c.textAlign = "center"; c.fillStyle = colour("--ink"); c.font = (axis.value ? "bold " : "") + "12px system-ui, sans-serif";
      c.fillText(short(axis.name, 18), x, 16);
      c.font = "10.5px system-ui, sans-serif"; c.textAlign = "left";
      for (const [v, text] of axis.ticks.slice(0, 16)) {
        const y = Y(axis, v), label = short(text, 13), wide = c.measureText(label).width;
        c.fillStyle = colour("--paper"); c.globalAlpha = .75; c.fillRect(x + 4, y - 7, wide + 4, 13); c.globalAlpha = 1;
        c.fillStyle = colour("--dim"); c.fillText(label, x + 6, y + 3.5);
        c.beginPath(); c.moveTo(x - 3, y); c.lineTo(x + 3, y); c.stroke();
      }
      if (kept[i]) { c.fillStyle = colour("--accent"); c.globalAlpha = .3; c.fillRect(x - 8, kept[i][0], 16, kept[i][1] - kept[i][0]); c.globalAlpha = 1; }
    });
    paintMarked();
  }
  function paintMarked() {
    over.width = canvas.width; over.height = canvas.height;
    const c = over.getContext("2d"), r = devicePixelRatio || 1;
    c.scale(r, r);
    c.lineWidth = 2.4;
    for (const [t, ink] of [[chosen.select, fateColour("diverged")], [chosen.hover, colour("--ink")]]) {
      if (t === null || !Number.isFinite(values[t])) continue;
      c.strokeStyle = ink;
      trace(c, t);
    }
  }
  const where = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const axisAt = x => axes.map((_, i) => i).reduce((a, b) => Math.abs(X(b) - x) < Math.abs(X(a) - x) ? b : a, 0);
  let drag = null;
  canvas.addEventListener("mousedown", event => { const [x, y] = where(event); drag = { axis: axisAt(x), y }; event.preventDefault(); });
  addEventListener("mouseup", event => {
    if (!drag) return;
    const y = where(event)[1], [a, b] = [Math.min(y, drag.y), Math.max(y, drag.y)];
    if (b - a > 4) kept[drag.axis] = [a, b];
    else if (kept[drag.axis]) kept[drag.axis] = null;
    else if (chosen.hover !== null) select(chosen.hover);
    drag = null;
    paint();
  });
  canvas.addEventListener("mousemove", event => {
    const [x, y] = where(event);
    if (drag) { kept[drag.axis] = [Math.min(y, drag.y), Math.max(y, drag.y)]; paint(); return; }
    const gap = (width() - 2 * SIDE) / Math.max(1, axes.length - 1), i = Math.max(0, Math.min(axes.length - 2, Math.floor((x - SIDE) / gap))), part = (x - X(i)) / gap;
    let best = null, least = 8;
    if (axes.length > 1) for (const t of lines) {
      const at = Y(axes[i], axes[i].at(t)) * (1 - part) + Y(axes[i + 1], axes[i + 1].at(t)) * part;
      if (Math.abs(at - y) < least && inside(t)) { least = Math.abs(at - y); best = t; }
    }
    hover(best);
    tip(best === null ? "" : describe(best), event.clientX, event.clientY);
  });
  canvas.addEventListener("mouseleave", () => { hover(null); tip(""); });
  on("hover", paintMarked);
  on("select", paintMarked);
  on("theme", paint);
  paint();
  place.append(el("p", { class: "caption" }, "A line per trial" + (report.parameters.length > drawn.length ? ", over the " + drawn.length + " parameters that most trials have" : "") + ". Drag on an axis to keep what passes there; press there to let go. Where a parameter does not exist in a trial, its line passes below the axis." + (trials.imported ? " Dotted: imported." : "")));
});
