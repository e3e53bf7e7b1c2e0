/**
 * Elements. The only place that makes any: texts become text nodes, never markup, and a link leads
 * into this page or to another node, never to a `javascript:`.
 */

const LINK = /^(#|https?:\/\/)/;

/** An element: `h("td", { class: "number" }, "12", node)`. Attributes that are undefined or false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else {
      if (name === "href" && !LINK.test(value)) throw new Error("a link to somewhere else");
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...present(children));
  return element;
}

/** The children that are there: `condition && child` may leave one out. */
function present(children) {
  return children.flat().filter((child) => child !== undefined && child !== null && child !== false);
}

const nodesOf = (children) => present(children).map((child) => (child instanceof Node ? child : document.createTextNode(child)));

/** Gives `element` these children, unless it has their like: so focus and selection stay where they are. */
export function fill(element, ...children) {
  const nodes = nodesOf(children);
  const old = element.childNodes;
  const same = old.length === nodes.length && nodes.every((node, place) => node.isEqualNode(old[place]));
  if (!same) element.replaceChildren(...nodes);
}

/**
 * As `fill`, for what is drawn again and again: an element becomes like the new one of its kind in its place, so
 * one that has the focus keeps it while the figures around it change. Listeners stay the first ones.
 */
export function refresh(element, ...children) {
  const nodes = nodesOf(children);
  nodes.forEach((node, place) => {
    const old = element.childNodes[place];
    if (!old) element.append(node);
    else if (old.nodeName !== node.nodeName) old.replaceWith(node);
    else if (old.nodeType === Node.TEXT_NODE) old.data = node.data;
    else if (!old.isEqualNode(node)) become(old, node);
  });
  while (element.childNodes.length > nodes.length) element.lastChild.remove();
}

function become(old, node) {
  for (const name of old.getAttributeNames()) {
    if (!node.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const name of node.getAttributeNames()) old.setAttribute(name, node.getAttribute(name));
  refresh(old, ...node.childNodes);
}

/** Names and values, as a `dl`: each pair is `[name, value]`. */
export function facts(pairs, attributes = {}) {
  const each = pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  return h("dl", { class: "facts", ...attributes }, each);
}

/** A figure under its name. */
export function tile(name, value, note, state) {
  return h(
    "div",
    { class: "tile", "data-state": state },
    h("dt", {}, name),
    h("dd", {}, h("span", { class: "figure" }, value), note && h("span", { class: "note" }, note)),
  );
}

/** A field of a form, with its label. */
export function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}

/** A list to choose from: each option is `[value, text]`. */
export function select(attributes, options, chosen) {
  const each = options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("select", attributes, each);
}

/** Tells those who do not see the page. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}
