"use strict";
// The page is whole without this: here its pictures are put in order, chosen from, looked at one by one and held against those
// of another page; test sets are shown one at a time; regions of a map show their pictures. Nothing is asked of any network.

const STORED_PICTURE = /^data:image\/(png|webp);base64,[A-Za-z0-9+/=]+$/;
const FORMAT = 1;

/** Make an element with properties and children; text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

let nLabelled = 0;

/** Put a label above a control. */
function labelled(text, control) {
  nLabelled += 1;
  control.id = `control-${nLabelled}`;
  return make("div", {}, make("label", { htmlFor: control.id }, text), control);
}

function choice(options, onchange) {
  const entries = options.map(([value, text]) => make("option", { value }, text));
  return make("select", { onchange }, ...entries);
}

/** Print a difference of two scores, in percentage points where these are shares. */
function difference(metric, score, other) {
  if (score == null || other == null) return "–";
  const value = score - other;
  const size = metric.in_percent ? (100 * Math.abs(value)).toFixed(1) : Math.abs(value).toFixed(3);
  const sign = Number(size) === 0 ? "" : value < 0 ? "−" : "+";
  return `${sign}${size}${metric.in_percent ? " pp" : ""}`;
}

/** Draw one picture of a strip, which holds n of them side by side. */
function picture(uri, place, n, label) {
  const drawn = make("div", { className: "picture", role: "img" });
  drawn.setAttribute("aria-label", label);
  drawn.style.backgroundImage = `url("${uri}")`;
  drawn.style.backgroundSize = `${100 * n}% 100%`;
  drawn.style.backgroundPosition = `${n > 1 ? (100 * place) / (n - 1) : 0}% 0`;
  return drawn;
}

/** All pictures of one test set, in an order, some of them hidden. */
class Sheet {
  constructor(element) {
    this.element = element;
    this.data = JSON.parse(element.parentElement.querySelector("script").textContent);
    this.kinds = this.data.kinds;
    this.figures = [...element.querySelectorAll("figure")];
    this.pictures = this.data.strips.map((strip, place) => ({
      ...strip,
      uri: this.figures[place].querySelector("img").src,
      name:
        strip.name ||
        [`Test picture ${strip.number}`, `stimulus ${strip.stimulus_id}`, strip.stimulus_name].filter(Boolean).join(", "),
      short: strip.name || `${strip.number} · ${strip.stimulus_id}`,
    }));
    this.metrics = this.data.metrics;
    this.place = new Map(this.pictures.map((each, place) => [each.number, place]));
    this.set = element.closest("section")?.dataset.testSet ?? "";
    this.other = null;
    this.order = this.pictures.map((_, place) => place);
    this.addTools();
    this.figures.forEach((figure, place) => this.addButton(figure, place));
    this.update();
  }

  addTools() {
    const metrics = this.metrics.map((metric, place) => [String(place), metric.label]);
    const update = () => this.update();
    this.sortBy = choice([["", "their order"], ...metrics], update);
    this.direction = choice([["best", "best first"], ["worst", "worst first"]], update);
    this.flagged = choice([["", "all"], ["flagged", "flagged"], ["fine", "not flagged"]], update);
    this.lowest = make("input", { type: "number", step: "any", oninput: update });
    this.highest = make("input", { type: "number", step: "any", oninput: update });
    this.words = make("input", { type: "search", placeholder: "number, stimulus or name", oninput: update });
    this.count = make("output", { className: "note" });
    this.count.setAttribute("aria-live", "polite");
    this.file = make("input", { type: "file", accept: ".html", onchange: () => this.compare() });
    const tools = make(
      "div",
      { className: "tools" },
      labelled("Sort by", this.sortBy),
      labelled("From", this.direction),
      labelled("Score at least", this.lowest),
      labelled("at most", this.highest),
      ...(this.pictures.some((each) => each.flags) ? [labelled("Show", this.flagged)] : []),
      labelled("Find", this.words),
      labelled("Compare with another page", this.file),
    );
    this.element.before(tools, this.count);
  }

  addButton(figure, place) {
    const image = figure.querySelector("img");
    const button = make("button", { type: "button", onclick: () => viewer.open(this, place) });
    button.setAttribute("aria-label", `Look at ${this.pictures[place].name}`);
    image.before(button);
    button.append(image);
    this.buttons = [...(this.buttons ?? []), button];
  }

  /** The metric that pictures are sorted by and chosen by; none: their own order, chosen by the score printed below each. */
  get metric() {
    return this.sortBy.value === "" ? -1 : Number(this.sortBy.value);
  }

