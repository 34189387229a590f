// From an upright photo to the network's input, in the bytes that Pillow gives: a browser's own scaling is not
// antialiased in the same way, and the network was trained behind Pillow's. See engine/decode/framing.py and
// engine/render/reference.py.

const FILTER_BITS = 22;

/**
 * Where the network's input lies in a photo: the size of the scaled photo, and where the crop begins in it (negative
 * where the crop is larger and zeros pad it).
 */
export function frame(width, height, p) {
  if (p.resize === "stretch") return { width: p.width, height: p.height, left: 0, top: 0 };
  const scaled =
    width <= height
      ? { width: p.shorter, height: Math.floor((p.shorter * height) / width) }
      : { width: Math.floor((p.shorter * width) / height), height: p.shorter };
  return { ...scaled, left: offset(scaled.width, p.width), top: offset(scaled.height, p.height) };
}

function offset(scaled, crop) {
  return crop > scaled ? -Math.floor((crop - scaled) / 2) : roundHalfToEven((scaled - crop) / 2);
}

function roundHalfToEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

/** {left, top, right, bottom}: what the crop shows, in pixels of the upright photo; beyond it where it is padded. */
export function viewOf(width, height, framing, p) {
  const x = width / framing.width;
  const y = height / framing.height;
  return {
    left: framing.left * x,
    top: framing.top * y,
    right: (framing.left + p.width) * x,
    bottom: (framing.top + p.height) * y,
  };
}

/**
 * A photo as the network sees it.
 *
 * @param {Uint8ClampedArray} rgba [height, width, 4] of the upright photo; alpha is dropped
 * @param {object} p the contract's preprocessing
 * @returns {{pixels: Uint8Array, view: object}} [H, W, C], and what it shows of the photo (see `viewOf`)
 */
export function prepare(rgba, width, height, p) {
  const framing = frame(width, height, p);
  const source = p.channels === 1 ? luma(rgba) : { data: rgba, stride: 4 };
  const left = Math.max(framing.left, 0);
  const top = Math.max(framing.top, 0);
  const across = { all: framing.width, from: left, to: Math.min(framing.left + p.width, framing.width) };
  const down = { all: framing.height, from: top, to: Math.min(framing.top + p.height, framing.height) };
  const image = resize(source, width, height, p.channels, across, down, p.interpolation);
  const pixels = new Uint8Array(p.height * p.width * p.channels);
  const bytes = (across.to - across.from) * p.channels;
  for (let y = down.from; y < down.to; ++y) {
    const row = image.subarray((y - down.from) * bytes, (y - down.from + 1) * bytes);
    pixels.set(row, ((y - framing.top) * p.width + left - framing.left) * p.channels);
  }
  return { pixels, view: viewOf(width, height, framing, p) };
}

/** Grey as Pillow's mode L: ITU-R 601 luma in 16 bits of fraction. */
function luma(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0, at = 0; i < grey.length; ++i, at += 4) {
    grey[i] = (rgba[at] * 19595 + rgba[at + 1] * 38470 + rgba[at + 2] * 7471 + 0x8000) >> 16;
  }
  return { data: grey, stride: 1 };
}

/**
 * Antialiased scaling, one axis after the other with bytes in between, of the part of the result that is wanted.
 *
 * @param {{data: ArrayLike<number>, stride: number}} source [height, width, stride] of which `channels` are used
 * @param {{all: number, from: number, to: number}} across the scaled picture's width, and the columns that are wanted
 * @param {{all: number, from: number, to: number}} down the same of height and rows
 * @param {"bilinear" | "bicubic"} filter
 * @returns {Uint8Array} [rows wanted, columns wanted, channels]
 */
