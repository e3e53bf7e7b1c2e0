/** Which episodes there are, and in which order a seed has them. */

import { auditEpisodes } from "./episodes-audit.js";
import { limiterEpisodes } from "./episodes-limiter.js";
import { objectEpisodes } from "./episodes-objects.js";
import { Random } from "./random.js";

const EPISODES = { ...limiterEpisodes, ...auditEpisodes, ...objectEpisodes };
const NAMES = Object.keys(EPISODES);
/** How often an episode comes, after each has come once. Those of bad input say little when repeated. */
const WEIGHTS = { longWindows: 8, shortWindows: 6, shrinkingWindows: 3, growingWindows: 3, bursts: 5, days: 8, ranges: 2, csv: 3, names: 3 };
const BAG = NAMES.flatMap((name) => Array(WEIGHTS[name] ?? 1).fill(name));

/** Episode `index` of the run with this seed: `{ title, play(run, attempt) }`. */
export function episode(seed, index) {
  const title = index < NAMES.length ? NAMES[index] : new Random(seed, index).pick(BAG);
  const play = (run, attempt) => {
    const random = new Random(seed, index);
    random.next();
    const name = names(`${seed}-${index}-${attempt}`);
    return EPISODES[title]({ random, run, name });
  };
  return { title, play };
}

/** Names that no other episode has. */
function names(suffix) {
  let count = 0;
  return (prefix) => `${prefix}:${suffix}-${++count}`;
}
