// One sample: its texts with formulas and code, and the reason why it was picked or not.

const MATHML = "http://www.w3.org/1998/Math/MathML";

/** A formula from its tree; the element names are those of MathML that the writer of the page let through. */
const mathematics = ([tag, attributes, ...children]) => {
  const element = document.createElementNS(MATHML, tag);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children.map((child) => (typeof child === "string" ? child : mathematics(child))));
  return element;
};

const formulaOf = ([tex, tree]) => {
  const element = mathematics(tree);
  const box = make("span", { class: "formula", title: tex });
  box.append(element);
  return box;
};

const pieces = (text, formulas) =>
  (Array.isArray(text) ? text : [text]).map((piece) => {
    if (typeof piece === "number") return formulaOf(formulas[piece]);
    if (typeof piece === "string") return piece;
    return piece.c === undefined ? make("code", { class: "tex" }, piece.t) : make("pre", {}, make("code", {}, piece.c));
  });

const passage = (label, text, formulas) => make("div", { class: "text", dir: "auto" }, make("b", {}, label), ...pieces(text, formulas));

const textsOf = (row, columns, texts) => {
  const found = texts.whole.get(row);
  if (!found) {
    const note = `Only the beginning of this row is in the page, ${columns.length[row].toLocaleString("en")} characters in all.`;
    return [make("div", { class: "text", dir: "auto" }, make("b", {}, "Problem, beginning"), texts.beginning(row)), make("p", { class: "note" }, note)];
  }
  const [problem, solution, earlier] = found;
  return [
    earlier ? passage("Earlier turns", earlier, texts.formulas) : null,
    passage("Problem", problem, texts.formulas),
    passage("Solution", solution, texts.formulas),
  ].filter((part) => part !== null);
};

const named = (row, columns, open) => {
  const button = make("button", { type: "button", class: "link" }, make("bdi", {}, columns.ids[row]));
  button.addEventListener("click", () => open(row));
  return button;
};

const qualityWords = (row, columns) => {
  if (columns.quality === null) return "";
  const value = columns.quality[row];
  if (Number.isNaN(value)) return " It has no quality.";
  columns.ranked ??= columns.quality.filter((v) => !Number.isNaN(v)).sort();
  let below = 0;
  for (let high = columns.ranked.length; below < high; ) {
    const middle = (below + high) >> 1;
    if (columns.ranked[middle] < value) below = middle + 1;
    else high = middle;
  }
  const origin = ["", "really measured", "predicted"][columns.origin[row]];
  const share = Math.floor((100 * below) / (columns.ranked.length - 1 || 1));
  const place = share === 100 ? "the highest of the rows shown" : `higher than ${share}% of the rows shown`;
  return ` Quality ${number(value, columns.digits)}, ${origin}: ${place}.`;
};

/** Why it was picked, or what stands for it. */
const reason = (row, columns, open) => {
  const step = columns.step[row], near = columns.near[row], distance = number(columns.distance[row]);
  const other = near >= 0 && columns.at[near] >= 0 ? columns.at[near] : null;
  const isElsewhere = near >= 0 && other === null;
  const said = make("p", { class: "reason" });
  if (step >= 0) {
    const gain = columns.gain === null || Number.isNaN(columns.gain[row]) ? "" : ` with a gain of ${number(columns.gain[row], columns.gain_digits)}`;
    said.append(make("b", {}, `Picked at step ${(step + 1).toLocaleString("en")}`), gain);
    if (other !== null) said.append(`, ${distance} away from the nearest earlier pick, `, named(other, columns, open), ` (step ${(near + 1).toLocaleString("en")}).`);
    else if (isElsewhere) said.append(`, ${distance} away from the nearest earlier pick, which not every pool holds.`);
    else if (columns.given[row]) said.append(`, ${distance} away from `, make("bdi", {}, columns.given[row]), ", which is trained on already.");
    else said.append(step === 0 ? ": the first, with nothing to be near to." : ".");
  } else {
    const why = columns.reasons[columns.closed[row]];
    said.append(make("b", {}, "Not picked"), why ? `: ${why}.` : ".");
    if (other !== null) said.append(` ${why ? "The pick nearest to it is" : "It is covered by"} `, named(other, columns, open), ` (step ${(near + 1).toLocaleString("en")}), ${distance} away.`);
    else if (isElsewhere) said.append(` The pick nearest to it, ${distance} away, is a row that not every pool holds.`);
  }
  said.append(qualityWords(row, columns));
  return said;
};

/** The row to show beside a row, and what it is to it; null where there is none. */
const besideRow = (row, columns) => {
  const other = columns.near[row] >= 0 ? columns.at[columns.near[row]] : -1;
  return other < 0 ? null : [columns.step[row] >= 0 ? "The nearest earlier pick" : "The pick nearest to it", other];
};

/** The whole view of a row; `open` shows another one. */
const sampleView = (row, columns, texts, open) => {
  const other = columns.runs ? besideOfRuns(row, columns) : besideRow(row, columns);
  const head = (which) => make("p", { class: "who" }, make("b", {}, make("bdi", {}, columns.sources[columns.source[which]])), " ", make("span", { class: "kind" }, columns.kinds[columns.kind[which]]), " ", make("code", {}, make("bdi", {}, columns.ids[which])));
  const column = (title, which) => make("div", {}, make("h4", {}, title), head(which), ...textsOf(which, columns, texts));
  const beside = other === null ? null : column(...other);
  const reasons = columns.runs ? reasonsOfRuns(row, columns, open) : [reason(row, columns, open)];
  return make("div", { class: "sample" }, ...reasons, make("div", { class: "sides" }, column("This sample", row), beside));
};
