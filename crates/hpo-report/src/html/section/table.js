// All trials.
section("trials", (data, place) => {
  const filter = el("input", { type: "search", placeholder: "filter: adam  lr<0.01  state=pruned", style: "width:22em;max-width:100%", "aria-label": "filter trials" });
  const words = el("span", { class: "dim" });
  place.append(el("div", { class: "tools" }, filter, words));
  const params = report.parameters.map(p => p.name).filter(name => trials.params[name]);
  const constant = Object.keys(trials.params).filter(name => !params.includes(name));
  const column = (name, list) => ({ name, words: name, number: list.some(v => typeof v === "number"), cell: t => list[t] === null ? "–" : fmt(num(list[t]) === num(list[t]) ? num(list[t]) : list[t]), key: t => typeof list[t] === "number" ? list[t] : list[t] === null ? null : String(list[t]) });
  const metrics = Object.keys(trials.metrics).slice(0, 30);
  const columns = [
    { name: "trial", number: true, cell: t => String(t), key: t => t },
    { name: "state", cell: t => state(t), key: t => trials.fate[t] },
    { name: report.study.metric, number: true, down: maximize, cell: t => trials.value[t] === null ? "–" : fmt(trials.value[t]), key: t => values[t] },
    { name: "step", number: true, cell: t => fmt(trials.step[t]), key: t => trials.step[t] },
    { name: "time", number: true, cell: t => trials.attempts[t] ? seconds(num(trials.duration_s[t])) : "–", key: t => num(trials.duration_s[t]) },
    ...params.concat(constant).map(name => column(name, trials.params[name])),
    ...metrics.map(name => ({ ...column(name, trials.metrics[name]), name: "metrics." + name, words: name in trials.params ? name + " (last)" : name })),
    { name: "evidence", cell: t => trials.detail[t] ?? "–" },
  ];
  const list = table(place, { rows: [...values.keys()], columns, most: 100, tall: true, link: t => select(t) });
  const tell = () => { words.textContent = list.shown() + " of " + count + " trials"; };
  tell();
  const get = new Map();
  columns.forEach(c => { get.set(c.name.toLowerCase(), c); if (c.words) get.set(c.words.toLowerCase(), get.get(c.words.toLowerCase()) ?? c); });
  // Words must be somewhere in the row; name<1, name>=1 and name=word look at one column.
  function wanted(term) {
    const parts = /^(.+?)(<=|>=|!=|<|>|=)(.+)$/.exec(term), at = parts && get.get(parts[1].toLowerCase());
    if (!at) return t => columns.some(c => String(c.cell(t)).toLowerCase().includes(term.toLowerCase()));
    const [, , how, what] = parts, number = Number(what);
    return t => {
      const value = at.key(t), text = String(at.cell(t)).toLowerCase();
      if (how === "=" || how === "!=") return (how === "=") === (Number.isNaN(number) ? text.includes(what.toLowerCase()) : value === number);
      if (typeof value !== "number" || Number.isNaN(value)) return false;
      return how === "<" ? value < number : how === ">" ? value > number : how === "<=" ? value <= number : value >= number;
    };
  }
  filter.addEventListener("input", () => {
    const terms = filter.value.trim().split(/\s+/).filter(Boolean).map(wanted);
    list.filter([...values.keys()].filter(t => terms.every(term => term(t))));
    tell();
  });
  place.append(el("p", { class: "caption" }, "Press a heading to sort, a row to see its trial. The filter takes words that stand in the row, and conditions such as lr<0.01, state=pruned, " + short(report.study.metric, 30) + ">=0.5; all must hold."));
});