  score(place, metric) {
    return this.pictures[place].scores?.[metric] ?? null;
  }

  /** The picture of the other page that shows what was seen here; of several, the one that comes as late there as here. */
  match(place) {
    const { seen } = this.pictures[place];
    const earlier = this.pictures.slice(0, place).filter((each) => each.seen === seen).length;
    return this.other?.pictures.get(seen)?.[earlier];
  }

  isWanted(place) {
    const each = this.pictures[place];
    const words = this.words.value.trim().toLowerCase();
    if (words && !each.name.toLowerCase().includes(words)) return false;
    if (this.flagged.value && (this.flagged.value === "flagged") !== Boolean(each.flags)) return false;
    if (this.other && !this.match(place)) return false;
    const metric = this.metric;
    if (metric < 0) return true;
    const scale = this.metrics[metric].in_percent ? 100 : 1;
    const score = this.score(place, metric);
    const isBounded = this.lowest.value !== "" || this.highest.value !== "";
    if (score === null) return !isBounded;
    if (this.lowest.value !== "" && scale * score < Number(this.lowest.value)) return false;
    return this.highest.value === "" || scale * score <= Number(this.highest.value);
  }

  update() {
    const metric = this.metric;
    for (const control of [this.lowest, this.highest, this.direction]) control.disabled = metric < 0;
    const shown = this.pictures.map((_, place) => place).filter((place) => this.isWanted(place));
    if (metric >= 0) {
      const sign = (this.direction.value === "best") === this.metrics[metric].higher_is_better ? -1 : 1;
      const key = (place) => {
        const score = this.score(place, metric);
        return score === null ? Infinity : sign * score;
      };
      shown.sort((a, b) => (key(a) === key(b) ? a - b : key(a) < key(b) ? -1 : 1));
    }
    this.order = shown;
    const wanted = new Set(shown);
    this.figures.forEach((figure, place) => { figure.hidden = !wanted.has(place); });
    this.element.append(...shown.map((place) => this.figures[place]));
    for (const place of shown) this.figures[place].querySelector("figcaption").textContent = this.caption(place, metric);
    const unit = metric >= 0 ? `, by ${this.metrics[metric].label}` : "";
    this.count.textContent = `${shown.length} of ${this.pictures.length} pictures${unit}${this.said ?? ""}`;
  }

  caption(place, metric) {
    const each = this.pictures[place];
    if (metric < 0) return `${each.short} · ${each.score}`;
    const other = this.match(place)?.scores.get(this.metrics[metric].label);
    const compared = other === undefined ? "" : ` (${difference(this.metrics[metric], this.score(place, metric), other.score)})`;
    return `${each.short} · ${each.printed[metric]}${compared}`;
  }

  /** Read another page from a file of this computer, and keep its pictures of the same stimuli. */
  async compare() {
    const [file] = this.file.files;
    this.other = null;
    this.said = "";
    if (file) {
      try {
        const page = readPage(await file.text(), file.name);
        this.other = chosenSheet(page, this, file.name);
        const n = this.pictures.filter((_, place) => this.match(place)).length;
        this.said = `; ${n} of them are in ${this.other.title}, and differences are this page less that one`;
      } catch (error) {
        this.said = `; ${error.message}`;
      }
    }
    this.update();
  }
}

/** Read the sheets of a page that this package wrote; what it holds is text and pictures, and is never run. */
function readPage(text, name) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const refuse = (why) => { throw new Error(`${name} ${why}: choose a page of this package, such as report/index.html`); };
  const sheets = [];
  for (const sheet of page.querySelectorAll(".sheet")) {
    const stored = sheet.parentElement.querySelector("script[type='application/json']");
    if (!stored) continue;
    let data;
    try {
      data = JSON.parse(stored.textContent);
    } catch {
      refuse("is damaged");
    }
    if (data?.format !== FORMAT) refuse("was written by a version that stores pictures differently");
    const images = [...sheet.querySelectorAll("figure img")].map((image) => image.getAttribute("src"));
    if (!isWhole(data, images)) refuse("is damaged");
    const pictures = new Map();
    data.strips.forEach((strip, place) => {
      if (!strip.seen) return;
      const scores = data.metrics.map((metric, k) => [metric.label, { score: strip.scores?.[k] ?? null, printed: strip.printed[k] }]);
      const own = { uri: images[place], kinds: data.kinds, scored: data.scored, scores: new Map(scores) };
      pictures.set(strip.seen, [...(pictures.get(strip.seen) ?? []), own]);
    });
    sheets.push({ title: page.title || name, set: sheet.closest("section")?.dataset.testSet ?? "", pictures });
  }
  if (sheets.length === 0) refuse("holds no pictures to compare");
  return sheets;
}

