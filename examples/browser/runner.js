// A program in onnxruntime-web: bytes in, logits and maps out.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";

import { readContract } from "./contract.js";
import { PageError, onOneLine } from "./errors.js";

// Its WebAssembly lies beside it. More than one thread is used where the server sends the two headers that browsers ask
// for (Cross-Origin-Opener-Policy, Cross-Origin-Embedder-Policy).
ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.logLevel = "error";

export class Runner {
  /** @type {object} the program's contract */
  spec;
  #session;

  constructor(spec, session) {
    this.spec = spec;
    this.#session = session;
  }

  /**
   * Open a program.
   *
   * @param {Uint8Array} bytes the .onnx file; it is copied
   * @param {string} name what errors call it
   * @throws {PageError} see `readContract`; or ONNX Runtime refuses it
   */
  static async open(bytes, name) {
    const spec = await readContract(bytes, name);
    let session;
    try {
      session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new PageError(`load: ONNX Runtime refuses ${name}: ${onOneLine(error?.message ?? error)}; compile it again`);
    }
    const missing =
      ["images", "target"].find((wanted) => !session.inputNames.includes(wanted)) ??
      ["logits", ...spec.maps.map((map) => map.name)].find((wanted) => !session.outputNames.includes(wanted));
    if (missing !== undefined || session.inputNames.length !== 2) {
      const what = missing === undefined ? "more than the inputs images and target" : `no “${onOneLine(missing)}”`;
      throw new PageError(`load: the graph of ${name} has ${what}, unlike its contract; compile it again`);
    }
    return new Runner(spec, session);
  }

  /**
   * Explain one picture.
   *
   * @param {Uint8Array} pixels [H, W, C], as the contract's preprocessing gives them
   * @param {number} target the class to explain; -1 the predicted one. A top-k program's other places stay -1
   * @returns {Promise<{logits: Float32Array, maps: Object<string, Float32Array>}>} [K], and by name [h, w]
   */
  async run(pixels, target = -1) {
    const { preprocessing: p, target_count: k, num_outputs: outputs, maps } = this.spec;
    const goals = new BigInt64Array(k).fill(-1n);
    goals[0] = BigInt(target);
    const feeds = {
      images: new ort.Tensor("uint8", pixels, [1, p.height, p.width, p.channels]),
      target: new ort.Tensor("int64", goals, k > 1 ? [1, k] : [1]),
    };
    const wanted = maps.filter((map) => map.kind !== "activations");
    let results;
    try {
      results = await this.#session.run(feeds, ["logits", ...wanted.map((map) => map.name)]);
    } catch (error) {
      throw new PageError(`run: ONNX Runtime failed: ${onOneLine(error?.message ?? error)}; reload the page`);
    }
    const values = (name, shape) => {
      const tensor = results[name];
      if (tensor.type !== "float32" || String(tensor.dims) !== String([1, ...shape])) {
        throw new PageError(
          `run: ${name} came as ${tensor.type} [${tensor.dims}]; the contract says float32 [1,${shape}]; compile it again`
        );
      }
      return Float32Array.from(tensor.data); // its own copy: the runtime's memory is used again
    };
    const answer = { logits: values("logits", [outputs]), maps: {} };
    for (const map of wanted) answer.maps[map.name] = values(map.name, map.shape);
    for (const tensor of Object.values(results)) tensor.dispose();
    return answer;
  }

  /** Give the runtime's memory back. */
  async close() {
    await this.#session.release();
  }
}
