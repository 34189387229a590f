// The verdict's facts, what limits it, and a card for each suspect.
const KINDS = {
  place: "the same place in every image",
  attribute: "of the whole image",
  column: "not in the pixels",
  outside: "outside of the object",
  strategy: "one of several ways to the class",
};
const MEANT = {
  shortcut: "The network uses it: changing it changes what the network says.",
  suspect: "It goes with the prediction, or the network looks there; that it is used was not shown.",
  clear: "It was tried, and the network hardly depends on it.",
};

function showFacts() {
  byId("kicker").prepend(glyph(data.verdict));
  const facts = [
    ["Images", data.failed ? `${whole(data.images)} (${whole(data.failed)} failed)` : whole(data.images)],
    ["Accuracy", written(data.accuracy, "share"), data.accuracy === null ? "There are no labels to hold it against." : ""],
    ["Classes predicted", whole(data.classes.length)],
    ["Associations looked at", whole(data.tried), "Every p value is corrected for so many."],
    ["Images changed and tried", whole(data.passes), "So many images went through the network for trials and controls."],
    ["Network", breakable(data.model)],
    ["Looked at with", breakable(`${data.method} at ${data.layer}`)],
    ["Run", breakable(data.run)],
  ];
  byId("facts").append(
    ...facts.map(([name, value, tip]) => make("div", {}, explained(make("dt", {}, name), tip), make("dd", {}, value))),
  );
  if (data.notes.length) {
    byId("notes").append(make("h2", {}, "What limits this audit"), make("ul", {}, data.notes.map((n) => make("li", {}, n))));
    byId("notes").hidden = false;
  }
  const total = Object.values(data.seconds).reduce((sum, s) => sum + (s ?? 0), 0);
  const parts = Object.entries(data.seconds).map(([part, s]) => `${part} ${written(s)}${THIN}s`);
  byId("footer").textContent = parts.length
    ? `The audit took ${plain(total)}${THIN}s: ${parts.join(", ")}.`
    : "";
}

function showSuspects() {
  const host = byId("cards");
  const open = data.suspects.filter((s) => s.verdict !== "clear");
  const clear = data.suspects.filter((s) => s.verdict === "clear");
  if (!data.suspects.length) {
    host.append(make("p", { class: "empty" }, "Nothing stood out among what was looked at, so nothing was tried."));
    return;
  }
  host.append(make("ul", { class: "legend" }, Object.entries(MEANT).map(([v, text]) => make("li", {}, badge(v), make("span", {}, text)))));
  host.append(...open.map(suspectCard));
  if (clear.length) {
    const title = open.length ? `${many(clear.length, "further thing")} tried and clear` : `${many(clear.length, "thing")} tried and clear`;
    const list = make("details", { class: "cleared" }, make("summary", {}, glyph("clear"), title));
    list.addEventListener("toggle", () => list.childElementCount > 1 || list.append(...clear.map(suspectCard)));
    host.append(list);
  }
}

const effect = (trial) => (trial.flips[0] ?? 0) - (trial.control_flips[0] ?? 0);

function suspectCard(suspect) {
  const trials = [...suspect.trials].sort((a, b) => effect(b) - effect(a));
  const shown = trials.find((t) => t.examples.length);
  return make(
    "article",
    { class: `card ${suspect.verdict}` },
    make("header", {}, badge(suspect.verdict), make("h3", {}, suspect.name, make("span", {}, ` for “${suspect.class}”`)),
      make("span", { class: "kind" }, KINDS[suspect.kind])),
    make("p", { class: "sentence" }, suspect.sentence),
    make("div", { class: shown || trials.length ? "proof" : "" },
      shown ? make("div", { class: "pairs" }, shown.examples.map((e) => pair(e, suspect))) : typicalOf(suspect),
      trials.length ? bars(trials[0]) : make("p", { class: "untried" }, "It could not be tried: there is nothing in the pixels to change, or too few images to change it in.")),
    cardDetails(suspect, trials, shown),
  );
}

