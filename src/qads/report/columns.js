// What the page holds: compressed JSON in base64, and typed arrays in it.

const decoded = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

const array = (Type, text) => {
  if (text === null) return null;
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Type(bytes.buffer);
};

const places = ([text, least, step]) => Float32Array.from(array(Uint16Array, text), (v) => least + step * v);

/** What one run made of the rows; `at` gives the row of a step, −1 for a pick that is not shown. */
const readChoice = (c) => {
  const choice = {
    ...c,
    quality: array(Float32Array, c.quality),
    origin: array(Uint8Array, c.origin),
    step: array(Int32Array, c.step),
    gain: array(Float32Array, c.gain),
    distance: array(Float32Array, c.distance),
    near: array(Int32Array, c.near),
    closed: array(Uint8Array, c.closed),
    at: new Int32Array(c.picks).fill(-1),
  };
  choice.step.forEach((step, i) => step >= 0 && (choice.at[step] = i));
  return choice;
};

/** Every shown row as columns, with what a run, or each of several, made of it. */
const readColumns = async () => {
  const c = await decoded("columns");
  const rows = { ...c, x: places(c.x), y: places(c.y), source: array(Uint16Array, c.source), kind: array(Uint8Array, c.kind), length: array(Uint32Array, c.length) };
  return c.runs ? joined(rows, c.runs.map(readChoice)) : Object.assign(rows, readChoice(c));
};

/** Texts by row: whole ones, and the beginnings of the others. */
const readTexts = async () => {
  const t = await decoded("texts");
  const whole = new Map(t.rows.map((row, i) => [row, t.texts[i]]));
  const words = (text) => (Array.isArray(text) ? text : [text]).map((piece) => piece.c ?? piece.t ?? (typeof piece === "number" ? t.formulas[piece][0] : piece)).join(" ");
  return {
    formulas: t.formulas,
    whole,
    beginning: (row) => (whole.has(row) ? words(whole.get(row)[0]).slice(0, 200) : t.beginnings[row]),
    searched: (row) => (whole.has(row) ? whole.get(row).map(words).join(" ") : t.beginnings[row]),
  };
};

const number = (value, digits = 3) => {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return Number(text.replaceAll(",", "")) === 0 ? text.replace("-", "") : text.replace("-", "−");
};

/** An element with attributes and children; a string is always text. */
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};
