// The blocks of bytes behind the table and the maps.

/** A block's bytes: base64, zlib's deflate. Its text is let go of. */
async function inflate(id) {
  const element = byId(id);
  const text = atob(element.textContent);
  element.remove();
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What is known of the images: `rows` of them, each by its index in the table; see `indexOf` for evidence rows. */
const store = { rows: 0, columns: [], names: [], places: [], views: [], maps: null, fine: null, numbers: null };
const cells = new Map(data.pictured.map((row, cell) => [row, cell]));

async function unpack() {
  const about = data.table;
  const [block, maps, fine] = await Promise.all(["table-data", "maps", "fine"].map(inflate));
  const texts = ({ at, size }) => JSON.parse(new TextDecoder().decode(block.subarray(at, at + size)));
  const floats = (part) => readFloats(block, part, about.rows);
  Object.assign(store, { rows: about.rows, maps, fine, names: texts(about.names), places: texts(about.places) });
  store.views = about.views.map(floats);
  store.numbers = about.numbers && floats(about.numbers);
  store.columns = about.columns.map((column) =>
    column.values ? categoryColumn(column, block, about.rows) : numberColumn(column, floats(column)),
  );
}

/** Numbers in planes, all first bytes before all second ones: the upper three of a float32, or a float64. */
function readFloats(block, { coding, at }, count) {
  const size = coding === "f3" ? 3 : 8;
  const whole = coding === "f3" ? 4 : 8;
  const bytes = new Uint8Array(count * whole);
  for (let plane = 0; plane < size; plane++) {
    const from = at + plane * count;
    for (let i = 0, to = plane + whole - size; i < count; i++, to += whole) bytes[to] = block[from + i];
  }
  return coding === "f3" ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
}

function numberColumn(about, numbers) {
  return { ...about, number: true, sortKey: () => numbers, text: (i) => written(numbers[i], about.format) };
}

function categoryColumn(about, block, count) {
  const kinds = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
  const kind = kinds[about.coding];
  const codes = new kind(block.slice(about.at, about.at + count * kind.BYTES_PER_ELEMENT).buffer);
  const text = (i) => (codes[i] ? about.values[codes[i] - 1] : "–");
  return { ...about, number: false, codes, text, sortKey: () => codes.length && textRanks(about.values, codes) };
}

/** Numbers that sort as the texts of codes do; NaN for those without one. */
function textRanks(values, codes) {
  const order = values.map((_, i) => i).sort((a, b) => compareTexts(values[a], values[b]));
  const ranks = new Float32Array(values.length + 1).fill(NaN);
  order.forEach((value, rank) => (ranks[value + 1] = rank));
  return Float32Array.from(codes, (code) => ranks[code]);
}

const compareTexts = (a, b) => {
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y;
  return a < b ? -1 : a > b ? 1 : 0;
};

/** A row of the evidence as an index of the table, or -1: of very many images not all are in it. */
function indexOf(row) {
  if (!store.numbers) return row < store.rows ? row : -1;
  let [low, high] = [0, store.rows - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (store.numbers[middle] === row) return middle;
    if (store.numbers[middle] < row) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

const rowOf = (index) => (store.numbers ? store.numbers[index] : index);
const columnOf = (key) => store.columns.find((column) => column.key === key);

/** The map of an evidence row, the finer one where it is kept: {bytes, height, width}, or null. */
function mapOf(row) {
  const cell = data.fine ? cells.get(row) : undefined;
  const [[height, width], bytes, at] = cell === undefined ? [data.maps, store.maps, indexOf(row)] : [data.fine, store.fine, cell];
  if (!bytes || at < 0 || hasFailed(indexOf(row))) return null;
  const size = height * width;
  return { bytes: bytes.subarray(at * size, (at + 1) * size), height, width };
}

/** Whether an image could not be read or explained: not even its map's maximum is known, which of a blank map is 0. */
const hasFailed = (index) => Number.isNaN(columnOf("map max").sortKey()[index]);

/** Where a browser finds an image's file, or null: it may be in an archive. */
function fileOf(index) {
  const place = store.places[index];
  if (place === null) return null;
  const path = place.endsWith("/") ? place + store.names[index] : place;
  try {
    const parts = path.split("/").map(encodeURIComponent).join("/");
    return `file://${path.startsWith("/") ? "" : "/"}${parts.replace(/^([A-Za-z])%3A/, "$1:")}`;
  } catch {
    return null; // a name that is no text
  }
}
