// One photo on the page: its picture with the map, what the network takes it for, which class is explained.

import { className, drawnMaps } from "./contract.js";
import { COLORMAPS } from "./colormaps.js";
import { onOneLine } from "./errors.js";
import {
  blend, displayRange, faded, indexMap, largest, lowestIndex, regionAbove, seenPart, softmax,
} from "./render.js"; // prettier-ignore

const SHOWN_CLASSES = 5;
let made = 0;

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u202f%`;

export class Card {
  element = document.getElementById("card").content.firstElementChild.cloneNode(true);
  key = ++made;
  #engine;
  #spec;
  #look;
  #seen = null; // the worker's answer for the photo
  #maps = null; // of the class that is explained
  #pale; // the photo as pixels, pale where the network did not look
  #indices; // the map in colormap indices: where it was seen, and on the network's own pixels
  #asked = 0;

  /**
   * @param {File} file
   * @param {() => object} look how maps are drawn: {map, scale, colormap, opacity, threshold}
   * @param {(card: Card) => void} removed
   */
  constructor(file, look, removed) {
    this.file = file;
    this.name = onOneLine(file.name);
    this.#look = look;
    this.#find("h2").textContent = this.name;
    this.#find("h2").title = this.name;
    const remove = this.#find(".remove");
    remove.setAttribute("aria-label", `Remove ${this.name}`);
    remove.onclick = () => removed(this);
    this.#find(".another input").onchange = (event) => this.#another(event.target);
  }

  /** Have the photo looked at by a program; rejected with a `PageError` where it cannot be. */
  async show(engine, spec) {
    [this.#engine, this.#spec] = [engine, spec];
    this.element.classList.remove("seen");
    this.#find(".state").hidden = false;
    const asked = ++this.#asked;
    const answer = await engine.ask("look", { key: this.key, file: this.file, name: this.name, target: -1 });
    if (asked !== this.#asked) return; // another program was opened meanwhile
    this.#seen = answer;
    const { photo, size, view } = answer;
    const canvas = this.#find("canvas");
    [canvas.width, canvas.height] = [photo.width, photo.height];
    this.scale = photo.width / size.width;
    const place = Object.fromEntries(Object.entries(view).map(([side, at]) => [side, at * this.scale]));
    this.part = seenPart(photo.width, photo.height, place);
    this.#pale = faded(photo.data, photo.width, this.part);
    this.#explain(answer);
    this.#list(answer.logits);
    this.#find(".state").hidden = true;
    this.element.classList.add("seen");
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  /** The likeliest classes, to choose the one that is explained. */
  #list(logits) {
    const shares = this.#spec.softmax && logits.length > 1 ? softmax(logits) : null;
    const answers = this.#find(".answers");
    answers.replaceChildren(answers.querySelector("legend"));
    this.#row = (index) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: `class-${this.key}` });
      input.value = index;
      input.onchange = () => this.#ask(index);
      const name = Object.assign(document.createElement("span"), { className: "name" });
      name.textContent = name.title = onOneLine(className(this.#spec, index));
      const value = document.createElement("span");
      value.textContent = shares === null ? logits[index].toPrecision(3) : percent(shares[index], 1);
      label.append(input, name, value);
      if (shares !== null) {
        const track = Object.assign(document.createElement("span"), { className: "track" });
        const fill = track.appendChild(Object.assign(document.createElement("span"), { className: "fill" }));
        fill.style.width = `${100 * shares[index]}%`;
        label.append(track);
      }
      answers.append(label);
      return input;
    };
    const best = largest(logits, SHOWN_CLASSES);
    for (const index of best) this.#row(index);
    answers.querySelector("input").checked = true;
    answers.hidden = false;
    this.predicted = best[0];
    this.explained = best[0];
    this.#find(".another").hidden = logits.length <= SHOWN_CLASSES;
  }

  #row = null; // adds a class to the list

  #another(input) {
    const text = input.value.trim();
    const { classes, num_outputs: count } = this.#spec;
    const named = classes?.indexOf(text) ?? -1;
    const index = named < 0 && /^\d{1,8}$/.test(text) ? Number(text) : named;
    const known = index >= 0 && index < count;
    input.setAttribute("aria-invalid", String(text !== "" && !known));
    input.setCustomValidity(text === "" || known ? "" : `“${text}” is no class; choose one from the list, or 0 to ${count - 1}`);
    input.reportValidity();
    if (!known) return;
    const there = this.#find(`.answers input[value="${index}"]`) ?? this.#row(index);
    there.checked = true;
    input.value = "";
    this.#ask(index);
  }

  async #ask(index) {
    const asked = ++this.#asked;
    this.element.classList.add("busy");
    try {
      const answer = await this.#engine.ask("explain", { key: this.key, target: index });
      if (asked !== this.#asked) return;
      this.explained = index;
      this.#explain(answer);
      this.draw();
    } catch (error) {
      this.#find(".region").textContent = error.message;
    } finally {
      if (asked === this.#asked) this.element.classList.remove("busy");
    }
  }

  #explain({ maps, milliseconds }) {
    this.#maps = maps;
    this.milliseconds = milliseconds;
    this.#indices = null;
  }

  /** The map, sampled where it is drawn; once for each map and scale, as it takes most of the time. */
  #sampled() {
    const { map: name, scale } = this.#look();
    if (this.#indices?.name === name && this.#indices.scale === scale) return this.#indices;
    const map = drawnMaps(this.#spec).find((one) => one.name === name);
    const values = this.#maps[name];
    const calibrated = scale === "calibrated" ? this.#spec.calibration?.[name] : undefined;
    const range = calibrated ?? displayRange(values, map.kind);
    const { width, height, box } = this.part;
    const { width: across, height: down } = this.#spec.preprocessing;
    this.#indices = {
      name,
      scale,
      shown: indexMap(values, map.shape, range, width, height, box),
      own: indexMap(values, map.shape, range, across, down),
    };
    return this.#indices;
  }

  /** Draw the picture as the page's controls say. */
  draw() {
    if (this.#maps === null) return;
    const { colormap, opacity, threshold } = this.#look();
    const { shown, own } = this.#sampled();
    const canvas = this.#find("canvas");
    const context = canvas.getContext("2d", { willReadFrequently: true }); // drawn by this program, not by the GPU
    const picture = new ImageData(Uint8ClampedArray.from(this.#pale), canvas.width, canvas.height);
    const lowest = threshold === 0 ? 0 : lowestIndex(threshold);
    blend(picture.data, canvas.width, this.part, shown, COLORMAPS[colormap], opacity, lowest);
    context.putImageData(picture, 0, 0);
    const { width, height } = this.#spec.preprocessing;
    this.#tell(context, regionAbove(own, width, height, lowestIndex(threshold)), threshold);
  }

  /** The region above the threshold: a box on the picture, and in words, in pixels of the photo. */
  #tell(context, region, threshold) {
    const { view } = this.#seen;
    const { width, height } = this.#spec.preprocessing;
    const about = this.#find(".region");
    const what = threshold === 0 ? "Evidence" : `At or above ${percent(threshold)} of the scale`;
    const name = onOneLine(className(this.#spec, this.explained));
    about.hidden = false;
    this.region = null;
    if (region === null) {
      const blank = this.#indices.own.every((index) => index === 0);
      about.textContent = blank
        ? "The map is blank: nothing speaks for this class."
        : `Nothing reaches ${percent(threshold)} of the scale.`;
    } else {
      const at = (start, end, part, all) => start + ((end - start) * part) / all;
      const box = {
        left: at(view.left, view.right, region.left, width),
        top: at(view.top, view.bottom, region.top, height),
        right: at(view.left, view.right, region.right, width),
        bottom: at(view.top, view.bottom, region.bottom, height),
      };
      this.region = { ...box, area: region.area };
      const [x, y, across, down] = [box.left, box.top, box.right - box.left, box.bottom - box.top];
      const strong = document.createElement("b");
      strong.textContent = percent(region.area);
      const place = `${Math.round(across)}×${Math.round(down)} at (${Math.round(x)}, ${Math.round(y)})`;
      about.replaceChildren(`${what}: `, strong, ` of the view, ${place} · ${Math.round(this.milliseconds)}\u00a0ms`);
      if (threshold > 0) outline(context, [x, y, across, down].map((n) => n * this.scale));
    }
    this.#find("canvas").setAttribute("aria-label", `${this.name}, what speaks for ${name}: ${about.textContent}`);
  }
}

/** A box that is seen on any picture: white between two dark lines. */
function outline(context, [x, y, width, height]) {
  const unit = Math.max(1, context.canvas.width / 380);
  for (const [colour, line] of [["rgb(0 0 0 / .5)", 3 * unit], ["#fff", 1.25 * unit]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: line, lineJoin: "round" });
    context.strokeRect(x, y, width, height);
  }
}
