// Pictures: cells of the sheets, maps in the colormap, one over the other, on canvases that are drawn when they are seen.
const COLOURS = Uint8Array.from(atob(data.colours), (c) => c.charCodeAt(0));
const SHOWN = { mode: "overlay" };

/** A set of sheets with cells of one size; its images are there once `load` is done. */
class Sheets {
  constructor(name, about) {
    Object.assign(this, about, { name, images: [] });
  }

  load() {
    return Promise.all(Array.from({ length: this.sheets }, (_, i) => this.#loadSheet(i)));
  }

  async #loadSheet(number) {
    const element = byId(`${this.name}-${number}`);
    const image = new Image();
    image.src = `data:image/jpeg;base64,${element.textContent}`;
    element.remove();
    await image.decode();
    this.images[number] = image;
  }

  /** Draw a cell over a whole canvas. */
  draw(context, cell) {
    const image = this.images[Math.floor(cell / this.each)];
    const place = cell % this.each;
    const [x, y] = [(place % this.columns) * this.width, Math.floor(place / this.columns) * this.height];
    const { width, height } = context.canvas;
    if (image) context.drawImage(image, x, y, this.width, this.height, 0, 0, width, height);
    return Boolean(image);
  }
}

const thumbnails = new Sheets("thumbnails", data.thumbnails);
const averages = new Sheets("averages", data.averages);
const examples = new Sheets("examples", data.examples);

const isBlank = (map) => !map.bytes.some((value) => value > 0);

/**
 * A map in colour: sampled bilinearly with half-pixel centres and then coloured, as the renderer does.
 * @param {number} size of its longer side, about: the canvas' own smoothing does the rest; 1 for the map's own cells
 * @param {boolean} over to be laid over a photo: the less evidence, the more of the photo is left
 */
function heatCanvas({ bytes, height, width }, size, over) {
  const times = Math.max(1, Math.round(size / Math.max(height, width)));
  const canvas = make("canvas");
  [canvas.width, canvas.height] = [width * times, height * times];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const along = (i, side) => {
    const at = Math.min(Math.max((i + 0.5) / times - 0.5, 0), side - 1);
    const first = Math.min(Math.floor(at), Math.max(side - 2, 0));
    return [first, Math.min(first + 1, side - 1), at - first];
  };
  const columns = Array.from({ length: canvas.width }, (_, x) => along(x, width));
  for (let y = 0, to = 0; y < canvas.height; y++) {
    const [top, bottom, down] = along(y, height);
    for (const [left, right, across] of columns) {
      const above = bytes[top * width + left] * (1 - across) + bytes[top * width + right] * across;
      const below = bytes[bottom * width + left] * (1 - across) + bytes[bottom * width + right] * across;
      const value = Math.round(above * (1 - down) + below * down);
      for (let channel = 0; channel < 3; channel++) pixels.data[to++] = COLOURS[3 * value + channel];
      pixels.data[to++] = over ? data.opacity * (127 + value) : 255;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Thin stripes: there is a map, and nothing in it. */
function hatch(context) {
  const { width, height } = context.canvas;
  context.strokeStyle = "rgba(255, 255, 255, .6)";
  context.lineWidth = Math.max(1, width / 90);
  context.beginPath();
  for (let x = -height; x < width; x += width / 8) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.stroke();
}

/**
 * An image as photo, map or overlay.
 * @param {?function} photo draws the photo over the canvas and says whether it could
 */
function drawImage(context, photo, map, mode) {
  const { width, height } = context.canvas;
  context.clearRect(0, 0, width, height);
  const there = mode !== "map" && photo(context);
  if (mode === "photo" && there) return;
  if (!map || isBlank(map)) {
    if (!there) {
      context.fillStyle = map ? "#3b2a50" : "#8a8a86";
      context.fillRect(0, 0, width, height);
    }
    if (map) hatch(context);
    return;
  }
  context.drawImage(heatCanvas(map, Math.min(64, width / 2), there), 0, 0, width, height);
}

const thumbnailOf = (row) => (context) => cells.has(row) && thumbnails.draw(context, cells.get(row));
const drawRow = (context, row, mode) => drawImage(context, thumbnailOf(row), mapOf(row), mode);

/** The border of a region of the map's grid, light within dark, so that it is seen on any picture. */
function outline(context, region) {
  const { width, height } = context.canvas;
  const [dx, dy] = [width / region.width, height / region.height];
  const inside = (x, y) =>
    x >= 0 && y >= 0 && x < region.width && y < region.height && region.cells[y * region.width + x] === "1";
  const inset = width / 80; // the picture's own edge is part of the border
  const px = (x) => Math.min(Math.max(x * dx, inset), width - inset);
  const py = (y) => Math.min(Math.max(y * dy, inset), height - inset);
  context.beginPath();
  for (let y = 0; y <= region.height; y++) {
    for (let x = 0; x <= region.width; x++) {
      if (inside(x, y) !== inside(x, y - 1)) {
        context.moveTo(px(x), py(y));
        context.lineTo(px(x + 1), py(y));
      }
      if (inside(x, y) !== inside(x - 1, y)) {
        context.moveTo(px(x), py(y));
        context.lineTo(px(x), py(y + 1));
      }
    }
  }
  context.lineCap = "round";
  for (const [colour, thick] of [["rgba(0, 0, 0, .65)", 2.4], ["#fff", 1.2]]) {
    context.strokeStyle = colour;
    context.lineWidth = (thick * width) / 100;
    context.stroke();
  }
}

const drawings = new Map(); // canvas → what draws it
const stale = new Set();
const inSight = new Set();
const eye = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) inSight.add(target);
      else inSight.delete(target);
      if (isIntersecting && stale.has(target)) redraw(target);
    }
  },
  { rootMargin: "200px" },
);
let unpacked = false;

