// What the rest is made of. Everything from the data becomes a text node or an attribute's value, never markup.
const data = JSON.parse(document.getElementById("findings").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes (`on…` are listeners, null and false are left out) and children: nodes, or texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const SHAPES = {
  shortcut: ["M7.5 1.5h9l6 6v9l-6 6h-9l-6-6v-9z", "M12 6.5V14M12 17.4v.2"],
  suspect: ["M12 .5v23L.5 12z", "M12 2L22 12L12 22L2 12z"], // half of it is there: seen, not shown
  clear: ["M12 1.5a10.5 10.5 0 1 0 0 21a10.5 10.5 0 1 0 0-21z", "M7.2 12.4l3.3 3.3 6.3-7"],
};

/** A verdict's sign: its shape says it without its colour. */
function glyph(verdict, label = "") {
  const drawn = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
  const svg = drawn("svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `glyph ${verdict}`);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  SHAPES[verdict].forEach((line, i) => {
    const path = drawn("path");
    path.setAttribute("d", line);
    path.setAttribute("class", i ? "sign" : "plate");
    svg.append(path);
  });
  return svg;
}

const badge = (verdict) => make("span", { class: `badge ${verdict}` }, glyph(verdict), verdict);

/** A text that may be broken where names have their joints. */
const breakable = (text) => text.split(/(?<=[./:_-])/).flatMap((part) => [part, make("wbr")]);

const THIN = "\u202f";
const many = (count, one, more = `${one}s`) => `${whole(count)} ${count === 1 ? one : more}`;
const whole = (value) => Math.round(value).toLocaleString("en").replaceAll(",", THIN);

/** A share 0..1 in percent; one that is not quite none or all does not read as if it were. */
function percent(share) {
  if (share > 0 && share < 0.005) return `<1${THIN}%`;
  if (share >= 0.995 && share < 1) return `>99${THIN}%`;
  return `${Math.round(share * 100)}${THIN}%`.replace("-", "−");
}

function plain(value) {
  const size = Math.abs(value);
  if (size >= 1000) return whole(value).replace("-", "−");
  if (size > 0 && size < 0.001) return value.toExponential(1).replace("e-", " × 10^−").replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

const WRITTEN = {
  share: percent,
  count: whole,
  number: plain,
  p: (value) => (value < 0.001 ? "<0.001" : value.toFixed(3)),
};

/** A number as its kind is written; a dash for one that is unknown. */
function written(value, kind = "number") {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : WRITTEN[kind](value);
}

const signed = (value) => (value > 0 ? "+" : "") + plain(value);

/** Points at a sentence that is shown on hover, focus and tap. */
function explained(element, sentence) {
  if (!sentence) return element;
  element.dataset.tip = sentence;
  element.classList.add("explained");
  if (!element.matches("button, a, input, select, summary")) element.tabIndex = 0;
  return element;
}

function watchTips() {
  const box = byId("tip");
  let from = null;
  const show = (target) => {
    from = target;
    box.textContent = target.dataset.tip;
    box.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    const at = target.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left), document.documentElement.clientWidth - box.offsetWidth - 8);
    const above = at.top - box.offsetHeight - 8;
    box.style.left = `${left}px`;
    box.style.top = `${above > 60 ? above : at.bottom + 8}px`;
  };
  const hide = () => {
    if (from) from.removeAttribute("aria-describedby");
    from = null;
    box.hidden = true;
  };
  const over = (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target);
    else if (from) hide();
  };
  for (const kind of ["mouseover", "focusin", "click"]) document.addEventListener(kind, over);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
