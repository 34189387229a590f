/** What a person may read: one line with the place, what was expected, what came, what to do. */
export class PageError extends Error {}

/** A text of somebody else's on one short line: control characters could break it, length could flood the page. */
export function onOneLine(text) {
  return String(text).replace(/[\p{C}\p{Z}]+/gu, " ").trim().slice(0, 200);
}
