// A table that can be sorted and, where it is long, filtered. Columns: {name, words, number, cell(row) → text or node,
// key(row) → what is sorted by, wrap}. Options: rows, columns, most (rows shown at first), link(row), sort: [column, down].
function table(place, options) {
  let rows = options.rows, sorted = options.sort ?? null, most = options.most ?? 200;
  const body = el("tbody"), more = el("p", { class: "dim noprint" });
  const heads = options.columns.map((column, i) => {
    const button = el("button", { type: "button", title: "sort by this" }, short(column.words ?? column.name, 40));
    const head = el("th", { scope: "col", class: column.number ? "n" : null }, button);
    button.addEventListener("click", () => {
      sorted = [i, sorted && sorted[0] === i ? !sorted[1] : Boolean(column.down)];
      show();
    });
    return head;
  });
  const key = (column, row) => (column.key ?? column.cell)(row);
  function compare(a, b) {
    const [i, down] = sorted, x = key(options.columns[i], a), y = key(options.columns[i], b);
    const missing = v => v === null || v === undefined || v === "" || Number.isNaN(v);
    if (missing(x) || missing(y)) return Number(missing(x)) - Number(missing(y));
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
    return down ? -order : order;
  }
  function show() {
    const list = sorted ? [...rows].sort(compare) : rows;
    heads.forEach((head, i) => head.setAttribute("aria-sort", !sorted || sorted[0] !== i ? "none" : sorted[1] ? "descending" : "ascending"));
    body.replaceChildren(...list.slice(0, most).map(row => {
      const line = el("tr", { class: options.link ? "link" : null }, options.columns.map(column => {
        const cell = column.cell(row);
        const text = typeof cell === "string" ? cell : null;
        return el("td", { class: column.number ? "n" : column.wrap ? "wrap" : null, title: text && text.length > 40 ? text : null }, cell ?? "–");
      }));
      if (options.link) {
        line.tabIndex = 0;
        line.addEventListener("click", () => options.link(row));
        line.addEventListener("keydown", event => { if (event.key === "Enter") options.link(row); });
      }
      return line;
    }));
    more.replaceChildren();
    if (list.length > most) {
      const button = el("button", { type: "button" }, "show more");
      button.addEventListener("click", () => { most += 500; show(); });
      more.append("the first " + most + " of " + list.length + " ", button);
    }
  }
  place.append(el("div", { class: "scroll" + (options.tall ? " tall" : "") }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body)), more);
  show();
  return { filter: kept => { rows = kept; show(); }, shown: () => rows.length };
}
