// The table of all images: only the rows in sight are elements.
const ROW = 48; // pixels, as in the style
const TAIL = 12; // characters
const SPARE = 6; // rows beyond the edges, so that slow scrolling shows no gap

class ImageTable {
  constructor(host) {
    this.shown = store.columns.filter((c) => c.shown).map((c) => c.key);
    this.filters = { text: "", only: null, categories: new Map() };
    this.sort = { key: null, down: false };
    this.order = Uint32Array.from({ length: store.rows }, (_, i) => i);
    this.active = -1;
    this.#build(host);
    this.viewer = new Viewer(this.side);
    this.#head();
    this.refresh();
    if (store.rows) this.#activate(0, false);
    document.addEventListener("mode", () => this.#render());
  }

  #build(host) {
    this.side = make("aside", { class: "side", "aria-label": "The image in large" });
    this.body = make("tbody");
    this.header = make("thead");
    this.widths = make("colgroup");
    this.table = make("table", { class: "images" }, this.widths, this.header, this.body);
    this.scroller = make("div", { class: "rows", tabindex: 0, role: "region", "aria-label": "Images: arrow keys move, Enter enlarges" }, this.table);
    this.count = make("span", { class: "count", role: "status" });
    this.empty = make("p", { class: "empty", hidden: true }, "No image is left by these filters.");
    host.replaceChildren(this.#toolbar(), make("div", { class: "split" }, make("div", { class: "main" }, this.scroller, this.empty), this.side));
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.#render()));
    this.scroller.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("mouseover", (event) => this.#point(event, false));
    this.body.addEventListener("click", (event) => this.#point(event, true));
    new ResizeObserver(() => this.#render()).observe(this.scroller);
  }

  #toolbar() {
    let waiting = 0;
    const search = (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.#filter("text", event.target.value.toLowerCase()), 120);
    };
    this.only = make("button", { type: "button", class: "chip only", hidden: true, onclick: () => this.#filter("only", null) });
    this.selects = store.columns.filter((c) => c.codes && c.shown).map((c) => this.#select(c));
    const reset = make("button", { type: "button", class: "quiet", onclick: () => this.reset() }, "Reset");
    this.search = make("input", { type: "search", placeholder: "Search names and classes", "aria-label": "Search names and classes", oninput: search });
    return make("div", { class: "toolbar" }, this.search, this.selects, this.only, this.#chooser(), reset, this.count);
  }

  #select(column) {
    const there = new Set(column.codes);
    const codes = column.values.map((_, i) => i + 1).filter((code) => there.has(code));
    codes.sort((a, b) => compareTexts(column.values[a - 1], column.values[b - 1]));
    const choose = (event) => {
      const code = Number(event.target.value);
      if (code) this.filters.categories.set(column.key, code);
      else this.filters.categories.delete(column.key);
      this.refresh();
    };
    const options = codes.map((code) => make("option", { value: code }, column.values[code - 1]));
    const select = make("select", { "aria-label": column.title, "data-key": column.key, onchange: choose }, make("option", { value: 0 }, `${column.title.replace("?", "")}: all`), options);
    return select;
  }

  #chooser() {
    const toggle = (key) => () => {
      this.shown = store.columns.map((c) => c.key).filter((k) => (k === key ? !this.shown.includes(k) : this.shown.includes(k)));
      this.#head();
      this.#render();
    };
    const box = (c) => make("label", {}, make("input", { type: "checkbox", checked: c.shown, onchange: toggle(c.key) }), c.title);
    return make("details", { class: "chooser" }, make("summary", {}, "Columns"), make("div", {}, store.columns.map(box)));
  }

  get columns() {
    return this.shown.map(columnOf);
  }

  #head() {
    const columns = [{ key: "name", title: "image", tip: "By its name, as the run had it.", wide: true }, ...this.columns];
    const cell = ({ key, title, tip, number }) => {
      const button = make("button", { type: "button", onclick: () => this.sortBy(key) }, title, make("span", { class: "way", "aria-hidden": "true" }));
      if (tip) button.dataset.tip = tip;
      return make("th", { scope: "col", class: number ? "number" : "", "data-key": key, "aria-sort": this.#way(key) }, button);
    };
    this.header.replaceChildren(make("tr", {}, columns.map(cell)));
    const width = (c) => {
      if (c.wide) return 16;
      const longest = c.values ? Math.max(4, ...c.values.slice(0, 200).map((v) => v.length)) : 7;
      return Math.min(Math.max(c.title.length * 0.5 + 2.9, longest * 0.5 + (c.key === "verdict" || c.key === "right" ? 3.5 : 2)), 16);
    };
    this.widths.replaceChildren(...columns.map((c) => {
      const column = make("col");
      column.style.width = `${width(c)}rem`;
      return column;
    }));
    this.table.style.minWidth = `${columns.reduce((sum, c) => sum + width(c), 0)}rem`;
  }

  #way(key) {
    return this.sort.key !== key ? "none" : this.sort.down ? "descending" : "ascending";
  }

  /** Sort by a column; once more turns it round. Numbers start with the largest. */
  sortBy(key) {
    const down = this.sort.key === key ? !this.sort.down : Boolean(columnOf(key)?.number);
    this.sort = { key, down };
    for (const head of this.header.querySelectorAll("th")) head.setAttribute("aria-sort", this.#way(head.dataset.key));
    this.refresh();
  }

  #keys(key) {
    this.cached ??= new Map();
    if (!this.cached.has(key)) this.cached.set(key, key === "name" ? rankNames() : columnOf(key).sortKey());
    return this.cached.get(key);
  }

  #filter(name, value) {
    this.filters[name] = value;
    this.refresh();
  }

  reset() {
    this.search.value = "";
    for (const select of this.selects) select.value = "0";
    this.filters = { text: "", only: null, categories: new Map() };
    this.refresh();
  }

  /** Show the images of a suspect (`rows`), or those of a class (`key` and `value`). */
  showOnly({ rows, name, key, value }) {
    this.reset();
    if (rows) {
      this.filters.only = { name, rows: new Set(rows) };
    } else {
      const code = columnOf(key).values.indexOf(value) + 1;
      this.filters.categories.set(key, code);
      this.selects.find((s) => s.dataset.key === key).value = String(code);
    }
    this.refresh();
    byId("images").scrollIntoView();
  }

  /** Which rows pass the filters, in the order that was asked for. */
  refresh() {
    const { text, only, categories } = this.filters;
    const wanted = [...categories].map(([key, code]) => [columnOf(key).codes, code]);
    const words = text && searchTexts();
    const passes = (i) => wanted.every(([codes, code]) => codes[i] === code) && (!text || words[i].includes(text)) && (!only || only.rows.has(rowOf(i)));
    const order = new Uint32Array(store.rows);
    let count = 0;
    for (let i = 0; i < store.rows; i++) if (passes(i)) order[count++] = i;
    this.order = order.subarray(0, count);
    if (this.sort.key) this.#arrange();
    this.#tell(only);
    this.active = -1;
    this.scroller.scrollTop = 0;
    this.#render();
  }

  #arrange() {
    const keys = this.#keys(this.sort.key);
    const sign = this.sort.down ? -1 : 1;
    this.order.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x !== x) return y !== y ? a - b : 1; // what is unknown comes last, either way
      if (y !== y) return -1;
      return (x - y) * sign || a - b;
    });
  }

