// The map: every shown row a point, drawn by deck.gl on WebGL, coloured by what is asked for.

const LOOKS = 16;
const NEAR_PIXELS = 10;
const SLOW_MILLISECONDS = 45;
const REST_MILLISECONDS = 200;

const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const between = (a, b, share) => rgb(a).map((v, i) => Math.round(v + share * (rgb(b)[i] - v)));

/** Run deck.gl's script, after the first view is there. */
const runDeck = () => {
  const script = document.createElement("script");
  script.textContent = document.getElementById("deck").textContent;
  document.body.append(script);
};

/** The categories that points are coloured by: how each looks, and which one a row is of. */
const categories = (columns, by) => {
  const rest = rgb(themed("--faint"));
  if (by === "chosen") return choosers(columns, rest);
  if (by === "source" || by === "kind") {
    const names = by === "source" ? columns.sources : columns.kinds, values = by === "source" ? columns.source : columns.kind;
    const counts = new Uint32Array(names.length);
    values.forEach((value) => counts[value]++);
    const order = names.map((_, i) => i).sort((a, b) => counts[b] - counts[a]), shown = order.slice(0, LOOKS);
    const place = new Map(shown.map((value, i) => [value, i]));
    const list = shown.map((value, i) => ({ name: names[value], value, color: between(themed(`--look-${i % 8}`), themed("--ink"), i < 8 ? 0 : 0.5) }));
    if (order.length > shown.length) list.push({ name: `${order.length - shown.length} smaller ones`, color: rest });
    return { list, of: (i) => place.get(values[i]) ?? shown.length };
  }
  const isQuality = by === "quality", values = isQuality ? columns.quality : columns.step;
  const isNone = isQuality ? Number.isNaN : (v) => v < 0;
  const known = Float64Array.from(values).filter((v) => !isNone(v)).sort();
  const cuts = Array.from({ length: 8 }, (_, i) => known[Math.min(known.length - 1, Math.floor((known.length * i) / 7))]);
  const show = (v) => (isQuality ? number(v, columns.digits) : (v + 1).toLocaleString("en"));
  const list = cuts.slice(0, 7).map((cut, i) => ({ name: `${isQuality ? "" : "steps "}${show(cut)} to ${show(isQuality || i === 6 ? cuts[i + 1] : cuts[i + 1] - 1)}`, color: rgb(themed(`--ramp-${i}`)) }));
  list.push({ name: isQuality ? "no quality" : "not picked", color: rest });
  const of = (i) => {
    if (isNone(values[i])) return 7;
    let place = 6;
    while (place > 0 && values[i] < cuts[place]) place--;
    return place;
  };
  return { list, of };
};

/** Some of the points: rows in the order in which they are drawn, and what the graphics card reads of them. */
class Points {
  constructor(rows, columns) {
    this.rows = rows;
    this.position = new Float32Array(2 * rows.length);
    rows.forEach((row, k) => this.position.set([columns.x[row], columns.y[row]], 2 * k));
    this.color = this.radius = null;
  }

  paint(colorOf, alpha, radius, mask) {
    this.color = new Uint8Array(4 * this.rows.length);
    this.radius = new Float32Array(this.rows.length).fill(radius);
    this.rows.forEach((row, k) => {
      const isFaded = mask && !mask[row];
      this.color.set([...colorOf[row], isFaded ? 14 : mask ? 255 : alpha], 4 * k);
      if (isFaded) this.radius[k] = 0.7 * radius;
    });
  }

  data() {
    const { position, color, radius } = this;
    return { length: this.rows.length, attributes: { getPosition: { value: position, size: 2 }, getFillColor: { value: color, size: 4, normalized: true }, getRadius: { value: radius, size: 1 } } };
  }
}

/** What a row is, in a line. */
const stateWords = (row, c) => {
  if (c.runs) return chosenWords(c.chosen[row], c);
  const state = c.step[row] >= 0 ? `picked at step ${(c.step[row] + 1).toLocaleString("en")}` : "not picked";
  return c.quality === null ? state : `${state}, quality ${number(c.quality[row], c.digits)}`;
};

