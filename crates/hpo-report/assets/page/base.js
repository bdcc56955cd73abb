// Helpers of the page: elements, words, colours, and what the plots say to each other.
// Everything that comes from the study reaches the page as text nodes, never as HTML.

const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("unhandledrejection", event => errors.push(String(event.reason)));

const report = JSON.parse(document.getElementById("data").textContent);
const trials = report.trials;
const count = trials.fate.length;
const maximize = report.study.goal === "maximize";
const sections = new Map();

// A section's script says how it is drawn: draw(data, place, report).
function section(name, draw) { sections.set(name, draw); }

// An element: el("p", {class: "dim"}, "text", child, …); null children are left out.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

// A number as JSON has it: numbers, and the texts for those that it cannot write.
function num(x) {
  if (typeof x === "number") return x;
  return x === "Infinity" ? Infinity : x === "-Infinity" ? -Infinity : NaN;
}

// In four digits: 0.01235, 1.2e-5.
function fmt(x) {
  if (x === null || x === undefined) return "–";
  if (typeof x === "boolean") return String(x);
  if (typeof x !== "number") return String(x);
  if (x === 0 || !Number.isFinite(x)) return String(x);
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-4) return x.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(x.toPrecision(4)));
}

function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 60) return s.toFixed(1) + "s";
  const whole = Math.round(s), h = Math.floor(whole / 3600), m = Math.floor(whole % 3600 / 60);
  if (h >= 48) return Math.floor(h / 24) + "d " + h % 24 + "h";
  return h ? h + "h " + String(m).padStart(2, "0") + "m" : m + "m " + String(whole % 60).padStart(2, "0") + "s";
}

const percent = share => fmt(Math.round(share * 1000) / 10) + " %";

function short(text, most) {
  const letters = Array.from(String(text));
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : letters.join("");
}

// Fates, in the order of legends; colours after Okabe and Ito, told apart by shape as well.
const FATES = {
  completed: { words: "completed", shape: "disc", light: "#0072b2", dark: "#4aa3df" },
  pruned: { words: "pruned", shape: "dot", light: "#8b939c", dark: "#7d8894" },
  diverged: { words: "diverged", shape: "cross", light: "#d55e00", dark: "#ff8a3d" },
  stuck: { words: "stuck", shape: "square", light: "#b0508a", dark: "#e08fbf" },
  no_progress: { words: "no progress", shape: "triangle", light: "#c98500", dark: "#f0b73a" },
  failed: { words: "failed", shape: "plus", light: "#1b1f24", dark: "#f2f4f6" },
  cut_off: { words: "cut off (by you, or by time)", shape: "diamond", light: "#3d9fd1", dark: "#7cc7ef" },
  running: { words: "running", shape: "ring", light: "#009e73", dark: "#2fd0a0" },
  waiting: { words: "waiting", shape: "ring", light: "#8b939c", dark: "#7d8894" },
};
const FINDINGS = { diverged: "diverged", stuck: "stuck", no_progress: "no_progress", spiking: "spiking", recovered: "recovered", rescued: "rescued" };
const LIGHT = ["#0072b2", "#d98200", "#009e73", "#d55e00", "#b0508a", "#3d9fd1", "#7a7a12", "#882255", "#2f8f82", "#332288", "#6b4c2a", "#5b6570"];
const DARK = ["#4aa3df", "#f0b73a", "#2fd0a0", "#ff8a3d", "#e08fbf", "#9bd7f5", "#cfc94a", "#d86a97", "#62cfc0", "#9b8cff", "#c9a37c", "#9aa5b1"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];

const dark = () => document.documentElement.dataset.theme === "dark";
const fateColour = fate => FATES[fate]?.[dark() ? "dark" : "light"] ?? colour("--dim");
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// The n-th of several choices: a colour, and dashes from the second round on.
const choiceColour = n => (dark() ? DARK : LIGHT)[n % LIGHT.length];
const choiceDash = n => DASHES[Math.floor(n / LIGHT.length) % DASHES.length];
function findingColour(verdict) {
  if (verdict === "spiking") return dark() ? "#f0b73a" : "#c98500";
  if (verdict === "recovered") return dark() ? "#2fd0a0" : "#009e73";
  if (verdict === "rescued") return dark() ? "#9b8cff" : "#5a3fc0";
  return fateColour(verdict);
}

// From 0 (worst) to 1 (best): cividis (Nuñez, Anderton & Renslow, 2018), readable in every kind of colour vision.
const CIVIDIS = [[0, 34, 78], [31, 59, 111], [77, 84, 110], [111, 109, 115], [142, 136, 120], [178, 165, 112], [216, 196, 88], [254, 232, 56]];
function shade(t) {
  // Very dark on dark and very light on light cannot be seen: the ends are left out.
  const [low, high] = dark() ? [.22, 1] : [0, .93];
  const place = (low + (high - low) * Math.min(1, Math.max(0, t))) * (CIVIDIS.length - 1);
  const i = Math.min(CIVIDIS.length - 2, Math.floor(place)), part = place - i;
  return "rgb(" + CIVIDIS[i].map((c, k) => Math.round(c + part * (CIVIDIS[i + 1][k] - c))).join(",") + ")";
}