/** Say whether stored data are of the form that this page's own have. */
function isWhole(data, images) {
  const isText = (value) => typeof value === "string";
  const isScore = (value) => value === null || value === undefined || Number.isFinite(value);
  const { kinds, metrics, strips } = data;
  return (
    [kinds, metrics, strips].every(Array.isArray) &&
    images.length === strips.length &&
    images.every((uri) => STORED_PICTURE.test(uri ?? "")) &&
    kinds.length > 0 &&
    kinds.every((kind) => Array.isArray(kind) && kind.length === 2 && kind.every(isText)) &&
    metrics.every((metric) => isText(metric?.label)) &&
    strips.every(
      (strip) =>
        isText(strip?.seen) &&
        Array.isArray(strip.printed) &&
        metrics.every((_, k) => isText(strip.printed[k]) && isScore(strip.scores?.[k])),
    )
  );
}

/** Return the one sheet of another page that shows pictures of a sheet; of several, the one of the same test set. */
function chosenSheet(page, own, name) {
  const seen = new Set(own.pictures.map((each) => each.seen));
  const found = page.filter((sheet) => [...sheet.pictures.keys()].some((key) => seen.has(key)));
  const [chosen, ...others] = found.length > 1 ? found.filter((sheet) => sheet.set === own.set) : found;
  if (found.length === 0) throw new Error(`${name} shows none of these pictures: they are compared by what was seen, pixel by pixel`);
  if (!chosen || others.length > 0) {
    throw new Error(`${name} shows these pictures in several places, of several people or test sets: choose the page of one run`);
  }
  return chosen;
}

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
    dialog.addEventListener("close", () => this.sheet.buttons[this.place]?.focus());
  }

  open(sheet, place) {
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
        const theirs = other.scores.get(metric.label);
        cells.push(theirs?.printed ?? "–", difference(metric, each.scores?.[k], theirs?.score));
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
      const label = `${rank + 1}. ${isOwn ? "this one" : number}`;
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
    row.querySelector(".about").append(
      make("button", { type: "button", className: "plain", onclick: () => viewer.open(own, place) }, "Look closer"),
    );
  }
}

/** Where sections are on several test sets, let the reader choose one. */
function addTestSets() {
  const sections = [...document.querySelectorAll("section[data-test-set]")];
  const names = [...new Set(sections.map((section) => section.dataset.testSet))];
  if (names.length < 2) return;
  const chosen = choice([["", "all"], ...names.map((name) => [name, name])], () => {
    for (const section of sections) section.hidden = chosen.value !== "" && section.dataset.testSet !== chosen.value;
  });
  document.querySelector("main > header").append(make("div", { className: "tools" }, labelled("Sections on test set", chosen)));
}

/** Let each region of a map show its pictures beside it, by pointer and by keyboard. */
function addRegions(map) {
  const cards = [...map.querySelectorAll("[data-card]")];
  const parts = [...map.querySelectorAll("[data-region]")];
  const beside = make("div", { className: "beside" });
  beside.setAttribute("aria-live", "polite");
  map.querySelector(".map svg").after(beside);
  const show = (name) => {
    for (const part of parts) part.classList.toggle("chosen", part.dataset.region === name);
    for (const card of cards) {
      const isChosen = card.dataset.card === name;
      card.classList.toggle("chosen", isChosen);
      if (isChosen) beside.replaceChildren(...[...card.children].map((child) => child.cloneNode(true)));
    }
  };
  for (const part of parts) {
    part.setAttribute("tabindex", "0");
    part.setAttribute("role", "button");
    part.setAttribute("aria-label", part.dataset.region);
    for (const event of ["pointerenter", "focus", "click"]) part.addEventListener(event, () => show(part.dataset.region));
  }
  for (const card of cards) card.addEventListener("pointerenter", () => show(card.dataset.card));
}

const dialog = document.querySelector("dialog.viewer");
const viewer = dialog ? new Viewer(dialog) : null;
const sheets = [...document.querySelectorAll(".sheet")].filter((each) => each.parentElement.querySelector("script")).map((each) => new Sheet(each));
addToGalleries(sheets);
addTestSets();
document.querySelectorAll(".region-map").forEach(addRegions);
