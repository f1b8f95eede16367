// One picture at a time, large.

/** A dialog that shows one picture large: what was seen and what was drawn, with a wipe between them. */
class Viewer {
  constructor(dialog) {
    this.dialog = dialog;
    this.part = (name) => dialog.querySelector(`[data-part=${name}]`);
    this.wipe = this.part("wipe");
    this.wipe.addEventListener("input", () => this.setWipe());
    this.kind = this.part("kind");
    this.kind.addEventListener("change", () => this.show());
    this.part("previous").addEventListener("click", () => this.step(-1));
    this.part("next").addEventListener("click", () => this.step(1));
    this.part("close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (event) => this.press(event));
    dialog.addEventListener("close", () => (this.from ?? this.sheet.buttons[this.place])?.focus());
  }

  /** Show a picture of a sheet; on closing, the focus goes back to `from`, or to the picture that was looked at last. */
  open(sheet, place, from = null) {
    if (!this.dialog.open) this.from = from;
    if (this.sheet !== sheet) {
      this.sheet = sheet;
      const made = sheet.kinds.filter(([kind]) => kind !== sheet.data.seen);
      this.kind.replaceChildren(...made.map(([kind, label]) => make("option", { value: kind }, label)));
      this.kind.value = sheet.data.scored || made.at(-1)?.[0] || "";
    }
    this.place = place;
    this.show();
    if (!this.dialog.open) this.dialog.showModal();
  }

  press(event) {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.step(steps[event.key]);
  }

  step(by) {
    const { order } = this.sheet;
    const now = Math.max(0, order.indexOf(this.place));
    this.open(this.sheet, order[Math.min(order.length - 1, Math.max(0, now + by))] ?? this.place);
  }

  show() {
    const { sheet, place } = this;
    const each = sheet.pictures[place];
    const at = sheet.order.indexOf(place);
    this.part("title").textContent = each.name;
    this.part("where").textContent = at < 0 ? "not among those shown" : `${at + 1} of ${sheet.order.length}`;
    // not `disabled`, which would take the focus away from a button that was pressed last, and with it the keys
    this.part("previous").setAttribute("aria-disabled", String(at <= 0));
    this.part("next").setAttribute("aria-disabled", String(at < 0 || at === sheet.order.length - 1));
    this.showStage(each);
    this.showAll(each);
    this.showScores(each);
    this.showDoubts(each);
    this.showNeighbours(each);
  }

  drawn(each, kind) {
    const place = this.sheet.kinds.findIndex(([name]) => name === kind);
    return picture(each.uri, place, this.sheet.kinds.length, `${this.sheet.kinds[place][1]}, ${each.name}`);
  }

  showStage(each) {
    const seen = this.sheet.data.seen;
    const hasSeen = this.sheet.kinds.some(([kind]) => kind === seen);
    const below = this.drawn(each, hasSeen ? seen : this.kind.value);
    const above = this.drawn(each, this.kind.value);
    above.classList.add("above");
    this.part("stage").replaceChildren(below, above);
    this.setWipe();
  }

  setWipe() {
    const share = Number(this.wipe.value);
    const above = this.part("stage").querySelector(".above");
    if (above) above.style.clipPath = `inset(0 0 0 ${share}%)`;
    const label = this.kind.selectedOptions[0]?.textContent ?? "";
    this.part("sides").textContent = `Wipe: what was seen on the left, on the right: ${label}`;
    this.wipe.setAttribute("aria-valuetext", `${share} % what was seen, ${100 - share} % ${label}`);
  }

  showAll(each) {
    const tiles = this.sheet.kinds.map(([kind, label]) => make("figure", {}, this.drawn(each, kind), make("figcaption", {}, label)));
    const other = this.sheet.match(this.place);
    if (other) {
      const at = other.kinds.findIndex(([kind]) => kind === other.scored);
      const place = at < 0 ? other.kinds.length - 1 : at;
      const label = `${other.kinds[place][1]}, ${this.sheet.other.title}`;
      tiles.push(make("figure", {}, picture(other.uri, place, other.kinds.length, label), make("figcaption", {}, label)));
    }
    this.part("all").replaceChildren(...tiles);
  }

  showScores(each) {
    const other = this.sheet.match(this.place);
    const of = this.sheet.data.scores_of;
    const heads = ["Metric", of ? `Score: ${of}` : "Score", ...(other ? ["Other page", "Difference"] : [])];
    const rows = this.sheet.metrics.map((metric, k) => {
      const cells = [each.printed[k]];
      if (other) {
        cells.push(this.sheet.otherScore(this.place, k)?.printed ?? "–", this.sheet.difference(this.place, k));
      }
      const name = make("th", { scope: "row" }, `${metric.label} ${metric.higher_is_better ? "↑" : "↓"}`);
      return make("tr", {}, name, ...cells.map((text) => make("td", {}, text)));
    });
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    this.part("scores").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }

  showDoubts(each) {
    const flags = each.flags ?? [];
    this.part("flags").textContent = flags.length ? `Flagged: it ${flags.join("; it ")}.` : "";
    this.part("flags").hidden = flags.length === 0;
  }

  showNeighbours(each) {
    const numbers = each.neighbours ?? [];
    this.part("near").hidden = numbers.length === 0;
    const shown = numbers.map((number, rank) => {
      const place = this.sheet.place.get(number);
      const isOwn = number === each.number;
      const label = `${rank + 1}: ${isOwn ? "this one" : `picture ${number}`}`;
      if (place === undefined) return make("figure", {}, make("figcaption", {}, `${label}, not on this page`));
      const button = make("button", { type: "button", onclick: () => this.open(this.sheet, place) });
      const near = this.sheet.pictures[place];
      button.append(this.drawn(near, this.sheet.data.seen));
      return make("figure", isOwn ? { className: "own" } : {}, button, make("figcaption", {}, label));
    });
    this.part("neighbours").replaceChildren(...shown);
  }
}

/** Let rows of galleries open the viewer. */
function addToGalleries(sheets) {
  for (const row of document.querySelectorAll(".row[data-number]")) {
    const own = sheets.find((sheet) => sheet.element.closest("section") === row.closest("section"));
    const place = own?.place.get(Number(row.dataset.number));
    if (place === undefined) continue;
    const button = make("button", { type: "button", className: "plain" }, "Look closer");
    button.addEventListener("click", () => viewer.open(own, place, button));
    row.querySelector(".about").append(button);
  }
}

const dialog = document.querySelector("dialog.viewer");
const viewer = dialog ? new Viewer(dialog) : null;
addToGalleries(sheets);