  #tell(only) {
    const all = store.rows < data.table.of ? `${whole(store.rows)} of the run’s ${whole(data.table.of)}` : whole(store.rows);
    this.count.textContent = this.order.length === store.rows ? `${all} images` : `${whole(this.order.length)} of ${all} images`;
    this.only.hidden = !only;
    this.only.textContent = only ? `${only.name} ×` : "";
    this.empty.hidden = this.order.length > 0;
  }

  #render() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(this.order.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + SPARE);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.#row(place));
    this.body.replaceChildren(this.#space(first), ...rows, this.#space(this.order.length - last));
    this.table.setAttribute("aria-rowcount", this.order.length + 1);
  }

  #space(rows) {
    const row = make("tr", { class: "space", "aria-hidden": "true" });
    row.style.height = `${rows * ROW}px`;
    return row;
  }

  #row(place) {
    const index = this.order[place];
    const canvas = make("canvas", { "aria-hidden": "true" });
    [canvas.height, canvas.width] = [data.thumbnails.height, data.thumbnails.width].map((side) => Math.round((side * 72) / Math.max(data.thumbnails.height, data.thumbnails.width)));
    drawRow(canvas.getContext("2d"), rowOf(index), SHOWN.mode);
    const cell = (column) => make("td", { class: column.number ? "number" : column.key === "right" ? column.text(index) : null }, this.#content(column, index));
    const full = store.names[index]; // its end tells it from its neighbours: what is too long loses its middle
    const name = make("th", { scope: "row", title: full },
      make("div", { class: "named" }, canvas, make("span", { class: "start" }, full.slice(0, -TAIL)), make("span", {}, full.slice(-TAIL))));
    const state = place === this.active ? "active" : "";
    return make("tr", { class: state, "data-place": place, "aria-rowindex": place + 2 }, name, this.columns.map(cell));
  }

  #content(column, index) {
    const text = column.text(index);
    if (column.key === "verdict" && text !== "–") return [glyph(text), text];
    if (column.key === "right" && text !== "–") return `${text === "right" ? "✓" : "✗"} ${text}`;
    return text;
  }

  #point(event, clicked) {
    const row = event.target.closest("tr[data-place]");
    if (!row) return;
    const place = Number(row.dataset.place);
    if (place !== this.active) this.#activate(place, false);
    if (clicked && !this.side.offsetParent) openLarge(rowOf(this.order[place]));
  }

  #activate(place, scroll) {
    this.active = Math.min(Math.max(place, 0), this.order.length - 1);
    if (this.active < 0) return;
    if (scroll) {
      const top = this.active * ROW;
      const room = this.scroller.clientHeight - 2 * ROW; // below the head, above the scrollbar
      if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
      else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
      this.#render();
    }
    for (const row of this.body.children) row.classList.toggle("active", row.dataset.place === String(this.active));
    this.viewer.show(rowOf(this.order[this.active]));
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.scroller) return;
    if (event.key === "Enter" && this.active >= 0) openLarge(rowOf(this.order[this.active]));
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.#activate(this.active + steps[event.key], true);
  }
}

function rankNames() {
  const order = store.names.map((_, i) => i).sort((a, b) => (store.names[a] < store.names[b] ? -1 : store.names[a] > store.names[b] ? 1 : a - b));
  const ranks = new Float32Array(order.length);
  order.forEach((index, rank) => (ranks[index] = rank));
  return ranks;
}

/** What the search looks through: names, predictions, labels, in small letters; made when it is first needed. */
function searchTexts() {
  const columns = ["prediction", "label"].map(columnOf).filter(Boolean);
  store.searched ??= store.names.map((name, i) => [name, ...columns.map((c) => c.text(i))].join("\n").toLowerCase());
  return store.searched;
}

let imageTable = null;
const showOnly = (what) => imageTable?.showOnly(what);
