"use strict";
// Draws the charts from the data in the page, and makes tables sortable and searchable. No network, no storage.
const charts = JSON.parse(document.getElementById("charts").textContent);
const settings = { responsive: true, displayModeBar: false, plotlyServerURL: "" }; // the bar covers points and offers to upload the chart
const coarse = matchMedia("(pointer: coarse)").matches;

function draw(id, variant) {
  const box = document.getElementById(id);
  const { data, layout } = charts[id][variant];
  if (coarse) layout.dragmode = false; // a finger on a plot scrolls the page
  const drawn = Plotly.react(box, data, layout, settings);
  if (!box.dataset.drawn) {
    box.dataset.drawn = variant;
    box.on("plotly_click", (event) => {
      const cell = event.points[0].customdata; // [description, link]
      if (Array.isArray(cell)) window.open(cell[1], "_blank", "noopener");
    });
  }
  return drawn;
}
for (const id of Object.keys(charts)) draw(id, Object.keys(charts[id])[0]);

for (const chooser of document.querySelectorAll("[data-charts]")) {
  chooser.addEventListener("change", (event) => {
    for (const id of chooser.dataset.charts.split(" ")) draw(id, event.target.value);
  });
}

const collator = new Intl.Collator("en", { numeric: true });
function compare(a, b) {
  if (a === "" || b === "") return (a === "") - (b === ""); // missing values last, in both directions
  return 0;
}
function sort(head) {
  const table = head.closest("table"), heads = [...head.parentNode.children], column = heads.indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending", numeric = head.classList.contains("number");
  const rows = [...table.tBodies[0].rows], key = (row) => row.cells[column].dataset.value ?? "";
  rows.sort((x, y) => {
    const a = key(x), b = key(y);
    const order = numeric ? a - b : collator.compare(a, b);
    return compare(a, b) || (down ? -order : order);
  });
  for (const cell of heads) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
}
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button.parentNode));

for (const field of document.querySelectorAll("input[data-filter]")) {
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...document.getElementById(field.dataset.filter).tBodies[0].rows];
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    field.nextElementSibling.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  });
}

// In print, charts have the width of their column, which is known only once the print style applies.
function fit() { for (const id of Object.keys(charts)) Plotly.Plots.resize(document.getElementById(id)); }
matchMedia("print").addEventListener("change", fit);
addEventListener("beforeprint", fit);
addEventListener("afterprint", fit);
