// The contract of a program file, read as engine/contract/program_file.py reads it: a .onnx file is a protobuf message,
// and the contract is JSON in one of its outermost fields. Nothing else of the file is parsed here, and every length is
// held to the file's own before anything is taken from it.

import { PageError, onOneLine } from "./errors.js";

const SCHEMA = 3;
const KEY = "saccade";
const MAX_CONTRACT = 16 * 2 ** 20;
const MAX_FIELDS = 100_000;
const MAX_SIDE = 16384;
const METADATA_PROPS = 14; // the number of ModelProto's field, of onnx.proto
const DRAWN = ["cam", "gradient", "signed"];

/**
 * The contract of a program that this page can run.
 *
 * @param {Uint8Array} bytes the whole .onnx file
 * @param {string} name what errors call it
 * @returns {Promise<object>} the contract as in docs/program-file.md
 * @throws {PageError} no program, cut, changed, of another schema, or one that explains no classes
 */
export async function readContract(bytes, name) {
  const { text, whole } = findContract(bytes, name);
  let json, spec;
  try {
    json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text);
    spec = JSON.parse(json);
  } catch (error) {
    throw new PageError(`load: the contract of ${name} is not JSON (${onOneLine(error.message)}); compile it again`);
  }
  if (spec?.schema !== SCHEMA) {
    const found = onOneLine(JSON.stringify(spec?.schema)).slice(0, 20);
    throw new PageError(
      `load: the contract of ${name} has schema ${found}, this page reads schema ${SCHEMA}; compile the program again`
    );
  }
  if (!(await isWhole(bytes, whole, json, spec.hash))) {
    throw new PageError(
      `load: ${name} is damaged or was changed: its bytes no longer have the hash in its contract; copy or compile it again`
    );
  }
  check(spec, name);
  return spec;
}

/** The contract's bytes, and where in the file its field begins and ends. */
function findContract(bytes, name) {
  if (bytes.length === 0) throw new PageError(`load: ${name} is empty (0 bytes); compile the program again`);
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) {
    throw new PageError(
      `load: ${name} is an archive (.ts or .pt2), which only torch runs; compile the program with --to onnx`
    );
  }
  let found = null;
  for (const { number, start, payload, end } of fields(bytes, name, MAX_FIELDS)) {
    if (number < 1 || number > 64) throw noProgram(name);
    if (number !== METADATA_PROPS) continue;
    if (end - payload > MAX_CONTRACT) {
      throw new PageError(
        `load: ${name} has ${end - payload} bytes of metadata; expected at most ${MAX_CONTRACT}; compile it again`
      );
    }
    const entry = bytes.subarray(payload, end);
    const parts = {};
    for (const field of fields(entry, name, 16)) parts[field.number] = entry.subarray(field.payload, field.end);
    if (parts[1] === undefined || new TextDecoder().decode(parts[1]) !== KEY) continue;
    if (found !== null) throw new PageError(`load: ${name} has two contracts; compile the program again`);
    found = { text: parts[2] ?? new Uint8Array(0), whole: [start, end] };
  }
  if (found === null) {
    throw new PageError(
      `load: ${name} carries no saccade contract; it is a model, not a program, or not a whole file; ` +
        "make one with: saccade compile"
    );
  }
  return found;
}

/** The outermost fields of a protobuf message, at most `most`: number, where it starts, its payload and its end. */
function* fields(bytes, name, most) {
  let at = 0;
  let count = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      if (at >= bytes.length) throw new PageError(`load: ${name} is cut short after ${at} bytes; copy it again`);
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift; // beyond 2^53 not exact, and beyond every file's end
      if (byte < 0x80) return value;
    }
    throw noProgram(name);
  };
  while (at < bytes.length) {
    const start = at;
    if (++count > most) throw noProgram(name);
    const tag = varint();
    const wire = tag % 8;
    let payload = at;
    if (wire === 0) {
      varint();
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4;
    } else if (wire === 2) {
      const length = varint();
      payload = at;
      at += length;
    } else {
      throw noProgram(name);
    }
    if (at > bytes.length) {
      throw new PageError(`load: ${name} is cut short (a field ends at byte ${at} of ${bytes.length}); copy it again`);
    }
    yield { number: Math.floor(tag / 8), start, payload, end: at };
  }
}

