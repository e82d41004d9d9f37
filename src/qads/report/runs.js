// Several runs on the same rows: which of them chose a row, and why each did or did not.

/** The rows with what every run made of them: `chosen` has a bit for each run, `step` the earliest one. */
const joined = (rows, runs) => {
  const chosen = new Uint8Array(rows.n), step = new Int32Array(rows.n).fill(-1);
  runs.forEach((run, r) =>
    run.step.forEach((at, i) => {
      if (at < 0) return;
      chosen[i] |= 1 << r;
      if (step[i] < 0 || at < step[i]) step[i] = at;
    }),
  );
  const scored = runs.find((run) => run.quality !== null);
  const whole = { ...rows, chosen, step, quality: scored?.quality ?? null, digits: scored?.digits ?? 3, near: new Int32Array(rows.n).fill(-1), all: (1 << runs.length) - 1 };
  whole.runs = runs.map((run) => Object.assign(Object.create(rows), run));
  return whole;
};

const members = (bits, { runs }) => runs.filter((_, r) => bits & (1 << r)).map((run) => run.name);

const chosenWords = (bits, columns) => {
  if (bits === 0) return "chosen by none";
  if (bits === columns.all) return columns.runs.length === 2 ? "chosen by both" : "chosen by all";
  const names = members(bits, columns);
  return names.length === 1 ? `only ${names[0]}` : names.join(" and ");
};

/** Sets of runs that chose rows as categories of the map: all of them first, then the largest set first. */
const choosers = (columns, rest) => {
  const counts = new Map();
  columns.chosen.forEach((bits) => bits && counts.set(bits, (counts.get(bits) ?? 0) + 1));
  const order = [...counts.keys()].sort((a, b) => (b === columns.all) - (a === columns.all) || counts.get(b) - counts.get(a) || a - b);
  const shown = order.slice(0, LOOKS), place = new Map(shown.map((bits, i) => [bits, i]));
  const list = shown.map((bits, i) => ({ name: chosenWords(bits, columns), color: between(themed(`--look-${i % 8}`), themed("--ink"), i < 8 ? 0 : 0.5) }));
  if (order.length > shown.length) list.push({ name: `${order.length - shown.length} smaller sets of runs`, color: rest });
  list.push({ name: "chosen by none", color: rest });
  return { list, of: (i) => (columns.chosen[i] ? place.get(columns.chosen[i]) ?? shown.length : list.length - 1) };
};

const reasonsOfRuns = (row, columns, open) => columns.runs.map((run) => make("div", { class: "by" }, make("b", { class: "run" }, make("bdi", {}, run.name)), reason(row, run, open)));

/** What stands for the row in the first run that left it out. */
const besideOfRuns = (row, columns) => {
  for (const run of columns.runs) {
    const found = run.step[row] < 0 ? besideRow(row, run) : null;
    if (found !== null) return [`The pick nearest to it in ${run.name}`, found[1]];
  }
  return null;
};

class RunSamples extends Samples {
  states() {
    const { chosen, all, runs } = this.columns, states = { some: (i) => chosen[i] > 0, differ: (i) => chosen[i] > 0 && chosen[i] !== all, all: (i) => chosen[i] === all, none: (i) => chosen[i] === 0 };
    runs.forEach((_, r) => (states[`only-${r}`] = (i) => chosen[i] === 1 << r));
    return states;
  }

  keys() {
    const keys = { ...super.keys(), chosen: () => this.last(this.columns.chosen, (bits) => bits === 0) };
    this.columns.runs.forEach((run, r) => {
      keys[`step-${r}`] = () => this.last(run.step, (v) => v < 0);
      keys[`quality-${r}`] = () => this.last(run.quality);
    });
    return keys;
  }

  counted() {
    const { chosen, all } = this.columns, many = (is) => this.found.reduce((sum, i) => sum + is(chosen[i]), 0).toLocaleString("en");
    return `${many((bits) => bits === all)} chosen by all, ${many((bits) => bits > 0 && bits !== all)} by some`;
  }

  head(row) {
    return cell(make("bdi", {}, chosenWords(this.columns.chosen[row], this.columns)), "");
  }

  cells(row) {
    const c = this.columns;
    return [
      cell(make("bdi", {}, c.sources[c.source[row]]), ""),
      ...c.runs.map((run) => cell(stepWords(run.step[row]), "n")),
      ...c.runs.filter((run) => run.quality !== null).map((run) => cell(number(run.quality[row], run.digits), "n wide")),
      cell(c.length[row].toLocaleString("en"), "n wide"),
    ];
  }
}
