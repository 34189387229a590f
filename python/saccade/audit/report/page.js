// What happens when: the findings at once, the pictures and the table when the rest of the file is there.

function watchTheme() {
  const root = document.documentElement;
  const remembered = (value) => {
    try {
      if (value) localStorage.setItem("saccade-theme", value);
      return localStorage.getItem("saccade-theme");
    } catch {
      return null; // a page opened as a file may not be allowed to
    }
  };
  root.dataset.theme = remembered() ?? "";
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remembered(root.dataset.theme);
  });
}

function showLegend() {
  const bar = heatCanvas({ bytes: Uint8Array.from({ length: 256 }, (_, i) => i), height: 1, width: 256 }, 1, false);
  bar.setAttribute("aria-hidden", "true");
  byId("modes").append(explained(make("span", { class: "scale" }, "none", bar, "most"),
    "Each map’s colours run from no evidence to the most evidence in that very image; stripes mark a map without any."));
}

async function showRest() {
  await Promise.all([unpack(), thumbnails.load(), averages.load(), examples.load()]);
  unpacked = true;
  imageTable = new ImageTable(byId("table"));
  const left = data.table.left_out;
  if (left.length) byId("table").append(make("p", { class: "note" }, `Not in the table, as nearly every image has another value there: ${left.join(", ")}.`));
  redrawAll(false);
}

function preparePrint() {
  for (const details of document.querySelectorAll("#suspects details.more")) details.open = true;
  redrawAll(true);
}

watchTheme();
watchTips();
showLegend();
showFacts();
showSuspects();
showClasses();
byId("modes").addEventListener("change", (event) => setMode(event.target.value));
addEventListener("beforeprint", preparePrint);
document.addEventListener("DOMContentLoaded", () => {
  showRest().catch((error) => {
    byId("table").replaceChildren(make("p", { class: "empty", role: "alert" }, `The images could not be unpacked (${error.message}); write the page again, or open it in a newer browser.`));
  });
});
