// Tables that sort, search and filter, with their state in the address; figures that answer.
(() => {
  "use strict";
  const $ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // State: #key=value&key=value. A fragment, because files have no query that scripts may change.
  const read = () => new URLSearchParams(location.hash.slice(1));
  const write = (changes) => {
    const state = read();
    for (const [key, value] of Object.entries(changes))
      value ? state.set(key, value) : state.delete(key);
    const text = state.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", text ? "#" + text : location.pathname.split("/").pop() || "#");
  };

  const table = document.querySelector("table.board");
  if (table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = $("th[data-key]", table);
    const search = document.getElementById("search");
    const status = document.getElementById("status");
    const chips = $("[data-filter]");
    const fields = $("select[data-field]");
    const columns = $("[data-columns]");
    const defaults = columns.filter((c) => c.getAttribute("aria-pressed") === "true").map((c) => c.dataset.columns);

    const sort = (key, direction) => {
      const head = heads.find((h) => h.dataset.key === key);
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      if (!head) { original.forEach((row) => body.append(row)); return; }
      head.setAttribute("aria-sort", direction === "desc" ? "descending" : "ascending");
      const column = head.cellIndex, sign = direction === "desc" ? -1 : 1;
      const value = (row) => row.cells[column].dataset.sort ?? "";
      const numeric = head.dataset.kind !== "text";
      [...original].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // unknown is last either way
        return sign * (numeric ? x - y : x.localeCompare(y));
      }).forEach((row) => body.append(row));
    };

    const filter = (state) => {
      const words = (state.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
      const kinds = (state.get("cat") || "").split(",").filter(Boolean);
      let shown = 0;
      for (const row of original) {
        const text = row.dataset.text;
        const fits = words.every((w) => text.includes(w)) && (!kinds.length || kinds.includes(row.dataset.category))
          && fields.every((f) => !state.get(f.dataset.field) || row.dataset[f.dataset.field] === state.get(f.dataset.field));
        row.hidden = !fits;
        shown += fits;
      }
      if (status) status.textContent = !shown ? `No ${table.dataset.rows} match` : shown === original.length ? `${shown} ${table.dataset.rows}` : `${shown} of ${original.length} ${table.dataset.rows}`;
      chips.forEach((chip) => chip.setAttribute("aria-pressed", kinds.includes(chip.dataset.filter)));
    };

    const choose = (state) => {
      if (!columns.length) return;
      const shown = state.has("cols") ? state.get("cols").split(",") : defaults;
      columns.forEach((c) => c.setAttribute("aria-pressed", shown.includes(c.dataset.columns)));
      $("[data-needs]", table).forEach((cell) => {
        cell.hidden = !cell.dataset.needs.split(" ").every((need) => shown.includes(need));
      });
      $("tr.groups th[data-group]", table).forEach((cell) => {
        const inside = heads.filter((h) => h.dataset.group === cell.dataset.group && !h.hidden);
        cell.hidden = !inside.length;
        cell.colSpan = Math.max(inside.length, 1);
        inside.forEach((h, i) => $(`[data-column="${h.dataset.key}"]`, table).concat(h)
          .forEach((c) => c.classList.toggle("start", i === 0)));
      });
    };

    const apply = () => {
      const state = read();
      const [key, direction] = (state.get("sort") || "").split(".");
      sort(key, direction);
      filter(state);
      choose(state);
      fields.forEach((f) => { f.value = state.get(f.dataset.field) || ""; });
      if (search && search.value !== (state.get("q") || "")) search.value = state.get("q") || "";
    };

    heads.forEach((head) => head.querySelector("button").addEventListener("click", () => {
      const [key, direction] = (read().get("sort") || "").split(".");
      const first = head.dataset.first || "asc", other = first === "asc" ? "desc" : "asc";
      const again = key === head.dataset.key;
      write({ sort: again && direction === other ? "" : `${head.dataset.key}.${again ? other : first}` });
      apply();
    }));
    fields.forEach((f) => f.addEventListener("input", () => { write({ [f.dataset.field]: f.value }); apply(); }));
    search?.addEventListener("input", () => { write({ q: search.value.trim() }); apply(); });
    const toggle = (items, attribute, key, whole) => items.forEach((item) => item.addEventListener("click", () => {
      const on = item.getAttribute("aria-pressed") !== "true";
      item.setAttribute("aria-pressed", on);
      const chosen = items.filter((i) => i.getAttribute("aria-pressed") === "true").map((i) => i.dataset[attribute]);
      const same = whole && chosen.join() === whole.join();
      write({ [key]: same ? "" : chosen.join(",") || (whole ? "none" : "") });
      apply();
    }));
    toggle(chips, "filter", "cat", null);
    toggle(columns, "columns", "cols", defaults);
    addEventListener("hashchange", apply);
    apply();
  }

  // Legends: one click takes a method out of every figure of the page.
  const series = $("[data-series]");
  const hidden = () => (read().get("hide") || "").split(",").filter(Boolean);
  const legend = () => series.forEach((button) => {
    const on = !hidden().includes(button.dataset.name);
    button.setAttribute("aria-pressed", on);
    $(`svg .s-${button.dataset.series}`).forEach((mark) => mark.classList.toggle("off", !on));
  });
  series.forEach((button) => button.addEventListener("click", () => {
    const name = button.dataset.name, names = hidden();
    write({ hide: (names.includes(name) ? names.filter((n) => n !== name) : [...names, name]).join(",") });
    legend();
  }));
  addEventListener("hashchange", legend);
  legend();

  // A method under the pointer, or whose legend has the focus, stands out.
  const light = (index) => {
    $("svg.plot").forEach((plot) => plot.classList.toggle("dim", index !== null && !!plot.querySelector(`.s-${index}`)));
    $("svg .lit").forEach((mark) => mark.classList.remove("lit"));
    if (index !== null) $(`svg .s-${index}`).forEach((mark) => mark.classList.add("lit"));
  };
  series.forEach((button) => {
    for (const enter of ["pointerenter", "focus"]) button.addEventListener(enter, () => light(button.dataset.series));
    for (const leave of ["pointerleave", "blur"]) button.addEventListener(leave, () => light(null));
  });

  // Switches: of several figures that answer the same question, one is shown.
  $("[data-switch]").forEach((box) => {
    const options = $("[data-choose]", box);
    const figures = $(`[data-shown-by="${box.dataset.switch}"]`);
    const show = () => {
      const chosen = options.filter((o) => o.getAttribute("aria-checked") === "true").map((o) => o.dataset.choose);
      figures.forEach((f) => { f.hidden = !chosen.every((c) => f.dataset.is.split(" ").includes(c)); });
    };
    const check = (option) => $("[data-choose]", option.closest("[role=radiogroup]")).forEach((o) => {
      o.setAttribute("aria-checked", o === option);
      o.tabIndex = o === option ? 0 : -1;
    });
    options.forEach((option) => {
      const group = option.closest("[role=radiogroup]");
      const pick = () => {
        check(option);
        write({ [box.dataset.switch]: options.filter((o) => o.getAttribute("aria-checked") === "true").map((o) => o.dataset.choose).join(",") });
        show();
      };
      option.addEventListener("click", pick);
      option.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const peers = $("[data-choose]", group);
        const next = peers[(peers.indexOf(option) + step + peers.length) % peers.length];
        next.focus(); next.click();
      });
    });
    const first = options.filter((o) => o.getAttribute("aria-checked") === "true").map((o) => o.dataset.choose);
    const restore = () => {
      const wanted = (read().get(box.dataset.switch) || "").split(",");
      [...first, ...wanted].forEach((key) => {
        const one = options.find((o) => o.dataset.choose === key);
        if (one) check(one);
      });
      show();
    };
    addEventListener("hashchange", restore);
    restore();
  });

  // Hover and focus: what a mark stands for.
  const tip = document.getElementById("tip");
  let mark = null;
  const hide = () => { mark = null; tip.hidden = true; };
  const place = () => {
    const box = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(innerWidth - own.width - 8, box.x + box.width / 2 - own.width / 2)) + "px";
    tip.style.top = (box.y > own.height + 14 ? box.y - own.height - 8 : box.bottom + 8) + "px";
  };
  const show = (event) => {
    mark = event.target.closest?.("[data-tip]");
    if (!mark) return hide();
    tip.textContent = window.inUnit(mark.dataset.tip);
    tip.hidden = false;
    place();
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", () => { if (mark) place(); }, { passive: true, capture: true }); // focus scrolls, too
})();
