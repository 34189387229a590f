// Maps to pixels, in the same single float32 operations as engine/render/reference.py: the pictures are the same.

const f32 = Math.fround;
const F32_MAX = f32(3.4028234663852886e38);
const GRADIENT_PERCENTILE = 99;

/**
 * The limits between which a map is shown. Low is 0, so a map without positive evidence stays blank; the high of
 * gradients and signed maps is their 99th percentile, of CAMs their maximum.
 *
 * @param {Float32Array} values
 * @param {"cam" | "gradient" | "signed"} kind
 * @returns {[number, number]}
 */
export function displayRange(values, kind) {
  const finite = Float64Array.from(values.filter(Number.isFinite)).sort();
  if (finite.length === 0) return [0, 0];
  const most = finite[finite.length - 1];
  const high = kind === "cam" ? most : f32(percentile(finite, GRADIENT_PERCENTILE));
  return [0, Math.max(high > 0 ? high : most, 0)];
}

/** Linear between the two nearest of sorted values, as numpy.percentile. */
function percentile(sorted, percent) {
  const at = (percent / 100) * (sorted.length - 1);
  const first = Math.floor(at);
  const [low, high] = [sorted[first], sorted[Math.min(first + 1, sorted.length - 1)]];
  const weight = at - first;
  return weight < 0.5 ? low + (high - low) * weight : high - (high - low) * (1 - weight);
}

/** Where values lie on a range: 0 at low, 255 at high; 0 everywhere on a range that is empty. */
function levels(values, low, high) {
  const span = f32(high - low);
  // A power of two, so that nothing is rounded: neither the span nor 255 / span may overflow.
  const pre = span > F32_MAX ? 0.5 : span < f32(1e-30) ? 2 ** 100 : 1;
  const floor = f32(low * pre);
  const spread = f32(f32(high * pre) - floor);
  if (!(span > 0 && spread <= F32_MAX)) return new Float32Array(values.length);
  const gain = f32(255 / spread);
  return values.map((value) => f32(f32(f32(value * pre) - floor) * gain));
}

/** For each of `out` places the first of its two source elements, and the weight of the one after it. */
function taps(out, origin, extent, source) {
  const first = new Int32Array(out);
  const weight = new Float32Array(out);
  for (let i = 0; i < out; ++i) {
    const at = Math.min(Math.max(((i + 0.5 - origin) * source) / extent - 0.5, 0), source - 1);
    first[i] = Math.floor(at);
    weight[i] = at - first[i];
  }
  return { first, weight };
}

function mix(first, second, weight) {
  // Beside a NaN, an exact hit keeps its own value.
  return weight === 0 ? first : f32(f32(first * f32(1 - weight)) + f32(second * weight));
}

/**
 * A map as indices into a colormap: scaled to its range, sampled bilinearly with half-pixel centres, rounded.
 *
 * @param {Float32Array} values [h, w]
 * @param {[number, number]} shape (h, w)
 * @param {[number, number]} range (low, high), see `displayRange`
 * @param {number} width
 * @param {number} height of the result
 * @param {object} box {left, top, right, bottom}: where the map lies in the result, fractions and places beyond allowed
 * @returns {Uint8Array} [height, width]; NaN is 0
 */
export function indexMap(values, [h, w], range, width, height, box = { left: 0, top: 0, right: width, bottom: height }) {
  const scaled = levels(values, ...range);
  const x = taps(width, box.left, box.right - box.left, w);
  const y = taps(height, box.top, box.bottom - box.top, h);
  const wide = new Float32Array(h * width);
  for (let row = 0; row < h; ++row) {
    for (let i = 0; i < width; ++i) {
      const at = row * w + x.first[i];
      wide[row * width + i] = mix(scaled[at], scaled[x.first[i] + 1 < w ? at + 1 : at], x.weight[i]);
    }
  }
  const indices = new Uint8Array(height * width);
  for (let j = 0; j < height; ++j) {
    const upper = y.first[j] * width;
    const lower = Math.min(y.first[j] + 1, h - 1) * width;
    for (let i = 0; i < width; ++i) {
      const level = mix(wide[upper + i], wide[lower + i], y.weight[j]);
      if (level > 0) indices[j * width + i] = f32(Math.min(level, 255) + 0.5);
    }
  }
  return indices;
}

