// The best configuration, its value, and the code to take it away.
section("answer", (data, place) => {
  if (data.trial === null) {
    place.append(el("p", { class: "big" }, "No trial completed, so there is no best configuration."), data.on_the_way ? el("p", {}, data.on_the_way) : null);
    return;
  }
  const goal = maximize ? "larger is better" : "smaller is better";
  const link = el("button", { type: "button", onclick: () => select(data.trial) }, "show trial " + data.trial);
  const facts = el("div", {},
    el("p", { class: "big" }, data.several ? data.several.values : report.study.metric + " = " + fmt(data.value)),
    el("p", { class: "dim" }, "trial " + data.trial + (data.several ? ", the best compromise of " + data.several.front + " " : ", at step " + fmt(data.step) + " (" + goal + ") "), link),
    data.repeated ? el("p", {}, data.repeated) : null,
    data.confirmed ? el("p", {}, data.confirmed) : null,
    data.confirming ? el("p", { class: "dim" }, data.confirming) : null,
    data.table ? el("pre", { tabindex: "0" }, data.table) : null,
    data.rescues.map(words => el("p", { class: "warn" }, "The trial was " + words + ": its value was not reached with this configuration from the beginning.")),
    // The other half of the answer: whether another optimizer would have done as well.
    (report.sections.choices ?? []).slice(0, 1).map(comparison => el("p", {}, comparison.sentence)),
    el("table", {}, el("tbody", {}, data.params.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "wrap" }, value))))));
  const names = Object.keys(data.exports);
  const first = names.includes("pytorch") ? "pytorch" : names.includes("args") ? "args" : names[0];
  const code = el("pre", { tabindex: "0", "aria-label": "the configuration as code" });
  let shown = first;
  const show = name => { shown = name; code.textContent = data.exports[name]; };
  show(first);
  const copier = el("button", { type: "button" }, "copy");
  copier.addEventListener("click", () => copy(data.exports[shown], copier));
  const order = ["pytorch", "keras", "args", "yaml", "json", "env"].filter(name => names.includes(name));
  const tools = el("div", { class: "tools" }, "take it away as", choose(names.filter(n => !order.includes(n)).concat(order).map(n => [n, n]), first, show, "format"), copier);
  place.append(el("div", { class: "columns" }, facts, el("div", {}, tools, code)));
});