function redraw(canvas) {
  if (!unpacked) return;
  stale.delete(canvas);
  drawings.get(canvas)(canvas.getContext("2d"), SHOWN.mode);
}

/** A canvas that is drawn by `draw(context, mode)` once it is seen, and again when the page's mode changes. */
function picture(height, width, label, draw) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  [canvas.width, canvas.height] = [width, height];
  drawings.set(canvas, draw);
  stale.add(canvas);
  eye.observe(canvas);
  return canvas;
}

function redrawAll(unseen) {
  for (const canvas of drawings.keys()) {
    stale.add(canvas);
    if (unseen || inSight.has(canvas)) redraw(canvas);
  }
}

/** What is said of an image to those who do not see it. */
function describe(row) {
  const index = indexOf(row);
  if (index < 0 || !store.rows) return `image ${row}`;
  const said = columnOf("prediction")?.text(index);
  const label = columnOf("label")?.text(index);
  const sure = columnOf("confidence")?.text(index);
  return `${store.names[index]}: predicted ${said} (${sure})${label === undefined ? "" : `, label ${label}`}`;
}

/** A small picture that opens the large one. */
function thumbnail(row) {
  const { height, width } = data.thumbnails;
  const times = 168 / Math.max(height, width);
  const canvas = picture(Math.round(height * times), Math.round(width * times), "", (context, mode) => {
    drawRow(context, row, mode);
    button.setAttribute("aria-label", describe(row));
    button.dataset.tip = describe(row);
  });
  canvas.setAttribute("aria-hidden", "true");
  const button = make("button", { type: "button", class: "thumbnail", onclick: () => openLarge(row) }, canvas);
  return button;
}

/** Thumbnails of those rows that there are pictures or maps of. */
function contactSheet(rows, most = Infinity) {
  const shown = rows.filter((row) => cells.has(row) || rows.length <= 8).slice(0, most);
  return make("div", { class: "contact" }, shown.map(thumbnail));
}
