// Errors of velocity: on [−1, 1], as written, or in m/s. The choice is in the address, #unit=mps.
(() => {
  "use strict";
  const MPS = 1500; // velocity from 1500 to 4500 m/s is scaled to [−1, 1]
  const button = document.getElementById("unit");
  const numbers = [...document.querySelectorAll("data[value], [data-mae]")];
  const words = [...document.querySelectorAll("[data-unit]")];
  const written = new Map([...numbers, ...words].map((e) => [e, e.textContent]));
  const parse = (text) => parseFloat(text.replace("−", "-"));
  const mps = () => new URLSearchParams(location.hash.slice(1)).get("unit") === "mps";

  // As precise as it was written: three decimals of a unit are about 1 m/s.
  const convert = (text, value) => {
    if (!Number.isFinite(value)) return text;
    const decimals = Math.max((text.split(".")[1] ?? "").length - 3, 0);
    const size = Math.abs(value * MPS).toFixed(decimals).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
    const sign = value < 0 && parseFloat(size) ? "−" : text.startsWith("+") ? "+" : "";
    return sign + size;
  };
  const exact = (element, text) => parseFloat(element.value ?? (element.dataset.mae || element.dataset.sort)) || parse(text);

  const apply = () => {
    const on = mps();
    button.setAttribute("aria-pressed", on);
    for (const element of numbers) {
      const text = written.get(element);
      element.textContent = on ? convert(text, exact(element, text)) : text;
    }
    for (const element of words) {
      const text = written.get(element);
      element.textContent = on ? text.replace("on [−1, 1]", "in m/s").replace("[−1, 1]", "m/s") : text;
    }
  };

  // In tooltips braces mark such a number.
  window.inUnit = (tip) => tip.replace(/\{([+−-]?\d+\.\d+)\}/g, (_, text) => (mps() ? convert(text, parse(text)) : text.replace("-", "−")));

  if (numbers.length) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const state = new URLSearchParams(location.hash.slice(1));
      mps() ? state.delete("unit") : state.set("unit", "mps");
      const text = state.toString().replaceAll("%2C", ",");
      history.replaceState(null, "", text ? "#" + text : location.pathname.split("/").pop() || "#");
      apply();
    });
    addEventListener("hashchange", apply);
    apply();
  }
})();
