// The page: a program, photos, and how maps are drawn.

import { Card, percent } from "./card.js";
import { COLORMAPS } from "./colormaps.js";
import { drawnMaps } from "./contract.js";
import { Engine } from "./engine.js";
import { PageError, onOneLine } from "./errors.js";

const MAX_PROGRAM = 2 ** 30;
const MAX_PHOTOS = 60; // each holds a few megabytes
const MAX_MESSAGES = 5;
const LISTED_CLASSES = 5000;

const find = (id) => document.getElementById(id);
const cards = new Set();
let current = null; // {engine, spec} of the program that is open

// ---- messages ---------------------------------------------------------------------------------------------------

/** One line under the drop zone; of many, the latest. */
function complain(error) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  text.textContent = error instanceof PageError ? error.message : `page: ${onOneLine(error?.message ?? error)}; reload it`;
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
  close.setAttribute("aria-label", "Dismiss");
  close.onclick = () => item.remove();
  item.append(text, close);
  find("messages").prepend(item);
  while (find("messages").children.length > MAX_MESSAGES) find("messages").lastElementChild.remove();
}

// ---- the program ------------------------------------------------------------------------------------------------

/** Open a program; the one before stays until the new one runs. */
async function open(bytes, name) {
  if (bytes.byteLength > MAX_PROGRAM) throw tooLarge(name, bytes.byteLength);
  const size = bytes.byteLength;
  const engine = new Engine();
  let spec;
  try {
    ({ spec } = await engine.ask("open", { bytes, name }, [bytes]));
  } catch (error) {
    engine.close();
    throw error;
  }
  current?.engine.close();
  current = { engine, spec };
  describe(spec, size);
  offer(spec);
  await Promise.all([...cards].map(present));
}

function tooLarge(name, size) {
  return new PageError(`load: ${name} has ${size} bytes; at most ${MAX_PROGRAM} are read; use a smaller network`);
}

/** The program beside the page, by its parts so that its progress is seen. */
async function fetchProgram(url) {
  const response = await fetch(url, { cache: "no-cache" });
  if (response.status === 404) return null;
  if (!response.ok) throw new PageError(`load: the server answers ${response.status} for ${url}; check its folder`);
  const expected = Number(response.headers.get("content-length")) || 0;
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done: ended, value } = await reader.read();
    if (ended) break;
    parts.push(value);
    size += value.length;
    if (size > MAX_PROGRAM) {
      await reader.cancel();
      throw tooLarge(url, size);
    }
    tell("loading", `Loading ${url}, ${megabytes(size)}${expected ? ` of ${megabytes(expected)}` : ""}`, size / expected);
  }
  return new Blob(parts).arrayBuffer();
}

const megabytes = (size) => `${(size / 1e6).toFixed(1)} MB`;

/** What is the matter with the program: `state` is loading, open, absent or failed. */
function tell(state, text, share = null) {
  find("program").dataset.state = state;
  find("program-says").textContent = text;
  find("program-says").hidden = text === "";
  find("facts").hidden = state !== "open";
  const progress = find("program-progress");
  progress.hidden = state !== "loading";
  if (share !== null && share <= 1) progress.value = share;
  else progress.removeAttribute("value");
}

function describe(spec, size) {
  const { width, height, channels } = spec.preprocessing;
  const facts = {
    Network: spec.model,
    Explanation: drawnMaps(spec).map((map) => `${map.method} at ${map.layer}`).join(", "),
    Input: `${width}×${height}${channels === 1 ? ", grey" : ""}`,
    Classes: String(spec.num_outputs),
    File: megabytes(size),
  };
  const list = find("facts");
  list.replaceChildren();
  for (const [name, value] of Object.entries(facts)) {
    const group = document.createElement("div");
    group.append(
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: onOneLine(value) })
    );
    list.append(group);
  }
  tell("open", "");
}

/** The maps and classes of a program, to choose from. */
function offer(spec) {
  const maps = drawnMaps(spec).map((map) => new Option(map.name.replaceAll("_", " "), map.name));
  find("map").replaceChildren(...maps);
  find("map-choice").hidden = maps.length < 2;
  find("scale-choice").hidden = spec.calibration === null;
  find("scale").value = "image";
  const names = spec.classes ?? [];
  const listed = names.length > LISTED_CLASSES ? [] : names;
  find("classes").replaceChildren(...listed.map((name) => new Option(onOneLine(name), name)));
}

async function openFile(file) {
  const name = onOneLine(file.name);
  const before = find("program").dataset.state;
  try {
    if (file.size > MAX_PROGRAM) throw tooLarge(name, file.size);
    tell("loading", `Opening ${name} …`);
    await open(await file.arrayBuffer(), name);
  } catch (error) {
    complain(error);
    if (current !== null) tell("open", "");
    else tell(before, ABSENT);
  }
}

const ABSENT =
  "There is no program yet. Make one with “saccade compile torchvision/squeezenet1_0 -o examples/browser/program.onnx” " +
  "and reload this page, or drop a program’s .onnx file here.";

