// Put into a copy of the report by the test: waits until it is drawn, uses everything on it, and writes down what came of it.
(async function check() {
  const pause = time => new Promise(next => setTimeout(next, time));
  while (!document.documentElement.dataset.ready) await pause(20);
  await pause(100);
  const canvases = place => [...place.querySelectorAll("canvas:not(.over):not([aria-hidden])")];
  const painted = canvas => canvas.width > 0 && canvas.height > 0
    && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte !== 0);
  const drawn = [...document.querySelectorAll("section")].map(place => [place.id, {
    plots: canvases(place).length,
    blank: canvases(place).filter(canvas => !painted(canvas)).length,
    rows: place.querySelectorAll("tbody tr").length,
    text: place.textContent.slice(0, 20000),
  }]);

  // The pointer over every plot, a click, a drag, a double click; keys.
  for (const over of document.querySelectorAll(".u-over, section > div canvas")) {
    const box = over.getBoundingClientRect(), at = (x, y) => ({ bubbles: true, clientX: box.left + x * box.width, clientY: box.top + y * box.height });
    for (const part of [.1, .5, .9]) over.dispatchEvent(new MouseEvent("mousemove", at(part, part)));
    over.dispatchEvent(new MouseEvent("mousedown", at(.2, .2)));
    document.dispatchEvent(new MouseEvent("mousemove", at(.6, .7)));
    document.dispatchEvent(new MouseEvent("mouseup", at(.6, .7)));
    over.dispatchEvent(new MouseEvent("click", at(.5, .5)));
    over.dispatchEvent(new MouseEvent("dblclick", at(.5, .5)));
    over.dispatchEvent(new MouseEvent("mouseleave"));
  }
  let hovered = 0;
  for (const plot of document.querySelectorAll(".plot[tabindex]")) {
    for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "Enter", "Escape"]) plot.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    if (chosen.hover !== null && document.getElementById("tip").style.display === "block") hovered++;
    plot.dispatchEvent(new FocusEvent("blur"));
  }
  // Every control, twice; a place that is unfolded may bring more.
  document.querySelectorAll("details").forEach(place => { place.open = true; });
  await pause(50);
  const controls = [...document.querySelectorAll("button, input[type=checkbox], select")];
  for (const control of controls.concat(controls)) {
    if (control.tagName === "SELECT") {
      control.selectedIndex = (control.selectedIndex + 1) % control.length;
      control.dispatchEvent(new Event("change"));
    } else if (control.textContent !== "copy") control.click();
  }
  const filter = document.querySelector("#trials input");
  const counted = text => {
    if (!filter) return null;
    filter.value = text;
    filter.dispatchEvent(new Event("input"));
    return document.querySelectorAll("#trials tbody tr").length;
  };
  const filtered = { all: counted(""), none: counted("no such word"), odd: counted("trial<4 trial>=1 trial!=2") };
  counted("");
  for (const trial of [0, count - 1]) if (count) select(trial);
  await pause(200);
  const result = { errors, drawn: Object.fromEntries(drawn), hovered, controls: controls.length, filtered, plots: allFrames.length, fetched: performance.getEntriesByType("resource").map(entry => entry.name) };
  const safe = JSON.stringify(result).replace(/[<>&]/g, c => "\\u00" + c.charCodeAt(0).toString(16));
  document.body.append(el("script", { type: "application/json", id: "check" }, safe));
})();
