// A part for each predicted class: where its evidence lies, its strategies, outliers and confusions.
const OPEN_AT_FIRST = 3;
const FILTER_FROM = 12;

function showClasses() {
  const host = byId("class-list");
  if (!data.classes.length) {
    host.append(make("p", { class: "empty" }, "No image has a prediction, so there are no classes to look at."));
    return;
  }
  const parts = data.classes.map((found, i) => classPart(found, data.classes.length <= OPEN_AT_FIRST || i === 0));
  if (parts.length >= FILTER_FROM) host.append(classFilter(parts));
  host.append(...parts);
}

function classFilter(parts) {
  const filter = (event) => {
    const wanted = event.target.value.toLowerCase();
    parts.forEach((part, i) => (part.hidden = !data.classes[i].name.toLowerCase().includes(wanted)));
  };
  return make("p", { class: "toolbar" }, make("input", { type: "search", placeholder: `Find one of ${parts.length} classes`, "aria-label": "Find a class", oninput: filter }));
}

function meter(name, value, tip) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * (value ?? 0)}%`;
  return make("span", { class: "meter" }, explained(make("span", { class: "meter-name" }, name), tip),
    make("span", { class: "track", "aria-hidden": "true" }, fill), make("span", { class: "meter-value" }, written(value, "share")));
}

const bytesOf = (map) => ({ ...map, bytes: map.bytes ? Uint8Array.from(atob(map.bytes), (c) => c.charCodeAt(0)) : new Uint8Array(map.height * map.width) });

/** A mean map: its own cells, over the class's mean picture where there is one. */
function meanMap(map, longer, label, cell = null) {
  const heat = bytesOf(map);
  const blank = isBlank(heat);
  const [height, width] = data.view.map((side) => Math.round((longer * side) / Math.max(...data.view)));
  return picture(height, width, label, (context, mode) => {
    context.clearRect(0, 0, width, height);
    const over = mode !== "map" && cell !== null && averages.draw(context, cell);
    if (over && mode === "photo") return;
    if (blank) {
      if (!over) {
        context.fillStyle = "#3b2a50";
        context.fillRect(0, 0, width, height);
      }
      hatch(context);
      return;
    }
    context.imageSmoothingEnabled = false;
    context.drawImage(heatCanvas(heat, 1, over), 0, 0, width, height);
  });
}

function classPart(found, open) {
  const count = found.strategies.length;
  const summary = make("summary", {},
    meanMap(found.map, 80, `mean map of “${found.name}”`),
    make("span", { class: "class-name" }, found.verdict ? glyph(found.verdict, found.verdict) : null, make("strong", {}, found.name)),
    make("span", { class: "class-count" }, many(found.images, "image"), count ? ` · ${many(count, "strategy", "strategies")}` : ""),
    meter("recall", found.recall, "Share of the images with this label that are predicted as it."),
    meter("precision", found.precision, "Share of the images predicted as it that have this label."));
  const part = make("details", { class: "class", open }, summary);
  const fill = () => part.open && part.childElementCount < 2 && part.append(classBody(found));
  part.addEventListener("toggle", fill);
  fill();
  return part;
}

function classBody(found) {
  const [cell, of] = data.averages.of[found.index] ?? [null, 0];
  const about = [`The mean of ${many(found.images - found.blank, "map")}`, of ? `over the mean of ${of} of the images` : "", found.blank ? `${many(found.blank, "map")} without any evidence` : ""];
  const table = { key: "prediction", value: found.name };
  return make("div", { class: "class-body" },
    make("figure", { class: "mean" }, meanMap(found.map, 384, `mean map of “${found.name}”`, cell),
      make("figcaption", {}, `${about.filter(Boolean).join("; ")}.`),
      make("button", { type: "button", class: "quiet", onclick: () => showOnly(table) }, `${many(found.images, "image")} in the table`)),
    make("div", { class: "strategies" }, strategies(found), outliers(found), confusions(found)));
}

function strategies(found) {
  if (found.strategies.length) return found.strategies.map((s) => strategyPart(s, found));
  return make("p", { class: "empty" }, found.images < 2 ? "One image alone has no strategies to tell apart." : "Too few images, or too little evidence, to tell strategies apart.");
}

function strategyPart(strategy, found) {
  const alone = found.strategies.length === 1;
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * (strategy.share ?? 0)}%`;
  return make("section", { class: "strategy" },
    make("div", { class: "strategy-map" }, meanMap(strategy.map, 160, `mean map of strategy ${strategy.number}`)),
    make("div", { class: "strategy-text" },
      make("h4", {}, alone ? "One strategy" : `Strategy ${strategy.number}`, make("span", {}, ` ${written(strategy.share, "share")} · ${many(strategy.images, "image")}`)),
      make("div", { class: "track share", "aria-hidden": "true" }, fill),
      purity(strategy, found),
      differs(strategy.differs),
      measures(strategy.measures)),
    contactSheet(strategy.typical, 24));
}

function purity(strategy, found) {
  if (strategy.purity === null) return null;
  const others = strategy.labels.filter(([label]) => label !== found.name).slice(0, 3).map(([label, count]) => `${label} ${whole(count)}`);
  const text = `${written(strategy.purity, "share")} labelled “${found.name}”${others.length ? `; others: ${others.join(", ")}` : ""}`;
  return make("p", {}, explained(make("span", {}, "Purity "), "Share of its labelled images whose label is the class."), text);
}

/** In what a strategy differs, in words; by less than 0.2 standard deviations it does not (Cohen 1988). */
function differs(list) {
  const large = list.filter(([, d]) => d !== null && Math.abs(d) >= 0.2).slice(0, 5);
  if (!large.length) return null;
  const chip = ([name, d, tip]) => explained(make("span", { class: "chip" }, `${d > 0 ? "↑" : "↓"} ${name} `, make("b", {}, signed(d))),
    `${tip} Against the class’s other strategies, in standard deviations (Cohen’s d).`.trim());
  return make("p", { class: "chips" }, large.map(chip));
}

function outliers(found) {
  const rows = [...new Set(found.strategies.flatMap((s) => s.outliers))];
  return rows.length ? make("section", { class: "aside" }, explained(make("h4", {}, "Outliers"), "The images farthest from every strategy’s centre."), contactSheet(rows, 16)) : null;
}

function confusions(found) {
  if (!found.confusions.length) return null;
  const row = ([label, count, rows]) => make("div", { class: "confusion" }, make("p", {}, make("strong", {}, label), ` ${many(count, "image")}`), contactSheet(rows, 8));
  return make("section", { class: "aside" }, explained(make("h4", {}, "Confusions"), "Images predicted as this class that have another label."), found.confusions.map(row));
}
