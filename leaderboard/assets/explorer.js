// The error explorer: choices in the address, a chart of sorted errors, a table of all samples.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 900, HEIGHT = 300, LEFT = 56, RIGHT = 12, TOP = 12, BOTTOM = 40;
  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
    if (options.some(([value]) => value === before)) select.value = before;
  };
  const find = () => data.cells.find((c) => c.train === $("train").value && c.test === $("test").value);
  const unique = (values) => [...new Set(values)].map((v) => [v, v]);
  const label = (key) => data.methods.find((m) => m.key === key)?.label ?? "";
  const index = (key) => data.methods.find((m) => m.key === key)?.index ?? 0;

  const chart = (order, first, second) => {
    const top = Math.max(...first, ...(second ?? [])) * 1.05;
    const x = (i) => LEFT + (i + 0.5) / order.length * (WIDTH - LEFT - RIGHT);
    const y = (v) => HEIGHT - BOTTOM - v / top * (HEIGHT - BOTTOM - TOP);
    const plot = element("svg", { class: "plot wide", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
      "aria-label": `Errors of ${order.length} samples in descending order; the table below has them.` });
    const step = [25, 50, 100, 200, 500].find((s) => top / s <= 7) ?? 1000;
    for (let v = 0; v <= top; v += step) {
      plot.append(element("path", { d: `M${LEFT} ${y(v)}H${WIDTH - RIGHT}`, class: "grid" }),
        element("text", { x: LEFT - 6, y: y(v) + 4, class: "tick end" }, v));
    }
    plot.append(element("text", { x: 12, y: HEIGHT / 2, class: "label middle", transform: `rotate(-90 12 ${HEIGHT / 2})` }, "MAE (m/s)"),
      element("text", { x: WIDTH / 2, y: HEIGHT - 8, class: "label middle" }, "samples, largest error first"));
    const dots = (values, key, shape) => {
      const group = element("g", { class: `m-${index(key)} s-${index(key)}` });
      order.forEach((sample, i) => {
        const tip = `sample ${sample}\n${label(key)} ${Math.round(values[sample])} m/s`;
        group.append(shape === "circle"
          ? element("circle", { cx: x(i), cy: y(values[sample]), r: 3.2, class: "dot", "data-tip": tip })
          : element("path", { d: `M${x(i) - 3.5} ${y(values[sample])}h7M${x(i)} ${y(values[sample]) - 3.5}v7`, class: "plus", "data-tip": tip }));
      });
      plot.append(group);
    };
    if (second) dots(second, $("other").value, "plus");
    dots(first, $("method").value, "circle");
    $("sorted").replaceChildren(plot, Object.assign(document.createElement("figcaption"),
      { textContent: second ? `Dots: ${label($("method").value)}; crosses: ${label($("other").value)} on the same samples.` : `Dots: ${label($("method").value)}.` }));
  };

  const show = () => {
    const cell = find(), first = cell.errors[$("method").value], second = cell.errors[$("other").value];
    const order = first.map((_, i) => i).sort((a, b) => first[b] - first[a]);
    chart(order, first, second);
    const mean = (v) => v.reduce((a, b) => a + b, 0) / v.length;
    const seeds = cell.seeds[$("method").value];
    $("summary").textContent = `${order.length} samples, ${seeds} ${seeds === 1 ? "seed" : "seeds"}. ${label($("method").value)}: mean ${Math.round(mean(first))} m/s, worst ${Math.round(first[order[0]])} m/s (sample ${order[0]}).`
      + (second ? ` ${label($("other").value)}: mean ${Math.round(mean(second))} m/s; better on ${order.filter((i) => second[i] < first[i]).length} of ${order.length} samples.` : "");
    $("samples").caption.textContent = `${label($("method").value)}, fitted on ${cell.train}, tested on ${cell.test}, largest errors first.`;
    $("beside").hidden = !second;
    $("beside").textContent = second ? label($("other").value) + " (m/s)" : "";
    $("samples").tBodies[0].replaceChildren(...order.map((sample) => {
      const row = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: sample });
      const values = [first, second].map((v) => Object.assign(document.createElement("td"), { textContent: v ? Math.round(v[sample]) : "", hidden: !v }));
      const maps = document.createElement("td"), href = cell.maps[$("method").value]?.[sample];
      maps.append(href ? Object.assign(document.createElement("a"), { href, textContent: "maps" }) : "–");
      row.append(head, ...values, maps);
      return row;
    }));
  };

  const refresh = () => {
    fill($("test"), unique(data.cells.filter((c) => c.train === $("train").value).map((c) => c.test)));
    const known = data.methods.filter((m) => m.key in find().errors).map((m) => [m.key, m.label]);
    fill($("method"), known);
    fill($("other"), [["", "–"], ...known]);
    show();
  };
  const names = ["method", "other", "train", "test"];
  const restore = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    fill($("train"), unique(data.cells.map((c) => c.train)));
    if (state.has("train")) $("train").value = state.get("train");
    if (!$("train").value) $("train").selectedIndex = 0;
    fill($("test"), unique(data.cells.filter((c) => c.train === $("train").value).map((c) => c.test)));
    if (state.has("test")) $("test").value = state.get("test");
    if (!$("test").value) $("test").selectedIndex = 0;
    fill($("method"), data.methods.map((m) => [m.key, m.label]));
    fill($("other"), [["", "–"], ...data.methods.map((m) => [m.key, m.label])]);
    $("method").value = state.get("method") ?? data.first;
    if (!$("method").value) $("method").value = data.first;
    $("other").value = state.get("other") ?? "";
    refresh();
  };
  names.forEach((name) => $(name).addEventListener("change", () => {
    refresh();
    const state = new URLSearchParams(location.hash.slice(1)); // with the unit, which is not ours
    names.forEach((n) => ($(n).value ? state.set(n, $(n).value) : state.delete(n)));
    history.replaceState(null, "", "#" + state);
  }));
  addEventListener("hashchange", restore);
  $("explorer").hidden = false;
  $("sorted").hidden = false;
  restore();
})();
