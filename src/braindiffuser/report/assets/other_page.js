// Another page of this package, read as text and pictures: which of its sheets, pictures and scores belong to those of a sheet.

const STORED_PICTURE = /^data:image\/(png|webp);base64,[A-Za-z0-9+/=]+$/;
const FORMAT = 2;

/** All that a page knows of a metric: two pages have the same one if this is equal. */
function metricKey(profile, metric) {
  return JSON.stringify([profile, metric.label, metric.in_percent, metric.higher_is_better]);
}

/** Say whether all profiles have a name. */
function isKnown(...profiles) {
  return profiles.every(Boolean);
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
      const scores = data.metrics.map((metric, k) => [metricKey(data.profile, metric), { score: strip.scores?.[k] ?? null, printed: strip.printed[k] }]);
      const own = { uri: images[place], kinds: data.kinds, scored: data.scored, scores: new Map(scores) };
      pictures.set(strip.seen, [...(pictures.get(strip.seen) ?? []), own]);
    });
    sheets.push({
      title: page.title || name,
      set: sheet.closest("section")?.dataset.testSet ?? "",
      profile: data.profile,
      nPictures: data.n_pictures,
      keys: new Set(data.metrics.map((metric) => metricKey(data.profile, metric))),
      pictures,
    });
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
    isText(data.profile) &&
    Number.isInteger(data.n_pictures) &&
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
