// Errors of velocity: on [−1, 1], as written, or in m/s. The choice is in the address, #unit=mps,
// and goes along to other pages.
(() => {
  "use strict";
  const MPS = 1500; // velocity from 1500 to 4500 m/s is scaled to [−1, 1]
  const button = document.getElementById("unit");
  const numbers = [...document.querySelectorAll("data[value], [data-mae]")];
  const words = [...document.querySelectorAll("[data-unit]")];
  const written = new Map([...numbers, ...words].map((e) => [e, e.textContent]));
  const parse = (text) => parseFloat(text.replace("−", "-"));
  const parts = (hash) => hash.slice(1).split("&").filter(Boolean);
  const mps = () => parts(location.hash).includes("unit=mps");
  const withUnit = (hash, on) => {
    const kept = parts(hash).filter((part) => !part.startsWith("unit="));
    const all = on ? [...kept, "unit=mps"] : kept;
    return all.length ? "#" + all.join("&") : "";
  };
  const place = (hash) => parts(hash).find((part) => !part.includes("=")); // the id of an element
  const rename = (hash) => history.replaceState(null, "", hash || location.pathname.split("/").pop() || "#");

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

  // Links to our pages take the unit along. Within a page a browser finds a place by its bare name
  // only, so the unit is added once it is there.
  let chosen = mps();
  const carry = (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || link.hasAttribute("download") || link.protocol !== location.protocol
      || link.host !== location.host || !/(\.html|\/)$/.test(link.pathname)) return;
    const within = link.pathname === location.pathname;
    if (!within || !place(link.hash)) link.hash = withUnit(link.hash, mps());
  };
  for (const use of ["click", "auxclick", "contextmenu", "dragstart"]) addEventListener(use, carry, true);
  addEventListener("hashchange", () => {
    if (chosen && place(location.hash)) rename(withUnit(location.hash, true));
    chosen = mps();
  });
  if (mps() && place(location.hash)) document.getElementById(place(location.hash))?.scrollIntoView();

  if (numbers.length) {
    button.hidden = false;
    button.addEventListener("click", () => {
      chosen = !mps();
      rename(withUnit(location.hash, chosen));
      apply();
    });
    addEventListener("hashchange", apply);
    apply();
  }
})();