class Plane {
  constructor(columns, texts, { chosen, lassoed, legend }) {
    Object.assign(this, { columns, texts, chosen, lassoed, legend, mask: null, marked: null, isSlow: false, mode: "pan" });
    this.box = document.getElementById("plane");
    this.by = document.getElementById("by");
    this.note = document.getElementById("hover");
    this.drawing = document.getElementById("drawing");
    const rows = Array.from({ length: columns.n }, (_, i) => i);
    const mixed = (i) => Math.imul(i + 1, 2654435761) >>> 0;
    this.picks = new Points(rows.filter((i) => columns.step[i] >= 0).sort((a, b) => columns.step[b] - columns.step[a]), columns);
    this.rest = new Points(rows.filter((i) => columns.step[i] < 0).sort((a, b) => mixed(a) - mixed(b)), columns);
    const [across, up] = [columns.x, columns.y].map((v) => 1.04 * v.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1);
    Object.assign(this, { across, up });
  }

  async draw() {
    document.getElementById("map-still").setAttribute("hidden", "");
    document.getElementById("still-note").hidden = true;
    this.box.hidden = false;
    document.getElementById("map-tools").hidden = false;
    this.paint();
    const canvas = make("canvas", {});
    this.canvas = canvas;
    this.box.append(canvas);
    this.view = this.drawn = this.whole();
    await new Promise((resolve, reject) => {
      this.deck = new deck.Deck({
        canvas, width: "100%", height: "100%", views: new deck.OrthographicView({ id: "plane", flipY: false }), viewState: this.view, controller: true,
        layers: this.layers(), parameters: { depthTest: false }, getCursor: () => (this.mode === "lasso" ? "crosshair" : "grab"),
        onViewStateChange: ({ viewState }) => this.isSlow || this.look(viewState),
        onAfterRender: () => resolve(this.settle()), onError: reject,
        onResize: () => this.isUntouched && this.turn(this.whole()),
      });
    });
    this.isUntouched = true;
    this.clock();
    this.listen(canvas);
    this.tool(matchMedia("(pointer: coarse)").matches ? "still" : "pan");
    this.box.dataset.drawn = "1";
  }

  listen(canvas) {
    this.by.addEventListener("change", () => this.repaint());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    for (const button of document.querySelectorAll("#map-tools [data-tool]")) button.addEventListener("click", () => this.tool(button.dataset.tool));
    this.box.addEventListener("keydown", (event) => this.key(event));
    // The wheel moves the page until the map is being used.
    this.box.addEventListener("wheel", (event) => this.box.contains(document.activeElement) || event.stopPropagation(), { capture: true });
    this.box.addEventListener("wheel", (event) => this.isSlow && this.mode === "pan" && this.wheel(event), { passive: false });
    this.box.addEventListener("pointerdown", (event) => this.press(event), { capture: true });
    this.box.addEventListener("pointermove", (event) => this.trace(event), { capture: true });
    this.box.addEventListener("pointerup", (event) => this.release(event), { capture: true });
    this.box.addEventListener("pointerleave", () => {
      this.note.hidden = true;
      this.grabbed = null;
    });
    canvas.addEventListener("webglcontextlost", () => failed(new Error("the graphics card gave up")));
  }

  whole() {
    const { clientWidth: width, clientHeight: height } = this.box;
    return { target: [0, 0, 0], zoom: Math.log2(Math.min(width / (2 * this.across), height / (2 * this.up))), minZoom: -6, maxZoom: 12 };
  }

  paint() {
    const { list, of } = categories(this.columns, this.by.value), counts = list.map(() => [0, 0]);
    const colorOf = Array.from({ length: this.columns.n }, (_, i) => {
      const place = of(i);
      counts[place][0]++;
      counts[place][1] += this.columns.step[i] >= 0;
      return list[place].color;
    });
    const room = this.columns.n < 500 ? 1.6 : 1, crowded = (points, n) => (points.rows.length > n ? 0.7 : 1);
    this.rest.paint(colorOf, 110, 1.8 * room * crowded(this.rest, 20_000), this.mask);
    this.picks.paint(colorOf, 255, 3.2 * room * crowded(this.picks, 2_000), this.mask);
    this.legend(list, this.by.value, counts);
  }