/** A threshold of 0 (all evidence above nothing) to 1 (the strongest alone) as the lowest index that passes. */
export function lowestIndex(threshold) {
  return Math.max(1, Math.round(threshold * 255));
}

/**
 * Where a map is at or above a threshold.
 *
 * @param {Uint8Array} indices [height, width]
 * @param {number} lowest see `lowestIndex`
 * @returns {{left: number, top: number, right: number, bottom: number, area: number} | null} the smallest box around
 *   it, right and bottom exclusive, and its share of the picture; null where there is none
 */
export function regionAbove(indices, width, height, lowest) {
  let [left, top, right, bottom, count] = [width, height, 0, 0, 0];
  for (let y = 0; y < height; ++y) {
    for (let x = 0; x < width; ++x) {
      if (indices[y * width + x] < lowest) continue;
      count += 1;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = y + 1;
    }
  }
  return count === 0 ? null : { left, top, right, bottom, area: count / (width * height) };
}

/** The pixels of a picture whose centres lie in a view of it, and the view as seen from their corner. */
export function seenPart(width, height, view) {
  const span = (start, end, size) => [start, end].map((at) => Math.min(Math.max(Math.ceil(at - 0.5), 0), size));
  const [left, right] = span(view.left, view.right, width);
  const [top, bottom] = span(view.top, view.bottom, height);
  const box = {
    left: view.left - left,
    top: view.top - top,
    right: view.right - left,
    bottom: view.bottom - top,
  };
  return { left, top, width: right - left, height: bottom - top, box };
}

/** A photo [height, width, 4] with everything outside of `part` grey and pale: the network did not see it. */
export function faded(photo, width, part) {
  const out = Uint8ClampedArray.from(photo);
  for (let at = 0; at < photo.length; at += 4) {
    const x = (at / 4) % width;
    const y = Math.floor(at / 4 / width);
    out[at + 3] = 255;
    if (x >= part.left && x < part.left + part.width && y >= part.top && y < part.top + part.height) continue;
    const luma = photo[at] * 299 + photo[at + 1] * 587 + photo[at + 2] * 114;
    out[at] = out[at + 1] = out[at + 2] = Math.floor((luma + 255_000) / 2000);
  }
  return out;
}

/**
 * A map in colour over the part of a picture that the network saw; below the threshold the photo stays as it is.
 *
 * @param {Uint8ClampedArray} picture [_, width, 4], changed in place
 * @param {number} width
 * @param {object} part see `seenPart`
 * @param {Uint8Array} indices [part.height, part.width]
 * @param {Uint8Array} colours [256, 3]
 * @param {number} opacity 0 (the photo alone) to 1 (the map alone)
 * @param {number} lowest the lowest index that is drawn; 0 for all, see `lowestIndex`
 */
export function blend(picture, width, part, indices, colours, opacity, lowest) {
  const steps = Math.round(opacity * 256);
  const added = Int32Array.from(colours, (level) => level * steps + 128);
  for (let y = 0, i = 0; y < part.height; ++y) {
    let at = ((part.top + y) * width + part.left) * 4;
    for (let x = 0; x < part.width; ++x, ++i, at += 4) {
      if (indices[i] < lowest) continue;
      const colour = indices[i] * 3;
      for (let c = 0; c < 3; ++c) picture[at + c] = (picture[at + c] * (256 - steps) + added[colour + c]) >> 8;
    }
  }
}

/** Probabilities of logits [K], in float64. */
export function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The places of the `count` largest values, from the largest; of equal ones the first. */
export function largest(values, count) {
  const places = Array.from(values.keys());
  places.sort((a, b) => values[b] - values[a] || a - b);
  return places.slice(0, count);
}
