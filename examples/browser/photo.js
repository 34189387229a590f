// A file that somebody dropped, to an upright photo. The browser decodes it, but only once its own header says that it
// fits: a small file can claim any size.

import { PageError } from "./errors.js";

export const MAX_BYTES = 256 * 2 ** 20;
export const MAX_PIXELS = 2 ** 26; // a quarter of a gigabyte as RGBA

/**
 * Decode a photo, turned as its EXIF orientation says, its colours as they are in the file.
 *
 * @param {Blob} file
 * @param {string} name what errors call it
 * @returns {Promise<ImageBitmap>} the first frame; the caller closes it
 * @throws {PageError} no picture, too large, or damaged
 */
export async function decode(file, name) {
  if (file.size === 0) throw new PageError(`decode: ${name} is empty (0 bytes); copy it again`);
  if (file.size > MAX_BYTES) throw tooLarge(name, `${file.size} bytes; at most ${MAX_BYTES} are read`);
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new PageError(`decode: ${name} cannot be read; it may have been moved: drop it again`);
  }
  const size = headerSize(bytes, name);
  if (size === null || size.width < 1 || size.height < 1) throw damaged(name, bytes);
  if (size.width * size.height > MAX_PIXELS) {
    throw tooLarge(name, `${size.width}×${size.height} pixels; at most ${MAX_PIXELS} are decoded`);
  }
  try {
    // Pillow takes the numbers in the file for the colours, whatever profile goes with them; so must this.
    const how = { imageOrientation: "from-image", colorSpaceConversion: "none" };
    return await createImageBitmap(new Blob([bytes]), how);
  } catch {
    throw damaged(name, bytes);
  }
}

/** {width, height} that a file's header claims; null where it has none. What is not decoded by Python is not here. */
export function headerSize(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begins = (text, at = 0) => [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
  try {
    if (begins("\xff\xd8\xff")) return jpegSize(view);
    if (begins("\x89PNG\r\n\x1a\n")) return { width: view.getUint32(16), height: view.getUint32(20) };
    if (begins("GIF87a") || begins("GIF89a")) {
      return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
    }
    if (begins("RIFF") && begins("WEBP", 8)) return webpSize(view, begins);
    if (begins("BM")) {
      if (view.getUint32(14, true) === 12) return { width: view.getUint16(18, true), height: view.getUint16(20, true) };
      return { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
    }
  } catch (error) {
    if (error instanceof RangeError) return null; // cut within its header
    throw error;
  }
  throw new PageError(`decode: ${name} is not a JPEG, PNG, WebP, BMP or GIF picture; convert it, or leave it out`);
}

/** The frame header (SOF) comes after any number of other segments. */
function jpegSize(view) {
  let at = 2;
  for (;;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // fill bytes
      continue;
    }
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += 2 + Math.max(view.getUint16(at + 2), 2);
  }
}

function webpSize(view, begins) {
  if (begins("VP8X", 12)) {
    const three = (at) => view.getUint16(at, true) + view.getUint8(at + 2) * 65536 + 1;
    return { width: three(24), height: three(27) };
  }
  if (begins("VP8L", 12)) {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

function damaged(name, bytes) {
  return new PageError(`decode: ${name} is damaged, or truncated (${bytes.length} bytes); copy it again`);
}

function tooLarge(name, what) {
  return new PageError(`decode: ${name} is too large (${what}); make it smaller`);
}

/** The pixels of a picture, uint8 [height, width, 4], scaled by the browser where another size is asked for. */
export function pixelsOf(bitmap, width = bitmap.width, height = bitmap.height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}
