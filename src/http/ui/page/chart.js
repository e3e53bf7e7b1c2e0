/** Lines over time, drawn by uPlot. What the newest values are stands beside them as text. */

import { h } from "./dom.js";
import { timeOfDay } from "./format.js";

const HEIGHT_PX = 200;
const AXIS_FONT = "12px system-ui, sans-serif";

export class Chart {
  #title;
  #lines;
  #format;
  #drawn;
  #stage = h("div", { class: "stage" });
  #legend;
  #data;
  #rangeS = 900;
  #observer = new ResizeObserver(() => this.#resize());
  #redraw = () => this.#draw();

  /** Each line is `{ label, value(point) }`; `format` writes a value; `note` says what is drawn. */
  constructor({ title, note, format, lines }) {
    this.#title = title;
    this.#lines = lines;
    this.#format = format;
    this.#legend = lines.map(({ label }, place) => {
      const value = h("span", { class: "figure" });
      const item = h("li", {}, h("span", { class: `swatch line-${place + 1}`, "aria-hidden": true }), label, " ", value);
      return { item, value };
    });
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("h2", {}, title), note && h("p", { class: "muted" }, note)),
      h("ul", { class: "legend" }, this.#legend.map(({ item }) => item)),
      this.#stage,
    );
    this.#observer.observe(this.#stage);
    document.addEventListener("theme", this.#redraw);
  }

  /** Draws these points of a recording, of which the last `rangeS` seconds are shown. */
  update(points, rangeS) {
    this.#rangeS = rangeS;
    const times = points.map(({ atMs }) => atMs / 1000);
    const columns = this.#lines.map(({ value }) => points.map((point) => value(point) ?? null));
    this.#data = [times, ...columns];
    if (this.#drawn) this.#drawn.setData(this.#data);
    else this.#draw();
    this.#tell(points.length - 1);
  }

  end() {
    this.#observer.disconnect();
    document.removeEventListener("theme", this.#redraw);
    this.#drawn?.destroy();
  }

  #tell(place) {
    this.#legend.forEach(({ value }, line) => {
      const text = this.#format(this.#data?.[line + 1]?.[place] ?? undefined);
      if (value.textContent !== text) value.textContent = text;
    });
  }

  #resize() {
    const width = this.#stage.clientWidth;
    if (this.#drawn && width) this.#drawn.setSize({ width, height: HEIGHT_PX });
    else if (this.#data) this.#draw();
  }

  #draw() {
    const width = this.#stage.clientWidth;
    if (!width || !this.#data) return;
    this.#drawn?.destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: AXIS_FONT };
    const options = {
      width,
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { range: () => [Date.now() / 1000 - this.#rangeS, Date.now() / 1000] },
        y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.1 : 1] },
      },
      axes: [
        { ...axis, space: 70, values: (_plot, times) => times.map((time) => timeOfDay(time * 1000, false)), incrs: [60, 300, 600, 900] },
        { ...axis, size: 70, values: (_plot, values) => values.map((value) => this.#format(value)) },
      ],
      series: [
        {},
        ...this.#lines.map(({ label }, place) => ({
          label,
          stroke: colour(`--line-${place + 1}`),
          width: 2,
          dash: [undefined, [6, 3], [2, 3], [8, 3, 2, 3]][place],
          points: { show: false },
        })),
      ],
      hooks: {
        setCursor: [(plot) => this.#tell(plot.cursor.idx ?? this.#data[0].length - 1)],
      },
    };
    this.#drawn = new window.uPlot(options, this.#data, this.#stage);
    this.#drawn.root.setAttribute("role", "img");
    this.#drawn.root.setAttribute("aria-label", `${this.#title}, drawn over time; the newest values are beside it`);
  }
}
