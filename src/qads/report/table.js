// The table of samples: sorted, searched, filtered, a page at a time.

const PAGE = 25;

const cell = (text, name) => make("td", { class: name }, text);
const stepWords = (step) => (step >= 0 ? (step + 1).toLocaleString("en") : "–");

class Samples {
  constructor(columns, texts, changed) {
    Object.assign(this, { columns, texts, changed, lasso: null, opened: null, page: 0, sort: "step", falling: false });
    this.form = document.getElementById("filters");
    this.body = document.querySelector("#samples tbody");
    this.order = this.sorted();
    this.mask = new Uint8Array(columns.n).fill(1);
    this.fill("source", columns.sources);
    this.fill("kind", columns.kinds);
    let waiting = 0;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.filter(), 120);
    });
    document.getElementById("unfilter").addEventListener("click", () => this.clear());
    for (const head of document.querySelectorAll("#samples thead button")) head.addEventListener("click", () => this.sortBy(head.dataset.sort));
    for (const button of document.querySelectorAll("#pager button")) button.addEventListener("click", () => this.turn(button.dataset.turn));
    this.filter();
  }

  fill(name, values) {
    const order = values.map((_, i) => i).sort((a, b) => values[a].localeCompare(values[b]));
    this.form.elements[name].append(...order.map((i) => make("option", { value: String(i) }, values[i])));
  }

  /** Filter by a set of rows (null: none), as drawn on the map. */
  within(rows) {
    this.lasso = rows === null ? null : new Uint8Array(this.columns.n);
    rows?.forEach((row) => (this.lasso[row] = 1));
    this.filter();
  }

  choose(name, value) {
    const select = this.form.elements[name];
    select.value = select.value === String(value) ? "" : String(value);
    this.filter();
  }

  clear() {
    this.form.reset();
    this.lasso = null;
    this.filter();
  }

  filter() {
    const { columns: c, texts, form, lasso } = this;
    const words = form.elements.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const source = form.elements.source.value, kind = form.elements.kind.value, state = form.elements.state.value;
    if (words.length) this.haystack ??= c.ids.map((id, i) => `${id} ${c.sources[c.source[i]]} ${texts.searched(i)}`.toLowerCase());
    const isState = { "": () => true, whole: (i) => texts.whole.has(i), ...this.states() }[state];
    for (let i = 0; i < c.n; i++) {
      this.mask[i] = (lasso === null || lasso[i]) && (source === "" || c.source[i] === +source) && (kind === "" || c.kind[i] === +kind) && isState(i) && words.every((word) => this.haystack[i].includes(word)) ? 1 : 0;
    }
    this.isFiltered = lasso !== null || words.length > 0 || source !== "" || kind !== "" || state !== "";
    document.getElementById("unfilter").hidden = !this.isFiltered;
    document.getElementById("lassoed").hidden = lasso === null;
    this.page = 0;
    this.opened = null;
    this.show();
    this.changed(this.isFiltered ? this.mask : null);
  }

  /** Words of the filter -> whether a row is so. */
  states() {
    const c = this.columns;
    return { picked: (i) => c.step[i] >= 0, left: (i) => c.step[i] < 0, closed: (i) => c.closed[i] > 0, real: (i) => c.origin !== null && c.origin[i] === 1 };
  }

  /** A number to sort by; rows that have none come last. */
  last(values, isNone = Number.isNaN) {
    return (i) => (isNone(values[i]) ? Infinity : this.falling ? -values[i] : values[i]);
  }

  names(values, list) {
    const rank = new Int32Array(list.length);
    list.map((_, i) => i).sort((a, b) => list[a].localeCompare(list[b])).forEach((v, i) => (rank[v] = i));
    return (i) => (this.falling ? -1 : 1) * (values ? rank[values[i]] : rank[i]);
  }

  /** Name of a column -> what makes its key. */
  keys() {
    const c = this.columns;
    return {
      step: () => this.last(c.step, (v) => v < 0), quality: () => this.last(c.quality), gain: () => this.last(c.gain),
      distance: () => this.last(c.distance), length: () => this.last(c.length, () => false),
      id: () => this.names(null, c.ids), source: () => this.names(c.source, c.sources), kind: () => this.names(c.kind, c.kinds),
    };
  }

  sorted() {
    const { columns: c } = this, key = this.keys()[this.sort]();
    const keys = Float64Array.from({ length: c.n }, (_, i) => key(i));
    const second = (i) => (c.step[i] >= 0 ? c.step[i] - 1e9 : c.quality === null || Number.isNaN(c.quality[i]) ? i / 1e9 : -c.quality[i]);
    return Int32Array.from({ length: c.n }, (_, i) => i).sort((a, b) => (keys[a] === keys[b] ? second(a) - second(b) : keys[a] - keys[b]) || a - b);
  }

  sortBy(name) {
    this.falling = this.sort === name ? !this.falling : ["quality", "gain", "length"].includes(name.split("-")[0]);
    this.sort = name;
    this.order = this.sorted();
    this.page = 0;
    this.opened = null;
    this.show();
  }

  turn(where) {
    const last = Math.max(0, Math.ceil(this.found.length / PAGE) - 1);
    this.page = Math.min(last, Math.max(0, { first: 0, back: this.page - 1, on: this.page + 1, last }[where]));
    this.opened = null;
    this.show();
  }

  show() {
    this.found = this.order.filter((i) => this.mask[i]);
    const from = this.page * PAGE, rows = Array.from(this.found.subarray(from, from + PAGE));
    this.body.replaceChildren(...rows.map((row) => this.line(row)));
    for (const head of document.querySelectorAll("#samples thead th[data-sort]")) {
      if (head.dataset.sort === this.sort) head.setAttribute("aria-sort", this.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const many = (n) => n.toLocaleString("en");
    document.getElementById("found").textContent = this.found.length ? `${many(from + 1)} to ${many(from + rows.length)} of ${many(this.found.length)} ${this.isFiltered ? "rows found" : "rows"}, ${this.counted()}` : "No row is like that.";
    for (const button of document.querySelectorAll("#pager button")) {
      const back = ["first", "back"].includes(button.dataset.turn);
      button.disabled = back ? this.page === 0 : from + PAGE >= this.found.length;
    }
  }

  /** What is said of the rows found. */
  counted() {
    return `${this.found.reduce((sum, i) => sum + (this.columns.step[i] >= 0), 0).toLocaleString("en")} of them picked`;
  }

  /** The cells of a line between its first two and its text. */
  cells(row) {
    const c = this.columns;
    return [
      cell(make("bdi", {}, c.sources[c.source[row]]), ""),
      cell(c.kinds[c.kind[row]], "wide"),
      c.quality === null ? null : cell(number(c.quality[row], c.digits), "n"),
      c.gain === null ? null : cell(number(c.gain[row], c.gain_digits), "n wide"),
      cell(number(c.distance[row]), "n wide"),
      cell(c.length[row].toLocaleString("en"), "n wide"),
    ];
  }

  /** The first cell of a line. */
  head(row) {
    return cell(stepWords(this.columns.step[row]), "n");
  }

  line(row) {
    const c = this.columns;
    const button = make("button", { type: "button", class: "open", "aria-expanded": "false" }, make("bdi", {}, c.ids[row]));
    const line = make(
      "tr", { "data-row": row, class: c.step[row] >= 0 ? "picked" : "" }, this.head(row), make("th", { scope: "row" }, button), ...this.cells(row),
      make("td", { class: "beginning", dir: "auto" }, this.texts.beginning(row)),
    );
    button.addEventListener("click", () => this.open(row, line));
    return line;
  }

  /** Open a row under its line; a second time closes it. */
  open(row, line) {
    const was = this.opened;
    this.body.querySelector("tr.opened")?.remove();
    this.body.querySelector("[aria-expanded=true]")?.setAttribute("aria-expanded", "false");
    this.opened = was === row ? null : row;
    if (this.opened === null) return;
    line.querySelector("button.open").setAttribute("aria-expanded", "true");
    const view = sampleView(row, this.columns, this.texts, (other) => this.onOther(other));
    line.after(make("tr", { class: "opened" }, make("td", { colspan: line.children.length }, view)));
    this.onOpen(row);
  }
}