async function openBeside(url) {
  try {
    tell("loading", `Loading ${url} …`);
    const bytes = await fetchProgram(url);
    if (current !== null) return; // a person was faster
    if (bytes === null) {
      tell("absent", ABSENT);
      return;
    }
    tell("loading", `Opening ${url} …`);
    await open(bytes, url);
  } catch (error) {
    if (current !== null) return;
    tell("failed", error instanceof PageError ? error.message : `load: ${onOneLine(error.message)}; is the server there?`);
  }
}

// ---- photos -----------------------------------------------------------------------------------------------------

/** Files that were dropped, chosen or pasted: programs are opened, everything else is taken for a photo. */
function take(files) {
  const list = [...files];
  const program = list.find((file) => /\.(onnx|ts|pt2)$/i.test(file.name));
  if (program !== undefined) openFile(program);
  const photos = list.filter((file) => !/\.(onnx|ts|pt2)$/i.test(file.name));
  const room = MAX_PHOTOS - cards.size;
  if (photos.length > room) {
    complain(new PageError(`page: ${MAX_PHOTOS} photos are shown at once, ${photos.length - room} were left out; clear some`));
  }
  for (const file of photos.slice(0, room)) {
    const card = new Card(file, look, remove);
    cards.add(card);
    find("photos").append(card.element);
    watcher.observe(card.element);
    if (current !== null) present(card);
  }
  count();
}

/** Have a photo looked at. One that cannot be read leaves a message in place of its card. */
async function present(card) {
  const { engine, spec } = current;
  card.seen = false;
  try {
    await card.show(engine, spec);
    card.seen = true;
    redraw(card);
  } catch (error) {
    if (engine !== current.engine || !cards.has(card)) return;
    complain(error);
    remove(card);
  }
  count();
}

function remove(card) {
  cards.delete(card);
  watcher.unobserve(card.element);
  card.element.remove();
  current?.engine.ask("forget", { keys: [card.key] }).catch(() => {});
  count();
}

function count() {
  const done = [...cards].filter((card) => card.seen).length;
  const all = done === cards.size;
  find("progress").textContent = all ? `${done} photo${done === 1 ? "" : "s"}` : `${done} of ${cards.size} photos`;
  find("controls").hidden = cards.size === 0;
  document.body.classList.toggle("some", cards.size > 0);
}

// ---- how maps are drawn -----------------------------------------------------------------------------------------

function look() {
  return {
    map: find("map").value,
    scale: find("scale").value,
    colormap: find("colormap").value,
    opacity: Number(find("opacity").value) / 100,
    threshold: Number(find("threshold").value) / 100,
  };
}

// Sliders move faster than sixty photos are drawn: those in sight, or nearly, are drawn at once, the others when they
// come near.
const stale = new Set();
const inSight = new Set();
let asked = 0;
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inSight.add(target);
    else inSight.delete(target);
  }
  asked ||= requestAnimationFrame(drawStale);
}, { rootMargin: "100% 0px" });

function redraw(...those) {
  for (const card of those) stale.add(card);
  asked ||= requestAnimationFrame(drawStale);
}

function drawStale() {
  asked = 0;
  for (const card of stale) {
    if (!cards.has(card)) stale.delete(card);
    else if (inSight.has(card.element) && card.seen) {
      stale.delete(card);
      card.draw();
    }
  }
}

function controlled() {
  const { colormap, opacity, threshold } = look();
  find("opacity").nextElementSibling.textContent = percent(opacity);
  find("threshold").nextElementSibling.textContent = percent(threshold);
  const ramp = new ImageData(256, 1);
  for (let i = 0; i < 256; ++i) ramp.data.set([...COLORMAPS[colormap].subarray(i * 3, i * 3 + 3), 255], i * 4);
  find("ramp").getContext("2d").putImageData(ramp, 0, 0);
  redraw(...cards);
}

find("colormap").replaceChildren(...Object.keys(COLORMAPS).map((name) => new Option(name)));
find("colormap").value = "turbo";
find("controls").addEventListener("input", controlled);
find("clear").onclick = () => {
  for (const card of [...cards]) remove(card);
  find("photo-files").focus();
};
for (const id of ["photo-files", "program-file"]) {
  find(id).onchange = (event) => {
    const chosen = [...event.target.files];
    event.target.value = ""; // so that the same file may be chosen again
    if (id === "photo-files") take(chosen);
    else if (chosen.length > 0) openFile(chosen[0]);
  };
}
let depth = 0; // dragging over a child leaves its parent
const over = (change) => {
  depth = Math.max(0, depth + change);
  document.body.classList.toggle("over", depth > 0);
};
addEventListener("dragenter", () => over(1));
addEventListener("dragleave", () => over(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over(-depth);
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length > 0) take(event.clipboardData.files);
});
controlled();
openBeside("program.onnx");
