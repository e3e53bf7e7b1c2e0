/**
 * JSON as it was written: numbers keep their digits, strings their escapes, objects the order of their
 * members and those that stand there twice. So answers are compared that `JSON.parse` would make equal.
 *
 * A tree is a scalar, `{ text }`; a list, `[tree, …]`; or an object, `Members`.
 */

const TOKEN = /\s*("(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+)/gy;

export class Members {
  /** @param {[string, unknown][]} list names and values, in their order. */
  constructor(list) {
    this.list = list;
  }

  get names() {
    return this.list.map(([name]) => name);
  }

  get(name) {
    return this.list.find(([own]) => own === name)?.[1];
  }

  /** The same, with another value of one member. */
  with(name, value) {
    return new Members(this.list.map(([own, old]) => [own, own === name ? value : old]));
  }
}

/** @throws {SyntaxError} as `JSON.parse` does. */
export function readJson(text) {
  JSON.parse(text);
  const tokens = [...text.matchAll(TOKEN)].map(([, token]) => token);
  let at = 0;
  const next = () => tokens[at++];
  const value = () => {
    const token = next();
    if (token === "[") {
      const list = [];
      while (tokens[at] !== "]") {
        list.push(value());
        if (tokens[at] === ",") at++;
      }
      at++;
      return list;
    }
    if (token === "{") {
      const list = [];
      while (tokens[at] !== "}") {
        const name = JSON.parse(next());
        at++;
        list.push([name, value()]);
        if (tokens[at] === ",") at++;
      }
      at++;
      return new Members(list);
    }
    return { text: token };
  };
  return value();
}

/** The tree as text without white space. Values that are no trees are put in angle brackets. */
export function writeJson(tree) {
  if (Array.isArray(tree)) return `[${tree.map(writeJson).join(",")}]`;
  if (tree instanceof Members) {
    return `{${tree.list.map(([name, value]) => `${JSON.stringify(name)}:${writeJson(value)}`).join(",")}}`;
  }
  return tree?.text ?? `<${tree}>`;
}

/** What `JSON.parse` makes of a tree. */
export const plain = (tree) => JSON.parse(writeJson(tree));
