/** Lines over time, drawn by uPlot. What the newest values are stands beside them as text. */

import { h } from "./dom.js";
import { timeOfDay } from "./format.js";

const HEIGHT_PX = 190;
/** As long as less is recorded, the line begins where the recording does. */
const RANGE_MIN_S = 60;
const TIME_STEPS_S = [10, 30, 60, 120, 300, 600, 900];
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);
const AXIS_FONT = "12px system-ui, sans-serif";

export class Chart {
  #title;
  #lines;
  #format;
  #least;
  #isBinary;
  #drawn;
  #stage = h("div", { class: "stage" });
  #legend;
  #data;
  #rangeS = 900;
  #observer = new ResizeObserver(() => this.#resize());
  #redraw = () => this.#draw();

  /**
   * Each line is `{ label, value(point) }`; `format` writes a value; `note` says what is drawn. The axis reaches up to
   * `least` at any rate, and goes in powers of two if it is of bytes.
   */
  constructor({ title, note, format, lines, least = 1, isBinary = false }) {
    this.#title = title;
    this.#lines = lines;
    this.#format = format;
    this.#least = least;
    this.#isBinary = isBinary;
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

  /** The first and the last second that are seen. */
  #range() {
    const now = Date.now() / 1000;
    const first = this.#data[0][0] ?? now;
    return [Math.max(now - this.#rangeS, Math.min(first, now - RANGE_MIN_S)), now];
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
      padding: [10, 30, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { range: () => this.#range() },
        y: { range: (_plot, _least, most) => [0, Math.max(most * 1.1, this.#least)] },
      },
      axes: [
        {
          ...axis,
          size: 26,
          space: 80,
          incrs: TIME_STEPS_S,
          values: (_plot, times, _axis, _space, step) => times.map((time) => timeOfDay(time * 1000, step < 60)),
        },
        {
          ...axis,
          size: (_plot, texts) => 14 + 7 * Math.max(3, ...(texts ?? []).map(({ length }) => length)),
          ...(this.#isBinary && { incrs: BINARY_STEPS }),
          values: (_plot, values) => values.map((value) => this.#format(value)),
        },
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
