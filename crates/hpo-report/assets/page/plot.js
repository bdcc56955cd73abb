// The frame of our plots: uPlot's axes, grid and zoom; what is inside is drawn by the section.

// Ways to measure out an axis: forward into what is even on paper, and back.
const SCALES = {
  linear: { forward: x => x, back: t => t },
  log: { forward: x => x > 0 ? Math.log10(x) : NaN, back: t => 10 ** t },
  one_minus_log: { forward: x => x < 1 ? -Math.log10(1 - x) : NaN, back: t => 1 - 10 ** -t },
};

function niceTicks(low, high, wanted) {
  const raw = (high - low) / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find(m => m * power >= raw) * power;
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high && ticks.length < 100; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

// Ticks of an axis that runs from low to high on paper.
function ticks(kind, low, high, wanted) {
  if (kind === "linear") return niceTicks(low, high, wanted);
  if (high - low < .7) {
    const { forward, back } = SCALES[kind];
    return niceTicks(back(low), back(high), wanted).map(forward).filter(Number.isFinite);
  }
  const fine = (high - low) * 3 <= wanted * 1.4, every = Math.max(1, Math.ceil((high - low) / wanted));
  const list = [];
  for (let k = Math.floor(low); k <= Math.ceil(high); k++) {
    if (!fine && k % every) continue;
    for (const m of fine ? [1, 2, 5] : [1]) {
      const t = kind === "log" ? k + Math.log10(m) : k - Math.log10(m === 1 ? 1 : m === 2 ? .5 : .2);
      if (t >= low - 1e-9 && t <= high + 1e-9) list.push(t);
    }
  }
  return [...new Set(list.map(t => Number(t.toFixed(9))))].sort((a, b) => a - b);
}

// A range on paper around values, with room at the ends; never empty.
function around(list, room = .04) {
  let low = Infinity, high = -Infinity;
  for (const t of list) if (Number.isFinite(t)) { if (t < low) low = t; if (t > high) high = t; }
  if (low > high) return [0, 1];
  if (low === high) { const half = Math.abs(low) * .1 || .5; return [low - half, high + half]; }
  // The width of the range must be a number, too.
  low = Math.max(low, -4e307);
  high = Math.min(high, 4e307);
  return [low - room * (high - low), high + room * (high - low)];
}

// As around, but far outliers do not squeeze the rest: values beyond three times the spread of the
// middle half are left outside (Tukey's far out), where points are drawn at the edge. What is in `must`
// is always inside: the good values are what one looks for, however rare they are.
function robust(list, must = []) {
  const sorted = list.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length < 8) return around(sorted);
  const at = q => sorted[Math.round(q * (sorted.length - 1))], spread = at(.75) - at(.25);
  const inside = sorted.filter(v => v >= at(.25) - 3 * spread && v <= at(.75) + 3 * spread);
  return around(spread > 0 ? inside.concat(must) : sorted);
}
// The better half of the trials' values, as a scale has them.
const betterHalf = forward => values.filter((_, t) => valueRanks[t] >= .5).map(forward);

const allFrames = [];

