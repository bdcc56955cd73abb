// Steps taken and not taken, as one bar.
section("saved", (data, place) => {
  data.sentences.forEach(sentence => place.append(el("p", {}, sentence)));
  const parts = [
    ["completed", "taken by completed trials", () => fateColour("completed")], ["pruned", "taken by pruned trials", () => fateColour("pruned")],
    ["lost", "taken by hopeless trials", () => fateColour("diverged")], ["other", "taken by others (failed, running, cut off)", () => fateColour("cut_off")],
    ["saved_by_pruning", "saved by pruning", () => "repeating-linear-gradient(45deg," + fateColour("pruned") + " 0 2px,transparent 2px 7px)"],
    ["saved_by_divergence", "saved by the divergence rules", () => "repeating-linear-gradient(45deg," + fateColour("diverged") + " 0 2px,transparent 2px 7px)"],
  ].filter(([name]) => data.steps[name] > 0);
  const total = parts.reduce((sum, [name]) => sum + data.steps[name], 0);
  const stack = el("div", { class: "stack", role: "img", "aria-label": parts.map(([name, words]) => words + ": " + data.steps[name] + " steps").join("; ") });
  const list = el("table", {}, el("tbody", {}));
  const paint = () => {
    stack.replaceChildren(...parts.map(([name, words, paint]) => el("i", { title: words, style: "flex:" + data.steps[name] + " 0 0;background:" + paint() })));
    list.tBodies[0].replaceChildren(...parts.map(([name, words, paint]) => el("tr", {}, el("td", {}, el("span", { class: "chip", style: "background:" + paint() }), words), el("td", { class: "n" }, data.steps[name] + " steps"), el("td", { class: "n" }, percent(data.steps[name] / Math.max(1, total))))));
  };
  paint();
  on("theme", paint);
  place.append(stack, list, el("p", { class: "caption" }, "All steps, had every trial run to its end" + (data.planned_steps ? " at step " + data.planned_steps : "") + ". Hopeless trials are counted to their next rung only: further they would have gone only if they had been among the best."));
});
