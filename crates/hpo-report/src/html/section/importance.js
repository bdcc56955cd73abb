// How much each parameter matters, beside what chance alone gives.
section("importance", (data, place) => {
  if (!data.parameters.length) {
    place.append(el("p", {}, "Too little to say: it takes at least " + data.fewest + " finished trials, and some that are better than others."));
    return;
  }
  const widest = Math.max(...data.parameters.map(p => Math.max(p.share, p.chance)), 1e-9);
  const width = share => Math.max(0, Math.min(100, 100 * share / widest)) + "%";
  const bar = p => {
    const sure = p.share > p.chance;
    return el("div", { class: "bar", style: "min-width:180px", title: percent(p.share) + "; chance alone stays below " + percent(p.chance) },
      el("i", { style: "left:0;width:" + width(p.share) + ";background:" + (sure ? "var(--bar)" : "var(--line)") }),
      el("b", { style: "left:" + width(p.chance) }));
  };
  const where = p => p.regimes.filter(r => r.when).sort((a, b) => b.share - a.share).slice(0, 4).map(r => percent(r.share) + " where " + r.when + " (" + r.top + " of the best, " + r.trials + " of all)").join("; ");
  table(place, {
    rows: [...data.parameters].sort((a, b) => (b.share > b.chance) - (a.share > a.chance) || b.share - a.share),
    columns: [
      { words: "parameter", cell: p => short(p.name, 40) },
      { words: "importance", number: true, down: true, cell: p => percent(p.share), key: p => p.share },
      { words: "", cell: bar, key: p => p.share },
      { words: "more than chance?", cell: p => p.share > p.chance ? "yes" : "no", key: p => p.share - p.chance },
      { words: "of which", wrap: true, cell: p => where(p) || "–" },
    ],
  });
  place.append(el("p", { class: "caption" }, "Conditional PED-ANOVA (arXiv 2304.10255, 2601.20800): how different are a parameter's values in the " + data.top + " best of " + data.trials + " finished trials from those in all? As shares of all importance. Parameters that exist only with some values of others count by branch, with the branch's part in the best trials. The upright line: 19 of 20 random picks of " + data.top + " trials stay below it, so a shorter bar (grey) may be chance. It says what told good from bad within these ranges, not what to turn next."));
});