// A plot. Options: height; x and y, each {label, kind (a name of SCALES, or "choice" with names), range (on paper)};
// draw(g) paints; hits() gives [{trial, x, y}] on paper for pointer and keys; mark(g, trial, strong) paints a
// highlight; tip(hit) gives its words; alt says in words what is seen. Gives back {redraw, change}.
function frame(place, options) {
  const holder = el("div", { class: "plot", role: "img", tabindex: "0", "aria-label": options.alt });
  place.append(holder);
  let u = null, over = null, view = null, hits = null, current = -1;
  const ratio = () => devicePixelRatio || 1;

  const axis = (which, side) => {
    const o = options[which], vertical = side === 3;
    const names = o.kind === "choice";
    const splits = (self, i, low, high) => {
      if (names) return o.names.map((_, k) => k).filter(k => k >= low && k <= high);
      const pixels = (vertical ? self.bbox.height : self.bbox.width) / ratio();
      return ticks(o.kind, low, high, Math.max(2, pixels / (vertical ? 32 : 80)));
    };
    const text = t => names ? short(o.names[t] ?? "", 18) : fmt(Number(SCALES[o.kind].back(t).toPrecision(6)));
    const widest = names ? Math.max(...o.names.map(n => Math.min(18, n.length)), 3) : 6;
    return {
      side, splits, values: (self, list) => list.map(text), filter: (self, list) => list,
      label: o.label ? short(o.label, 60) : undefined, labelSize: 20, labelFont: "12px system-ui, sans-serif", font: "12px system-ui, sans-serif",
      size: vertical ? Math.min(160, 28 + 7.2 * widest) : names && options.slanted ? 70 : 34,
      rotate: !vertical && names && options.slanted ? -40 : 0,
      stroke: colour("--dim"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--line"), width: 1, size: 5 },
    };
  };

  const pencil = (context, self, shift) => ({
    ctx: context, ratio: ratio(), view,
    X: t => self.valToPos(t, "x", true) - shift.x, Y: t => self.valToPos(t, "y", true) - shift.y,
    left: self.bbox.left - shift.x, top: self.bbox.top - shift.y, width: self.bbox.width, height: self.bbox.height,
  });
  const clipped = (context, g, paint) => {
    context.save();
    context.beginPath();
    context.rect(g.left - 6 * g.ratio, g.top - 6 * g.ratio, g.width + 12 * g.ratio, g.height + 12 * g.ratio);
    context.clip();
    paint();
    context.restore();
  };
  const paint = self => {
    const g = pencil(self.ctx, self, { x: 0, y: 0 });
    clipped(self.ctx, g, () => options.draw(g));
    paintOver();
  };
  function paintOver() {
    if (!over || !u || !options.mark) return;
    const context = over.getContext("2d");
    if (over.width !== Math.round(u.bbox.width) || over.height !== Math.round(u.bbox.height)) {
      over.width = Math.round(u.bbox.width);
      over.height = Math.round(u.bbox.height);
      over.style.width = u.bbox.width / ratio() + "px";
      over.style.height = u.bbox.height / ratio() + "px";
    }
    context.clearRect(0, 0, over.width, over.height);
    const g = pencil(context, u, { x: u.bbox.left, y: u.bbox.top });
    if (chosen.select !== null) options.mark(g, chosen.select, false);
    if (chosen.hover !== null && chosen.hover !== chosen.select) options.mark(g, chosen.hover, true);
  }

  const found = () => hits ??= options.hits ? options.hits() : [];
  const position = hit => ({ x: u.valToPos(hit.x, "x"), y: u.valToPos(hit.y, "y") });
  function nearest(event) {
    const box = u.over.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, least = 26 ** 2;
    for (const hit of found()) {
      const p = position(hit), d = (p.x - x) ** 2 + (p.y - y) ** 2;
      if (d < least) { least = d; best = hit; }
    }
    return best;
  }

  function build() {
    if (u) u.destroy();
    holder.replaceChildren();
    view ??= { x: [...options.x.range], y: [...options.y.range] };
    const scale = which => ({ time: false, auto: false, range: () => view[which] });
    let dragged = false;
    u = new uPlot({
      width: Math.max(220, holder.clientWidth), height: options.height ?? 320,
      legend: { show: false },
      cursor: { drag: { x: true, y: true, uni: 24, setScale: false }, points: { show: false }, x: false, y: false },
      scales: { x: scale("x"), y: scale("y") },
      axes: [axis("x", 2), axis("y", 3)],
      series: [{}, { stroke: "transparent", points: { show: false } }],
      hooks: {
        draw: [paint],
        setSelect: [self => {
          const s = self.select;
          dragged = s.width > 4 || s.height > 4;
          if (!dragged) return;
          const x = [self.posToVal(s.left, "x"), self.posToVal(s.left + s.width, "x")];
          const y = [self.posToVal(s.top + s.height, "y"), self.posToVal(s.top, "y")];
          if (s.width > 4 && s.width < self.over.clientWidth) view.x = x;
          if (s.height > 4 && s.height < self.over.clientHeight) view.y = y;
          self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          zoom();
        }],
      },
    }, [[...view.x], [...view.y]], holder);
    over = el("canvas", { class: "over" });
    u.over.append(over);
    u.over.addEventListener("mousemove", event => {
      const hit = nearest(event);
      hover(hit ? hit.trial : null);
      tip(hit ? (options.tip ?? (h => describe(h.trial)))(hit) : "", event.clientX, event.clientY);
    });
    u.over.addEventListener("mouseleave", () => { hover(null); tip(""); });
    u.over.addEventListener("click", event => {
      if (dragged) { dragged = false; return; }
      const hit = nearest(event);
      if (hit) select(hit.trial);
    });
    u.over.addEventListener("dblclick", () => { view = { x: [...options.x.range], y: [...options.y.range] }; zoom(); });
    paintOver();
  }
  function zoom() {
    u.batch(() => {
      u.setScale("x", { min: view.x[0], max: view.x[1] });
      u.setScale("y", { min: view.y[0], max: view.y[1] });
    });
    u.redraw();
  }

  holder.addEventListener("keydown", event => {
    const list = found();
    if (!list.length) return;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      current = (current + (event.key === "ArrowRight" ? 1 : list.length - 1)) % list.length;
      if (current < 0 || Number.isNaN(current)) current = 0;
      const box = u.over.getBoundingClientRect(), p = position(list[current]);
      hover(list[current].trial);
      tip((options.tip ?? (h => describe(h.trial)))(list[current]), box.left + p.x, box.top + p.y);
      event.preventDefault();
    } else if (event.key === "Enter" && list[current]) select(list[current].trial);
    else if (event.key === "Escape") { hover(null); tip(""); }
  });
  holder.addEventListener("blur", () => { hover(null); tip(""); });

  build();
  on("hover", paintOver);
  on("select", paintOver);
  const handle = {
    holder,
    redraw: () => { hits = null; u.redraw(); },
    // Other axes, or another theme: everything anew.
    change: more => { Object.assign(options, more); view = null; hits = null; build(); },
    rebuild: build,
    resize: () => { const w = Math.max(220, holder.clientWidth); if (Math.abs(w - u.width) > 1) u.setSize({ width: w, height: options.height ?? 320 }); },
  };
  allFrames.push(handle);
  return handle;
}