// Ranks of the finite values, from 0 for the worst to 1 for the best; NaN for the others.
function ranks(values) {
  const order = values.map((v, i) => i).filter(i => Number.isFinite(values[i]));
  order.sort((a, b) => (maximize ? 1 : -1) * (values[a] - values[b]));
  const rank = new Array(values.length).fill(NaN);
  order.forEach((i, place) => { rank[i] = order.length > 1 ? place / (order.length - 1) : 1; });
  // Equal values have equal ranks.
  for (let k = 1; k < order.length; k++) if (values[order[k]] === values[order[k - 1]]) rank[order[k]] = rank[order[k - 1]];
  return rank;
}

const values = trials.value.map(v => v === null ? NaN : num(v));
const valueRanks = ranks(values);

// What plots say to each other: which trial is under the pointer, which one is chosen; a new theme.
const listeners = { hover: [], select: [], theme: [] };
const on = (what, act) => listeners[what].push(act);
const tell = (what, ...words) => listeners[what].forEach(act => act(...words));
const chosen = { hover: null, select: null };
function hover(trial) {
  if (chosen.hover === trial) return;
  chosen.hover = trial;
  tell("hover", trial);
}
function select(trial, show = true) {
  if (trial === null || trial < 0 || trial >= count) return;
  chosen.select = trial;
  tell("select", trial, show);
}

// The parameters as the plots show them: those that matter more than chance first, then those that most trials have.
function byImportance() {
  const known = new Map((report.sections.importance?.parameters ?? []).map(p => [p.name, p]));
  const has = p => trials.params[p.name]?.filter(v => v !== null).length ?? 0;
  const sure = p => known.get(p.name)?.share > known.get(p.name)?.chance ? known.get(p.name).share : 0;
  return report.parameters.filter(has).sort((a, b) => sure(b) - sure(a) || has(b) - has(a) || (known.get(b.name)?.share ?? 0) - (known.get(a.name)?.share ?? 0));
}

// Where a trial is from that did not run here: {source, name, as}, or null.
const elsewhere = trial => trials.imported?.[trial] ?? null;
const state = trial => (FATES[trials.fate[trial]]?.words ?? trials.fate[trial]) + (elsewhere(trial) ? ", imported" : "") + (trials.rescues[trial] ? ", rescued" : "");
// Whether a legend hides a trial: its fate, or where it is from.
const isHidden = (hidden, trial) => hidden.has(trials.fate[trial]) || Boolean(elsewhere(trial)) && hidden.has("imported");

// A trial in a few lines.
function describe(trial) {
  const lines = ["trial " + trial + ": " + state(trial)], from = elsewhere(trial);
  if (trials.value[trial] !== null) lines.push(report.study.metric + " = " + fmt(trials.value[trial]) + (trials.step[trial] === null ? "" : " at step " + trials.step[trial]));
  if (from) lines.push(short("from " + from.source + ", " + from.name + ", as " + from.as, 160));
  const params = Object.keys(trials.params).filter(name => trials.params[name][trial] !== null);
  const first = ["optimizer", "lr", "learning_rate", "schedule"];
  params.sort((a, b) => (first.indexOf(a) + 9) % 9 - (first.indexOf(b) + 9) % 9);
  lines.push(short(params.slice(0, 8).map(name => short(name, 24) + "=" + short(fmt(trials.params[name][trial]), 24)).join("  "), 260));
  if (trials.detail[trial]) lines.push(short(trials.detail[trial], 160));
  return lines.join("\n");
}

const tipBox = el("div", { id: "tip", role: "status" });
function tip(text, x, y) {
  if (!text) { tipBox.style.display = "none"; return; }
  tipBox.textContent = text;
  tipBox.style.display = "block";
  const box = tipBox.getBoundingClientRect();
  tipBox.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
  tipBox.style.top = (y + 16 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 16) + "px";
}

// Buttons of which one is pressed: choose([["log", "log scale"], …], "log", name => …).
function choose(options, first, act, label) {
  const group = el("span", { role: "group", "aria-label": label });
  const buttons = options.map(([name, words]) => {
    const button = el("button", { type: "button", "aria-pressed": String(name === first) }, words);
    button.addEventListener("click", () => {
      buttons.forEach(b => b.setAttribute("aria-pressed", String(b === button)));
      act(name);
    });
    return button;
  });
  group.append(...buttons);
  return group;
}

function checkbox(words, first, act) {
  const box = el("input", { type: "checkbox" });
  box.checked = first;
  box.addEventListener("change", () => act(box.checked));
  return el("label", {}, box, words);
}

function dropdown(words, options, first, act) {
  const list = el("select", {}, options.map(([value, text]) => el("option", { value }, short(text, 60))));
  list.value = first;
  list.addEventListener("change", () => act(list.value));
  return el("label", {}, words, list);
}

// Copies a text; where the browser has no clipboard for files, by way of a selection.
async function copy(text, button) {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = words; }, 1500);
}