function noProgram(name) {
  return new PageError(`load: ${name} is no ONNX file; expected one made by saccade compile`);
}

/** Whether the two hashes hold: over all bytes around the contract's field, and over the contract with an empty hash. */
async function isWhole(bytes, [start, end], json, hash) {
  if (!/^sha256:[0-9a-f]{128}$/.test(hash)) return false;
  // Browsers hash only where the page came over https or from this computer. It shows damage, not origin, so a page
  // from elsewhere goes without; a damaged graph is then ONNX Runtime's to refuse.
  if (!globalThis.crypto?.subtle) return true;
  const around = new Uint8Array(bytes.length - (end - start));
  around.set(bytes.subarray(0, start));
  around.set(bytes.subarray(end), start);
  const blank = new TextEncoder().encode(json.replace(`"hash": "${hash}"`, '"hash": ""'));
  return hash === `sha256:${await sha256(around)}${await sha256(blank)}`;
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** See that what this page relies on has its type and range, and that the program explains classes. */
function check(spec, name) {
  const need = (holds, what) => {
    if (!holds) throw new PageError(`load: the contract of ${name} is damaged (${what}); compile the program again`);
  };
  const size = (value, most) => Number.isInteger(value) && value >= 1 && value <= most;
  const text = (value) => typeof value === "string" && value.length <= 1000;
  const listed = (value, holds) => Array.isArray(value) && value.every(holds);

  need(text(spec.model), "model must be a name");
  const p = spec.preprocessing ?? {};
  need(size(p.height, MAX_SIDE) && size(p.width, MAX_SIDE), `input size must be 1 to ${MAX_SIDE}`);
  need(p.channels === 1 || p.channels === 3, "channels must be 1 or 3");
  need(p.resize === "crop" || p.resize === "stretch", "resize must be crop or stretch");
  need(p.resize === "crop" ? size(p.shorter, MAX_SIDE) : p.shorter === null, "shorter must go with resize=crop");
  need(p.interpolation === "bilinear" || p.interpolation === "bicubic", "interpolation must be bilinear or bicubic");
  need(Array.isArray(spec.maps) && size(spec.maps.length, 64), "maps must have 1 to 64 entries");
  need(size(spec.num_outputs, 2 ** 24), "num_outputs must be 1 to 2^24");
  need(size(spec.target_count, 64) && spec.target_count <= spec.num_outputs, "target_count must be 1 to 64");
  for (const map of spec.maps) {
    need(text(map?.name) && text(map.method) && text(map.layer), "a map's name, method and layer must be names");
    need(/^[A-Za-z_]\w*$/.test(map.name) && !["logits", "features"].includes(map.name), "a map's name");
    need(size(map.rank, spec.target_count), "a map's rank must be 1 to target_count");
    need(listed(map.shape, (n) => size(n, 65536)) && map.shape.reduce((a, n) => a * n, 1) <= 2 ** 28, "a map's shape");
    need(!DRAWN.includes(map.kind) || map.shape.length === 2, "a map's shape must be height and width");
  }
  need(new Set(spec.maps.map((map) => map.name)).size === spec.maps.length, "map names must differ");
  need(typeof spec.softmax === "boolean", "softmax must be true or false");
  const names = spec.classes;
  need(names === null || (listed(names, text) && names.length === spec.num_outputs), "classes must be num_outputs names");
  for (const limits of Object.values(spec.calibration ?? {})) {
    need(listed(limits, Number.isFinite) && limits.length === 2 && limits[0] < limits[1], "calibration must be low < high");
  }

  const asks = (what) => new PageError(`load: ${name} ${what}; this page runs programs that explain a class`);
  if (spec.pixels !== "uint8") throw asks("changes pictures (method ascent)");
  if (spec.target !== "class" || spec.output_size !== null) throw asks(`has the target “${onOneLine(spec.target)}”`);
  if (drawnMaps(spec).length === 0) throw asks("has no map that is drawn over a photo");
}

/** The maps that are drawn over a photo, in the contract's order. */
export function drawnMaps(spec) {
  return spec.maps.filter((map) => DRAWN.includes(map.kind));
}

/** The name of class `index`, or `class 17` where the program carries no names. */
export function className(spec, index) {
  return spec.classes?.[index] ?? `class ${index}`;
}