export function resize(source, width, height, channels, across, down, filter) {
  const columns = kernel(width, across, filter);
  const rows = kernel(height, down, filter);
  const [wide, high] = [across.to - across.from, down.to - down.from];
  const whole = { data: source.data, height, width, stride: source.stride };
  // Pillow begins with the axis that leaves fewer pixels in between; bytes are rounded there, so the order is seen.
  if (height - down.all > Math.max(0, 2 * (width - across.all))) {
    const short = { data: filterDown(whole, rows, high, channels), height: high, width, stride: channels };
    return filterAcross(short, columns, wide, channels, 0, high);
  }
  // Only those source rows that a wanted row is made of.
  const first = rows.start[0];
  const last = rows.start[high - 1] + rows.count[high - 1];
  const data = filterAcross(whole, columns, wide, channels, first, last);
  for (let i = 0; i < high; ++i) rows.start[i] -= first;
  return filterDown({ data, height: last - first, width: wide, stride: channels }, rows, high, channels);
}

/** For each wanted output the first source element, how many there are, and their weights in units of 2^-22. */
function kernel(source, { all, from, to }, filter) {
  const count = to - from;
  const scale = source / all;
  const stretch = Math.max(scale, 1); // shrinking widens the filter: that is the antialiasing
  const support = (filter === "bicubic" ? 2 : 1) * stretch;
  const weight = filter === "bicubic" ? cubic : triangle;
  const longest = Math.ceil(support) * 2 + 1;
  const made = { start: new Int32Array(count), count: new Int32Array(count), weights: [] };
  const exact = new Float64Array(longest);
  for (let i = 0; i < count; ++i) {
    const weights = new Int32Array(longest);
    made.weights.push(weights);
    if (source === all) {
      // An axis that stays as it is goes through unfiltered: each element is itself.
      [made.start[i], made.count[i], weights[0]] = [from + i, 1, 1 << FILTER_BITS];
      continue;
    }
    const centre = (from + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(source, Math.trunc(centre + support + 0.5));
    let sum = 0;
    for (let j = start; j < end; ++j) sum += exact[j - start] = weight((j - centre + 0.5) * (1 / stretch));
    for (let j = start; j < end; ++j) {
      const unit = (sum === 0 ? exact[j - start] : exact[j - start] / sum) * 2 ** FILTER_BITS;
      weights[j - start] = Math.trunc(unit + (unit < 0 ? -0.5 : 0.5));
    }
    [made.start[i], made.count[i]] = [start, end - start];
  }
  return made;
}

function triangle(x) {
  return Math.max(0, 1 - Math.abs(x));
}

/** Keys' cubic convolution with a = -1/2. */
function cubic(at) {
  const x = Math.abs(at);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

function toByte(sum) {
  const value = (sum + (1 << (FILTER_BITS - 1))) >> FILTER_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Rows `first` to `last` of an image, filtered to `wide` columns. */
function filterAcross(image, columns, wide, channels, first, last) {
  const out = new Uint8Array((last - first) * wide * channels);
  let to = 0;
  for (let y = first; y < last; ++y) {
    const row = y * image.width * image.stride;
    for (let x = 0; x < wide; ++x) {
      const weights = columns.weights[x];
      const count = columns.count[x];
      for (let c = 0; c < channels; ++c) {
        let sum = 0;
        let at = row + columns.start[x] * image.stride + c;
        for (let k = 0; k < count; ++k, at += image.stride) sum += weights[k] * image.data[at];
        out[to++] = toByte(sum);
      }
    }
  }
  return out;
}

/** An image filtered to `high` rows; its columns and channels stay, whatever lay between them goes. */
function filterDown(image, rows, high, channels) {
  const out = new Uint8Array(high * image.width * channels);
  const step = image.width * image.stride;
  let to = 0;
  for (let y = 0; y < high; ++y) {
    const weights = rows.weights[y];
    const count = rows.count[y];
    for (let x = 0; x < image.width; ++x) {
      for (let c = 0; c < channels; ++c) {
        let sum = 0;
        let at = rows.start[y] * step + x * image.stride + c;
        for (let k = 0; k < count; ++k, at += step) sum += weights[k] * image.data[at];
        out[to++] = toByte(sum);
      }
    }
  }
  return out;
}
