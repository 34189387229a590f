// Everything that takes time, away from the page: opening the program, decoding, preparing, running.

import { PageError, onOneLine } from "./errors.js";
import { decode, pixelsOf } from "./photo.js";
import { prepare } from "./prepare.js";
import { Runner } from "./runner.js";

const SHOWN = 768; // pixels of the longer side of what is drawn on

let runner = null;
const inputs = new Map(); // photo's key -> what the network saw, for when another class is asked about

const tasks = {
  async open({ bytes, name }) {
    runner = await Runner.open(new Uint8Array(bytes), name);
    return { spec: runner.spec };
  },

  /** Decode and prepare a photo, and explain it. The photo comes back as pixels at the size at which it is shown. */
  async look({ key, file, name, target }) {
    const bitmap = await decode(file, name);
    try {
      const { width, height } = bitmap;
      const { pixels, view } = prepare(pixelsOf(bitmap), width, height, runner.spec.preprocessing);
      inputs.set(key, pixels);
      const scale = Math.min(1, SHOWN / Math.max(width, height));
      const shown = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
      const photo = { ...shown, data: pixelsOf(bitmap, shown.width, shown.height) };
      return { size: { width, height }, view, photo, ...(await explained(pixels, target)) };
    } finally {
      bitmap.close();
    }
  },

  /** Explain another class of a photo that has been looked at. */
  async explain({ key, target }) {
    return explained(inputs.get(key), target);
  },

  async forget({ keys }) {
    for (const key of keys) inputs.delete(key);
  },
};

async function explained(pixels, target) {
  const start = performance.now();
  return { ...(await runner.run(pixels, target)), milliseconds: performance.now() - start };
}

// One after the other: a session runs one picture at a time, and photos in the order in which they were dropped.
let last = Promise.resolve();
self.onmessage = ({ data: { id, task, ...given } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, answer: await tasks[task](given) });
    } catch (error) {
      const what = error instanceof PageError ? error.message : `${task}: ${onOneLine(error?.message ?? error)}; reload the page`;
      self.postMessage({ id, error: what });
    }
  });
};
