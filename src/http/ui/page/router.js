/** Where in the page one is: `#/objects/RATE_LIMITER?prefix=wix`. */

/** `{ view, rest, query }` of a hash: the view's name, what stands behind it, and the parameters. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/").map(decode);
  return { view, rest, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The hash of a place; parameters without a value are left out. */
export function link(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(kept).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/** Goes there; in place of where one is if `replace` is true, so that "back" leaves both. */
export function go(hash, replace = false) {
  if (replace) {
    history.replaceState(null, "", hash);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = hash;
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // Typed by hand.
  }
}
