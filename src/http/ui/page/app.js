/** The page: its views, where one is among them, and what is always seen. */

import { announce, fill, h } from "./dom.js";
import { refreshTimes, timeOfDay } from "./format.js";
import { problemBox } from "./problem.js";
import * as recorder from "./recorder.js";
import { link, parse } from "./router.js";
import * as token from "./token.js";
import * as audit from "./views/audit.js";
import * as cluster from "./views/cluster.js";
import * as limiters from "./views/limiters.js";
import * as objects from "./views/objects.js";
import * as storage from "./views/storage.js";
import * as tail from "./views/tail.js";
import * as traffic from "./views/traffic.js";
import * as watch from "./watch.js";

const VIEWS = { cluster, traffic, tail, storage, objects, audit, limiters };
const FIRST = "cluster";

const main = document.getElementById("main");
let shown = { view: undefined, mounted: undefined };

function show() {
  const place = parse(location.hash);
  const name = Object.hasOwn(VIEWS, place.view) ? place.view : FIRST;
  const isSame = name === shown.view;
  if (isSame && shown.mounted.update) return shown.mounted.update(place);
  shown.mounted?.unmount();
  const { title, mount } = VIEWS[name];
  document.title = `${title} · tallykeep`;
  for (const anchor of document.querySelectorAll("#views a")) {
    if (anchor.dataset.view === name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const heading = h("h1", { tabindex: "-1" }, title);
  const body = h("div", { class: `view view-${name}` });
  main.replaceChildren(heading, body);
  const isFirst = shown.view === undefined;
  shown = { view: name, mounted: mount(body, place) };
  // Whoever follows a link by keyboard or hears the page is to be where it leads.
  if (!isFirst) heading.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function bar(changes) {
  const { report, error } = watch.watched;
  if (report || error) fill(document.getElementById("whereabouts"), whereabouts(report, error));
  const trouble = document.getElementById("trouble");
  if (!error) fill(trouble);
  else fill(trouble, problemBox(error, undefined, report && otherNodes(report)));
  if (changes.length > 0) announce(changes.map(({ text }) => text).join(". "));
}

/** Which node this is, and whom it follows. */
function whereabouts(report, error) {
  const node = report && `Node ${report.id}`;
  if (error) {
    const isRefused = error.status === 401 || error.status === 403;
    return [node, h("span", { class: "pill", "data-role": "unreachable" }, isRefused ? "refused" : "no answer")];
  }
  const role = report.nodes.find(({ id }) => id === report.id)?.role ?? "removed";
  const leads = report.leader === null ? "no leader" : `node ${report.leader} leads`;
  return [node, h("span", { class: "pill", "data-role": role }, role), h("span", { class: "muted" }, `${leads}, term ${report.term}`)];
}

function otherNodes(report) {
  const others = report.nodes.filter((node) => node.id !== report.id);
  return h("p", {}, "The same page on ", others.flatMap((node, place) => [place ? ", " : "", h("a", { href: watch.pageOn(node) }, `node ${node.id}`)]), `. Last answer at ${timeOfDay(watch.watched.atMs)}.`);
}

/** The button goes through what the system says, light, and dark. */
function themes() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const tell = () => {
    button.textContent = `Theme: ${root.dataset.theme ?? "system"}`;
    document.dispatchEvent(new CustomEvent("theme"));
  };
  button.addEventListener("click", () => {
    const next = { light: "dark", dark: undefined }[root.dataset.theme ?? ""];
    const chosen = root.dataset.theme === undefined ? "light" : next;
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    if (chosen) localStorage.setItem("tallykeep-theme", chosen);
    else localStorage.removeItem("tallykeep-theme");
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

function begin() {
  const links = Object.keys(VIEWS).map((name) => h("li", {}, h("a", { href: link([name]), "data-view": name }, VIEWS[name].title)));
  fill(document.getElementById("views"), links);
  fill(document.getElementById("foot"), "Your browser asks this node alone. Every node has this page at /ui.");
  document.getElementById("token").addEventListener("click", () => token.open());
  // The hash says which view is shown, so the link cannot use it.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  themes();
  window.addEventListener("hashchange", show);
  show();
  watch.listen(bar);
  watch.begin();
  recorder.begin();
  setInterval(refreshTimes, 1_000);
}

begin();
