// The worker as seen from the page: a question, a promise of its answer.

import { PageError } from "./errors.js";

export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #last = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, answer, error } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new PageError(error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const hint = "is onnxruntime-web beside this page (npm ci)? Then reload it";
      this.#end(new PageError(`load: the page's worker failed (${event.message ?? "a script is missing"}); ${hint}`));
    };
  }

  /**
   * @param {string} task see worker.js
   * @param {object} given
   * @returns {Promise<object>} rejected with a `PageError`
   */
  ask(task, given, transfer = []) {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, ...given }, transfer);
    });
  }

  /** End the worker; its memory, which WebAssembly never gives back, goes with it. */
  close() {
    this.#worker.terminate();
    this.#end(new PageError("run: another program was opened"));
  }

  #end(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
