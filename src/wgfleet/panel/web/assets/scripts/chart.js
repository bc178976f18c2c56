// Charts of the numbers in a table, drawn by uPlot: [data-chart="ID of the table"] has a <div> for it. Only pages with charts load this.
import uPlot from "uplot";

const UNITS = ["", "k", "M", "G", "T"];
const language = `${document.documentElement.lang}-u-nu-latn`;
const short = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

function rate(value) {
  let step = 0;
  for (; Math.abs(value) >= 1000 && step < UNITS.length - 1; step++) value /= 1000;
  return `${short.format(value)} ${UNITS[step]}bit/s`;
}

function draw(figure) {
  const rows = [...document.querySelectorAll(`#${figure.dataset.chart} tbody tr`)].reverse();
  const column = (index) => rows.map((row) => Number(row.querySelectorAll("[data-value]")[index].dataset.value));
  const data = [rows.map((row) => Number(row.querySelector("[data-at]").dataset.at)), column(0), column(1)];
  const ink = getComputedStyle(figure).color;
  const axis = { stroke: ink, grid: { stroke: "rgb(128 128 128 / 25%)", width: 1 }, ticks: { show: false } };
  const place = figure.firstElementChild;
  const options = {
    width: place.clientWidth,
    height: 260,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { drag: { x: false, y: false } },
    legend: { live: true },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(high * 1.05, 1)] } },
    axes: [
      { ...axis, values: (_plot, ticks) => ticks.map((at) => label(at, data[0])) },
      { ...axis, size: 90, values: (_plot, ticks) => ticks.map(rate) },
    ],
    series: [
      { label: "UTC", value: (_plot, at) => (at == null ? "–" : new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ")) },
      { label: figure.dataset.received, stroke: "#3b82c4", width: 2, value: (_plot, value) => (value == null ? "–" : rate(value)) },
      { label: figure.dataset.sent, stroke: "#c4622d", width: 2, dash: [6, 4], value: (_plot, value) => (value == null ? "–" : rate(value)) },
    ],
  };
  const plot = new uPlot(options, data, place);
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 260 })).observe(place);
}

function label(at, all) {
  const span = all.at(-1) - all[0];
  const form = span <= 2 * 86400 ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } : span < 100 * 86400 ? { month: "short", day: "numeric" } : { month: "short", year: "numeric" };
  return new Intl.DateTimeFormat(language, { ...form, timeZone: "UTC" }).format(new Date(at * 1000));
}

function drawAll() {
  document.querySelectorAll("[data-chart]:not([data-drawn])").forEach((figure) => {
    figure.dataset.drawn = "";
    draw(figure);
  });
}

drawAll();
document.addEventListener("htmx:after:swap", drawAll);
