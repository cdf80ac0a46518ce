// Answers that depend on the reader's choices, and figures to take away.
(() => {
  "use strict";
  const $ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Which method: of the chosen case, the first whose memory fits.
  const which = document.getElementById("which-answers");
  if (which) {
    const limit = document.getElementById("which-memory");
    const none = document.getElementById("which-none");
    const chosen = (name) => document.getElementById(name).value;
    const answer = () => {
      const key = `${chosen("which-part")} ${chosen("which-where")}`;
      const most = parseFloat(limit.value) > 0 ? limit.value * 2 ** 20 : Infinity;
      let found = null;
      $("[data-case]", which).forEach((item) => {
        const known = item.dataset.bytes !== "";
        const fits = item.dataset.case === key && (most === Infinity || (known && +item.dataset.bytes <= most));
        item.hidden = !fits || found !== null;
        found ??= fits ? item : null;
      });
      none.hidden = found !== null;
    };
    for (const id of ["which-part", "which-where", "which-memory"])
      document.getElementById(id).addEventListener("input", answer);
    answer();
  }

  // Memory calculator: what grows with the batch.
  const memory = document.getElementById("memory-table");
  if (memory) {
    const batch = document.getElementById("batch"), wide = document.getElementById("precision");
    const size = (bytes) => {
      for (const [limit, sign] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]])
        if (bytes >= limit) {
          const value = bytes / limit;
          return (value >= 999.5 ? value.toFixed(0) : +value.toPrecision(3)) + "\u00a0" + sign;
        }
      return bytes.toFixed(0) + "\u00a0B";
    };
    const recorded = $("[data-part=work]", memory).map((cell) => cell.textContent);
    const compute = () => {
      const count = Math.floor(+batch.value);
      if (!(count >= 1)) return;
      const rows = $("tbody tr", memory);
      rows.forEach((row, i) => {
        const saved = count * row.dataset.saved * wide.value;
        row.querySelector("[data-part=saved]").textContent = size(saved);
        row.querySelector("[data-part=total] strong").textContent = size(saved + +row.dataset.fixed);
        const same = count === +memory.dataset.batch && wide.value === "1";
        if (recorded.length) row.querySelector("[data-part=work]").textContent = same ? recorded[i] : "–";
      });
      document.getElementById("calculated").textContent = `batch ${count}`;
    };
    batch.addEventListener("input", compute);
    wide.addEventListener("input", compute);
  }

  // Figures to take away: SVG with its colours inside, or PNG at twice the size.
  const drawn = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "text-anchor", "paint-order", "display", "stroke-linejoin", "stroke-linecap"];
  const alone = (plot) => {
    const copy = plot.cloneNode(true);
    const from = [plot, ...plot.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((mark, i) => {
      const look = getComputedStyle(mark);
      to[i].removeAttribute("class");
      drawn.forEach((name) => to[i].setAttribute(name, look.getPropertyValue(name))); // no style: the policy
      for (const name of [...to[i].attributes].map((a) => a.name)) if (name.startsWith("data-") || name === "tabindex") to[i].removeAttribute(name);
    });
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const box = plot.viewBox.baseVal;
    copy.setAttribute("width", box.width);
    copy.setAttribute("height", box.height);
    return new XMLSerializer().serializeToString(copy);
  };
  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const named = (plot) => (plot.getAttribute("aria-label") || "figure").replace(/[^A-Za-z0-9]+/g, "-").slice(0, 60).toLowerCase();
  $("figure > svg.plot").forEach((plot) => {
    const box = document.createElement("div");
    box.className = "take";
    for (const kind of ["SVG", "PNG"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = kind;
      button.setAttribute("aria-label", `Download as ${kind}: ${plot.getAttribute("aria-label") || "figure"}`);
      button.addEventListener("click", () => {
        const blob = new Blob([alone(plot)], { type: "image/svg+xml" });
        if (kind === "SVG") return save(blob, named(plot) + ".svg");
        const image = new Image(), view = plot.viewBox.baseVal;
        image.onload = () => {
          const canvas = document.createElement("canvas");
          canvas.width = 2 * view.width;
          canvas.height = 2 * view.height;
          const context = canvas.getContext("2d");
          context.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
          context.fillRect(0, 0, canvas.width, canvas.height);
          context.drawImage(image, 0, 0, canvas.width, canvas.height);
          canvas.toBlob((png) => save(png, named(plot) + ".png"));
          URL.revokeObjectURL(image.src);
        };
        image.src = URL.createObjectURL(blob);
      });
      box.append(button);
    }
    plot.after(box);
  });
})();