// A trial's mark: hollow if it did not run here.
function trialMark(g, t, x, y, r, paint = fateColour(trials.fate[t]), kind = FATES[trials.fate[t]].shape) {
  shape(g.ctx, kind, x, y, r, paint, Boolean(elsewhere(t)));
}

// A mark of a shape at a place in pixels; what is only lines is thinner when it is hollow.
function shape(ctx, kind, x, y, r, paint, hollow = false) {
  ctx.strokeStyle = ctx.fillStyle = paint;
  ctx.beginPath();
  if (kind === "disc" || kind === "dot" || kind === "ring") {
    ctx.arc(x, y, kind === "dot" ? r * .65 : r, 0, 7);
  } else if (kind === "cross") {
    ctx.moveTo(x - r, y - r); ctx.lineTo(x + r, y + r); ctx.moveTo(x + r, y - r); ctx.lineTo(x - r, y + r);
  } else if (kind === "plus") {
    const s = r * 1.25;
    ctx.moveTo(x - s, y); ctx.lineTo(x + s, y); ctx.moveTo(x, y - s); ctx.lineTo(x, y + s);
  } else if (kind === "square") {
    ctx.rect(x - r * .85, y - r * .85, r * 1.7, r * 1.7);
  } else if (kind === "triangle") {
    ctx.moveTo(x, y + r * 1.1); ctx.lineTo(x - r * 1.1, y - r * .8); ctx.lineTo(x + r * 1.1, y - r * .8); ctx.closePath();
  } else if (kind === "diamond") {
    ctx.moveTo(x, y - r * 1.2); ctx.lineTo(x + r * 1.2, y); ctx.lineTo(x, y + r * 1.2); ctx.lineTo(x - r * 1.2, y); ctx.closePath();
  }
  const isLines = kind === "cross" || kind === "plus" || kind === "ring";
  if (isLines || hollow) { ctx.lineWidth = r * (isLines && !hollow ? .45 : .28); ctx.stroke(); } else ctx.fill();
}

// A ring around a trial's point.
function ring(g, x, y, strong) {
  g.ctx.strokeStyle = colour("--ink");
  g.ctx.lineWidth = (strong ? 2 : 1.6) * g.ratio;
  g.ctx.beginPath();
  g.ctx.arc(x, y, (strong ? 7.5 : 6.5) * g.ratio, 0, 7);
  g.ctx.stroke();
}

// Inside the frame: a value beyond the axis is drawn at its edge.
const clamp = (t, [low, high]) => Math.min(high, Math.max(low, t));

// A legend of fates (those that occur), and of trials from elsewhere; pressing one hides or shows its trials.
function fateLegend(place, hidden, act) {
  const box = el("div", { class: "legend" });
  place.append(box);
  const chips = [];
  const imported = [...values.keys()].filter(elsewhere).length;
  const entries = Object.entries(FATES).map(([fate, look]) => [fate, look, trials.fate.filter(f => f === fate).length]);
  entries.push(["imported", { words: "imported: hollow", shape: "disc", hollow: true }, imported]);
  for (const [fate, look, n] of entries) {
    if (!n) continue;
    const chip = el("canvas", { width: 32, height: 32, "aria-hidden": "true" });
    const button = el("button", { type: "button", "aria-pressed": "true", title: "hide or show" }, chip, look.words + " (" + n + ")");
    button.addEventListener("click", () => {
      if (!hidden.delete(fate)) hidden.add(fate);
      button.setAttribute("aria-pressed", String(!hidden.has(fate)));
      act();
    });
    chips.push(() => { const c = chip.getContext("2d"); c.clearRect(0, 0, 32, 32); shape(c, look.shape, 16, 16, 10, look.hollow ? colour("--ink") : fateColour(fate), look.hollow); });
    box.append(button);
  }
  const paint = () => chips.forEach(chip => chip());
  paint();
  on("theme", paint);
}

// A legend of choices: lines in their colours. names in order; act(hidden set) on a press.
function choiceLegend(place, names, hidden, act) {
  const box = el("div", { class: "legend" });
  place.append(box);
  const chips = names.map((name, n) => {
    const chip = el("canvas", { width: 32, height: 32, "aria-hidden": "true" });
    const button = el("button", { type: "button", "aria-pressed": "true", title: "hide or show" }, chip, short(name, 40));
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      act();
    });
    box.append(button);
    return () => {
      const c = chip.getContext("2d");
      c.clearRect(0, 0, 32, 32);
      c.strokeStyle = choiceColour(n); c.lineWidth = 5; c.setLineDash(choiceDash(n));
      c.beginPath(); c.moveTo(1, 16); c.lineTo(31, 16); c.stroke();
    };
  });
  const paint = () => chips.forEach(chip => chip());
  paint();
  on("theme", paint);
  return box;
}
