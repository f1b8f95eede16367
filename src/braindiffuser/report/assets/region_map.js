// Maps of regions.

/** Let each region of a map show its pictures beside it: by pointer, by clicks where several lie, and from a list of names. */
function addRegions(map) {
  const cards = [...map.querySelectorAll("[data-card]")];
  const parts = [...map.querySelectorAll("[data-region]")];
  const outlines = [...map.querySelectorAll("[data-outline]")];
  const beside = make("div", { className: "beside" }, make("p", { className: "note" }, "Point at a region, or choose its name. Where several lie, clicks go through them."));
  beside.setAttribute("aria-live", "polite");
  let chosen = "";
  const buttons = [...map.querySelectorAll(".legend li")].map((entry) => {
    const { name } = entry.dataset;
    const button = make("button", { type: "button", onclick: () => show(name), onfocus: () => show(name) }, name);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("pointerenter", () => show(name));
    entry.replaceChildren(button);
    return [name, button];
  });
  map.querySelector(".legend").after(beside);
  const show = (name) => {
    chosen = name;
    for (const part of parts) part.classList.toggle("chosen", part.dataset.region === name);
    for (const outline of outlines) outline.classList.toggle("chosen", outline.dataset.outline === name);
    for (const [own, button] of buttons) button.setAttribute("aria-pressed", String(own === name));
    for (const card of cards) {
      const isChosen = card.dataset.card === name;
      card.classList.toggle("chosen", isChosen);
      if (isChosen) beside.replaceChildren(...[...card.children].map((child) => child.cloneNode(true)));
    }
  };
  /** Choose the next region at a point: below the chosen one if it lies there, or the uppermost. */
  const showNext = (event) => {
    const here = document.elementsFromPoint(event.clientX, event.clientY).filter((element) => parts.includes(element));
    const names = here.map((part) => part.dataset.region);
    if (names.length) show(names[(names.indexOf(chosen) + 1) % names.length]);
  };
  for (const part of parts) {
    part.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(part.dataset.region); });
    part.addEventListener("click", showNext);
  }
  for (const card of cards) card.addEventListener("pointerenter", () => show(card.dataset.card));
}

document.querySelectorAll(".region-map").forEach(addRegions);