  /** Layers from the back to the front. */
  layers() {
    const points = (id, data, more) => new deck.ScatterplotLayer({ id, data, radiusUnits: "pixels", ...more });
    const { columns: c, marked } = this, near = marked === null ? -1 : c.near[marked];
    const at = (row) => [c.x[row], c.y[row]], ink = rgb(themed("--ink"));
    const shown = marked === null ? [] : near >= 0 ? [marked, c.at[near]] : [marked];
    const outlined = { stroked: true, lineWidthUnits: "pixels" };
    return [
      points("rest", this.rest.data()),
      points("picks", this.picks.data(), { ...outlined, getLineColor: [...rgb(themed("--paper")), this.mask ? 0 : 150], getLineWidth: 0.6 }),
      new deck.LineLayer({ id: "line", data: shown.length > 1 ? [shown] : [], getSourcePosition: (d) => at(d[0]), getTargetPosition: (d) => at(d[1]), getColor: ink, getWidth: 1.5 }),
      points("ring", shown, { ...outlined, filled: false, getPosition: at, getRadius: (row) => (row === marked ? 9 : 6), getLineColor: ink, getLineWidth: 2, updateTriggers: { getRadius: marked } }),
    ];
  }

  repaint() {
    this.paint();
    this.deck.setProps({ layers: this.layers() });
  }

  /** Fade what is not in the mask; null shows all. */
  fade(mask) {
    this.mask = mask;
    if (this.deck) this.repaint();
  }

  show(row) {
    this.marked = row;
    if (this.deck) this.deck.setProps({ layers: this.layers() });
  }

