// One image, large: beside the table, or in a dialog.

class Viewer {
  #row = null;

  constructor(host) {
    const { height, width } = { height: data.view[0], width: data.view[1] };
    const times = 640 / Math.max(height, width);
    this.size = [Math.round(height * times), Math.round(width * times)];
    this.large = this.#canvas("large", 1);
    this.small = ["photo", "map", "overlay"].map((mode) => {
      const canvas = this.#canvas("", 0.35);
      const button = make("button", { type: "button", onclick: () => setMode(mode) }, canvas, make("span", {}, mode));
      return { mode, canvas, button };
    });
    this.name = make("p", { class: "name" });
    this.said = make("p", { class: "said" });
    this.note = make("p", { class: "note" });
    this.facts = make("dl", { class: "row-facts" });
    const choices = make("div", { class: "choices" }, this.small.map((part) => part.button));
    host.append(make("div", { class: "viewer" }, this.large, choices, this.name, this.said, this.note, this.facts));
    viewers.push(this);
  }

  #canvas(kind, share) {
    const canvas = make("canvas", { class: kind, role: "img" });
    [canvas.height, canvas.width] = this.size.map((side) => Math.round(side * share));
    return canvas;
  }

  /** Show an evidence row: its thumbnail at once, its photo when it is loaded, if its file is there. */
  show(row) {
    if (row === this.#row) return;
    this.#row = row;
    this.photo = thumbnailOf(row);
    const index = indexOf(row);
    this.name.textContent = store.names[index] ?? `image ${row}`;
    this.said.replaceChildren(...this.#answer(index));
    this.note.textContent = index >= 0 && hasFailed(index) ? "It could not be read or explained: it has no map." : "";
    this.facts.replaceChildren(...store.columns.filter((c) => !ANSWER.has(c.key) && c.text(index) !== "–").map((column) =>
      make("div", {}, explained(make("dt", {}, column.title), column.tip), make("dd", {}, column.text(index)))));
    this.draw();
    this.#loadPhoto(row, index);
  }

  #answer(index) {
    const [said, label, right] = ["prediction", "label", "right"].map((key) => columnOf(key)?.text(index));
    const sure = columnOf("confidence")?.text(index);
    const known = label !== undefined && label !== "–";
    return [
      make("strong", {}, said ?? "–"),
      sure && sure !== "–" ? ` ${sure}` : "",
      known ? make("span", { class: `truth ${right}` }, `${right === "right" ? "✓" : "✗"} label ${label}`) : "",
    ];
  }

  #loadPhoto(row, index) {
    const file = index < 0 ? null : fileOf(index);
    const drawn = cells.has(row);
    if (file === null) {
      if (!drawn) this.note.textContent ||= "The photo is in an archive: only its map is shown.";
      return;
    }
    const image = new Image();
    image.onload = () => {
      if (row !== this.#row) return;
      const view = store.views.map((side) => side[index]);
      this.photo = (context) => drawView(context, image, view);
      this.draw();
    };
    image.onerror = () => {
      if (row === this.#row && !drawn) this.note.textContent ||= "The photo is not where it was: only its map is shown.";
    };
    image.src = file;
  }

  draw() {
    if (this.#row === null) return;
    const map = mapOf(this.#row);
    this.large.setAttribute("aria-label", `${SHOWN.mode} of ${describe(this.#row)}`);
    drawImage(this.large.getContext("2d"), this.photo, map, SHOWN.mode);
    for (const { mode, canvas, button } of this.small) {
      button.setAttribute("aria-pressed", String(mode === SHOWN.mode));
      drawImage(canvas.getContext("2d"), this.photo, map, mode);
    }
  }
}

const viewers = [];
const ANSWER = new Set(["prediction", "confidence", "label", "right"]); // said above the other numbers

/** The part of a photo that the network saw, over the whole canvas; beyond the photo it is grey, as letterboxing is. */
function drawView(context, image, [left, top, right, bottom]) {
  const { width, height } = context.canvas;
  if (!(right > left && bottom > top)) return false;
  const [x, y] = [width / (right - left), height / (bottom - top)];
  const part = [Math.max(left, 0), Math.max(top, 0), Math.min(right, image.naturalWidth), Math.min(bottom, image.naturalHeight)];
  const [w, h] = [part[2] - part[0], part[3] - part[1]];
  if (!(w > 0 && h > 0)) return false;
  context.fillStyle = "#808080";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, part[0], part[1], w, h, (part[0] - left) * x, (part[1] - top) * y, w * x, h * y);
  return true;
}

let dialog = null;

/** The large picture over the page. */
function openLarge(row) {
  if (!store.rows) return;
  if (!dialog) {
    const close = make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
    dialog = make("dialog", { "aria-label": "Image", onclick: (event) => event.target === dialog && dialog.close() }, close);
    dialog.viewer = new Viewer(dialog);
    document.body.append(dialog);
  }
  dialog.viewer.show(row);
  if (!dialog.open) dialog.showModal();
}

/** Photo, map or overlay, for the whole page. */
function setMode(mode) {
  SHOWN.mode = mode;
  document.querySelector(`#modes input[value="${mode}"]`).checked = true;
  redrawAll(false);
  viewers.forEach((viewer) => viewer.draw());
  document.dispatchEvent(new Event("mode"));
}