/** An image before and after the change. */
function pair(example, suspect) {
  const [height, width] = data.view.map((side) => Math.round((288 * side) / Math.max(...data.view)));
  const flipped = example.before !== example.after;
  const side = (when, cell, said, sure) =>
    make("figure", {},
      picture(height, width, `${when}: ${said}`, (context) => {
        examples.draw(context, cell);
        if (suspect.where) outline(context, suspect.where);
      }),
      make("figcaption", {}, make("span", {}, when), make("strong", { class: flipped && when === "after" ? "flipped" : "" }, said),
        make("span", { class: "sure" }, `“${suspect.class}” ${written(sure, "share")}`)));
  return make("div", { class: "pair" },
    side("before", example.cell_before, example.before, example.sure_before),
    make("span", { class: "arrow", "aria-hidden": "true" }, "→"),
    side("after", example.cell_after, example.after, example.sure_after));
}

function typicalOf(suspect) {
  return suspect.rows.length ? make("div", {}, make("h4", {}, "Typical images"), contactSheet(suspect.rows, 12)) : null;
}

/** The flips of a trial and of its control, with their intervals. */
function bars(trial) {
  const heading = explained(make("h4", {}, "Predictions that flip"),
    "The share of images for which the network then says something else. The line shows where 95 of 100 repetitions would lie.");
  return make("div", { class: "bars" }, heading,
    bar(trial.flips, "changed", trial.how), bar(trial.control_flips, "control", `control: ${trial.control}`));
}

function bar([value, low, high, images], kind, how) {
  const line = make("span", { class: "whisker" });
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * (value ?? 0)}%`;
  line.style.left = `${100 * (low ?? 0)}%`;
  line.style.width = `${100 * ((high ?? 0) - (low ?? 0))}%`;
  return make("div", { class: `measure ${kind}` },
    make("p", { class: "how" }, how),
    make("div", { class: "track", "aria-hidden": "true" }, fill), make("div", { class: "interval", "aria-hidden": "true" }, line),
    make("p", { class: "value" }, make("strong", {}, written(value, "share")), ` ${between([value, low, high], "share")}, ${many(images, "image")}`));
}

const between = ([, low, high], kind) => `[${written(low, kind)} to ${written(high, kind)}]`;

function cardDetails(suspect, trials, shown) {
  const details = make("details", { class: "more" }, make("summary", {}, "Why it was suspected, every trial, its images"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const others = trials.filter((t) => t !== shown && t.examples.length);
    const only = { rows: suspect.rows, name: `${suspect.name} for “${suspect.class}”` };
    details.append(
      make("p", { class: "why" }, suspect.why, ` Seen in ${written(suspect.share, "share")} of ${many(suspect.images, "image")} predicted as “${suspect.class}”.`),
      measures(suspect.measures),
      ...(trials.length ? [trialTable(trials)] : []),
      ...others.map((t) => make("div", {}, make("h4", {}, t.how), make("div", { class: "pairs" }, t.examples.map((e) => pair(e, suspect))))),
      ...(shown && suspect.rows.length ? [typicalOf(suspect)] : []),
      ...(suspect.rows.length ? [make("button", { type: "button", class: "quiet", onclick: () => showOnly(only) }, "Show these images in the table")] : []),
    );
  });
  return details;
}

function measures(list) {
  return make("dl", { class: "measures" }, list.map(([title, value, kind, tip]) =>
    make("div", {}, explained(make("dt", {}, title), tip), make("dd", {}, written(value, kind)))));
}

function trialTable(trials) {
  const heads = ["What was changed", "Images", "Flips", "Change", "Control", "Its flips", "Its change"];
  const row = (t) => [t.how, whole(t.flips[3]), flips(t.flips), change(t.change), t.control, flips(t.control_flips), change(t.control_change)];
  const flips = (i) => [make("b", {}, written(i[0], "share")), ` ${between(i, "share")}`];
  const points = (v) => (v === null ? "–" : `${v > 0 ? "+" : v < 0 ? "−" : ""}${Math.round(Math.abs(v) * 100)}`);
  const change = (i) => [make("b", {}, points(i[0])), ` [${points(i[1])} to ${points(i[2])}]`];
  return make("div", { class: "scroll" }, make("table", { class: "trials" },
    make("caption", {}, "Flips in percent, changes of the class’s probability in percentage points, each with its 95 % interval."),
    make("thead", {}, make("tr", {}, heads.map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, trials.map((t) => make("tr", {}, row(t).map((value, i) => make("td", {}, value)))))));
}
