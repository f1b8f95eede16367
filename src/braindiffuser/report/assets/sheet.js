"use strict";
// First of the files that are joined to the script of a page. The page is whole without it: here its pictures are put in order,
// chosen from, looked at one by one (viewer.js) and held against those of another page (other_page.js); test sets are shown one
// at a time; regions of a map show their pictures (region_map.js). Nothing is asked of any network.

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

/** Say whether a name holds some words in lower case; digits alone mean a whole number in it: 1 is neither 10 nor 21. */
function isNamed(name, words) {
  if (!/^[0-9]+$/.test(words)) return name.toLowerCase().includes(words);
  return (name.match(/[0-9]+/g) ?? []).some((digits) => Number(digits) === Number(words));
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
    this.words = make("input", { type: "search", placeholder: "number or name", oninput: update });
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

  /** The metric that pictures are sorted by, whose range chooses among them; -1: none, so all stand in their own order. */
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

  /** What the other page says of a picture by a metric: the score and how it is printed. */
  otherScore(place, metric) {
    const known = isKnown(this.other?.profile, this.data.profile);
    return known ? this.match(place)?.scores.get(metricKey(this.data.profile, this.metrics[metric])) : undefined;
  }

  /** Print this page's score less the other's; a score among other pictures is comparable only if these are as many there. */
  difference(place, metric) {
    const isFair = !this.metrics[metric].in_percent || this.other.nPictures === this.data.n_pictures;
    return isFair ? difference(this.metrics[metric], this.score(place, metric), this.otherScore(place, metric)?.score) : "–";
  }

  isWanted(place) {
    const each = this.pictures[place];
    if (!isNamed(each.name, this.words.value.trim().toLowerCase())) return false;
    if (this.flagged.value && (this.flagged.value === "flagged") !== Boolean(each.flags)) return false;
    if (this.other && !this.match(place)) return false;
    const metric = this.metric;
    if (metric < 0) return true;
    const isBounded = this.lowest.value !== "" || this.highest.value !== "";
    if (this.score(place, metric) === null) return !isBounded;
    const printed = Number.parseFloat(each.printed[metric].replace("−", "-")); // as a reader sees it, rounded
    if (this.lowest.value !== "" && printed < Number(this.lowest.value)) return false;
    return this.highest.value === "" || printed <= Number(this.highest.value);
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
    const other = this.otherScore(place, metric);
    const compared = other === undefined ? "" : ` (${this.difference(place, metric)})`;
    return `${each.short} · ${each.printed[metric]}${compared}`;
  }

  /** Say in sentences which scores of the other page are not comparable. */
  limits() {
    const { other } = this;
    const ownKeys = this.metrics.map((metric) => metricKey(this.data.profile, metric));
    const said = [];
    if (!isKnown(other.profile, this.data.profile)) {
      said.push("Which profile scores are of is not known of both pages, so they are not compared: redraw a page after `braindiffuser evaluate`.");
    } else if (other.profile !== this.data.profile) {
      said.push(`Its scores are of the profile ${other.profile} and not of ${this.data.profile}: they are not compared.`);
    } else if (ownKeys.some((key) => !other.keys.has(key))) {
      said.push("Scores that it does not have under the same name, unit and direction are not compared.");
    }
    const isUnfair = isKnown(other.profile) && this.metrics.some((metric, k) => metric.in_percent && other.keys.has(ownKeys[k]));
    if (isUnfair && other.nPictures !== this.data.n_pictures) {
      said.push(`Identification is among ${this.data.n_pictures} pictures here and ${other.nPictures} there, which makes it easier or harder: its differences are not shown.`);
    }
    return said.map((sentence, place) => (place ? " " : ". ") + sentence).join("");
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
        this.said = `; ${n} of this page's pictures are in ${this.other.title}, and differences are this page less that one${this.limits()}`;
      } catch (error) {
        this.said = `; ${error.message}`;
      }
    }
    this.update();
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

/** Print what is folded, too, and fold it again: for browsers whose style sheets cannot. */
function addPrinting() {
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const each of unfolded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of unfolded) each.open = false;
    unfolded = [];
  });
}

const sheets = [...document.querySelectorAll(".sheet")].filter((each) => each.parentElement.querySelector("script")).map((each) => new Sheet(each));
addTestSets();
addPrinting();