  /** Look at the map from elsewhere. On a slow machine the picture that is there is moved, and drawn anew when it rests. */
  look(view) {
    this.isUntouched = false;
    this.note.hidden = true;
    if (!this.isSlow) return this.turn(view);
    this.view = view;
    const unit = 2 ** view.zoom, [x, y] = view.target, [wasX, wasY] = this.drawn.target;
    this.canvas.style.transform = `translate(${(wasX - x) * unit}px, ${(y - wasY) * unit}px) scale(${2 ** (view.zoom - this.drawn.zoom)})`;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.turn(view), REST_MILLISECONDS);
  }

  turn(view) {
    this.view = this.next = view;
    this.deck.setProps({ viewState: view });
  }

  /** A picture was drawn: it stands where it belongs. */
  settle() {
    if (!this.next) return;
    this.drawn = this.next;
    this.next = null;
    this.canvas.style.transform = "";
  }

  /** How long a whole picture takes, to the last pixel: on a machine that draws by its processor, too long to move. */
  clock() {
    const gl = this.canvas.getContext("webgl2"), started = performance.now();
    this.deck.redraw("clock");
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    const took = performance.now() - started;
    this.isSlow = took > SLOW_MILLISECONDS;
    this.box.dataset.frame = String(Math.round(took));
  }

  /** The row drawn nearest to a place on the screen; picks lie above the rest. */
  rowAt(event) {
    const { left, top } = this.box.getBoundingClientRect(), viewport = this.deck.getViewports()[0];
    const [x, y] = viewport.unproject([event.clientX - left, event.clientY - top]);
    let found, least = (NEAR_PIXELS / viewport.scale) ** 2;
    for (const points of [this.picks, this.rest]) {
      const { position, rows } = points;
      for (let k = 0; k < rows.length; k++) {
        const distance = (position[2 * k] - x) ** 2 + (position[2 * k + 1] - y) ** 2;
        if (distance < least && (!this.mask || this.mask[rows[k]])) [least, found] = [distance, rows[k]];
      }
      least /= 4;
    }
    return found;
  }

  press(event) {
    this.box.focus({ preventScroll: true });
    this.pressed = [event.clientX, event.clientY];
    if (this.mode === "pan" && this.isSlow) this.grabbed = this.view;
    if (this.mode !== "lasso") return;
    event.stopPropagation();
    this.box.setPointerCapture(event.pointerId);
    this.path = [];
    this.trace(event);
  }

  trace(event) {
    if (this.grabbed) {
      const unit = 2 ** this.grabbed.zoom, [x, y] = this.grabbed.target;
      this.look({ ...this.grabbed, target: [x - (event.clientX - this.pressed[0]) / unit, y + (event.clientY - this.pressed[1]) / unit, 0] });
    } else if (!this.path) {
      if (event.buttons === 0 && event.pointerType === "mouse") this.hover(event, this.rowAt(event));
    }
    if (!this.path) return;
    event.stopPropagation();
    const { left, top } = this.box.getBoundingClientRect();
    this.path.push([event.clientX - left, event.clientY - top]);
    this.drawing.firstElementChild.setAttribute("points", this.path.map((p) => p.map(Math.round).join()).join(" "));
  }

  release(event) {
    const path = this.path;
    this.path = this.grabbed = null;
    if (path && path.length > 3) {
      event.stopPropagation();
      this.lassoed(this.inside(path));
    } else if (Math.hypot(event.clientX - this.pressed[0], event.clientY - this.pressed[1]) < 4) this.chosen(this.rowAt(event));
    if (path) this.drawing.firstElementChild.setAttribute("points", "");
  }

  /** Rows inside of a line drawn on the screen, by how often a ray from each crosses it. */
  inside(path) {
    const viewport = this.deck.getViewports()[0], corners = path.map((p) => viewport.unproject(p)), { x, y, n } = this.columns;
    const isIn = (i) => {
      let odd = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [ax, ay] = corners[a], [bx, by] = corners[b];
        if (ay > y[i] !== by > y[i] && x[i] < ((bx - ax) * (y[i] - ay)) / (by - ay) + ax) odd = !odd;
      }
      return odd;
    };
    return Array.from({ length: n }, (_, i) => i).filter(isIn);
  }

  hover(event, row) {
    this.note.hidden = row === undefined;
    if (row === undefined) return;
    const { columns: c } = this;
    this.note.replaceChildren(make("b", {}, make("bdi", {}, c.sources[c.source[row]])), ` ${stateWords(row, c)}`, make("span", { dir: "auto" }, this.texts.beginning(row)));
    const { left, top } = this.box.getBoundingClientRect(), { clientX, clientY } = event;
    const x = Math.min(clientX - left + 14, this.box.clientWidth - this.note.offsetWidth - 4);
    const isLow = clientY - top + 18 + this.note.offsetHeight > this.box.clientHeight;
    const y = isLow ? clientY - top - this.note.offsetHeight - 12 : clientY - top + 18;
    this.note.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  }

  tool(name) {
    if (["pan", "lasso", "still"].includes(name)) {
      this.mode = name;
      this.deck.setProps({ controller: name === "pan" && !this.isSlow });
      this.box.dataset.mode = name;
      for (const button of document.querySelectorAll("#map-tools [aria-pressed]")) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
    } else if (name === "whole") this.look(this.whole());
    else this.zoom(name === "in" ? 0.8 : -0.8);
  }

  zoom(by, across = 0, up = 0) {
    const { clientWidth: width, clientHeight: height } = this.box, [x, y] = this.view.target, unit = 2 ** this.view.zoom;
    this.look({ ...this.view, zoom: Math.min(12, Math.max(-6, this.view.zoom + by)), target: [x + (across * width) / unit, y + (up * height) / unit, 0] });
  }

  /** Zoom about the pointer. */
  wheel(event) {
    event.preventDefault();
    const { left, top, width, height } = this.box.getBoundingClientRect(), [x, y] = this.view.target;
    const across = event.clientX - left - width / 2, up = top + height / 2 - event.clientY;
    const zoom = Math.min(12, Math.max(-6, this.view.zoom - event.deltaY / 400)), moved = 2 ** -this.view.zoom - 2 ** -zoom;
    this.look({ ...this.view, zoom, target: [x + across * moved, y + up * moved, 0] });
  }

  key(event) {
    const step = { ArrowLeft: [0, -0.12, 0], ArrowRight: [0, 0.12, 0], ArrowUp: [0, 0, 0.12], ArrowDown: [0, 0, -0.12], "+": [0.3, 0, 0], "=": [0.3, 0, 0], "-": [-0.3, 0, 0] }[event.key];
    if (event.key === "0") this.look(this.whole());
    else if (step) this.zoom(...step);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
