/** Sends calls to both sides, waits for what they depend on, and has the answers compared. */

import { compare } from "./compare.js";
import { SLACK_MS } from "./memory.js";
import { view } from "./view.js";

/** A window ended while it was asked for, so the sides may rightly differ: the episode is begun anew. */
export class Undecided extends Error {}

/** What an episode runs with. */
export class Runner {
  #sides;
  #report;
  #episode;

  /** `episode` is how the report calls what this runs. */
  constructor(sides, report, episode) {
    this.#sides = [sides.original, sides.ours];
    this.#report = report;
    this.#episode = episode;
  }

  /** One call, to both sides at once. */
  async call(call) {
    const [original, ours] = await this.#exchange(call);
    this.#judge(call, original, ours);
  }

  /**
   * The same check `count` times at once. Which of them gets which answer is open, so the answers are
   * compared in the order of what remained.
   */
  async burst(call, count) {
    const sent = await this.#both((side) => Promise.all(Array.from({ length: count }, () => send(side, call))));
    const [original, ours] = sent.map((answers, index) => answers.sort(byRemaining).map((answer) => see(this.#sides[index], call, answer)));
    // All of them met the same window, so the end of none of them was near.
    for (let index = 0; index < count; index++) this.#judge(call, original[index], ours[index]);
  }

  /** Calls that are on their way at the same time, each compared with itself. */
  async together(calls) {
    const sent = await this.#both((side) => Promise.all(calls.map((call) => send(side, call))));
    calls.forEach((call, index) => {
      const [original, ours] = sent.map((answers, side) => see(this.#sides[side], call, answers[index]));
      this.#judge(call, original, ours);
    });
  }

  /** Waits until a window of `windowMs` that an identifier has is over on both sides. */
  async windowEnds(object, identifier, windowMs) {
    const starts = this.#sides.map(({ memory }) => memory.window(object, identifier)?.startMs ?? 0);
    await clockPasses(Math.max(...starts) + windowMs + SLACK_MS);
  }

  /** Waits until whatever is logged next has another time than what was logged before. */
  async nextMillisecond() {
    await clockPasses(Date.now() + 2);
  }

  async #exchange(call) {
    const before = this.#sides.map(({ memory }) => call.check && memory.window(call.object, call.check.identifier));
    const answers = await this.#both((side) => send(side, call));
    const over = new Set();
    before.forEach((window, index) => {
      if (window === undefined) return;
      over.add(isOver(answers[index], window.startMs + call.check.windowMs));
      isOver(answers[index], window.endMs);
    });
    if (over.size > 1) throw new Undecided();
    return answers.map((answer, index) => see(this.#sides[index], { ...call, before: before[index] }, answer));
  }

  #both(run) {
    return Promise.all(this.#sides.map(run));
  }

  #judge(call, original, ours) {
    const differences = compare(original.view, ours.view);
    this.#report.add({
      episode: this.#episode,
      call,
      differences,
      original: original.view,
      ours: ours.view,
      bodies: [original.body, ours.body],
      exported: this.#sides.map(({ memory }) => memory.exported(call.object)),
      // Our window of the check's identifier, as it was before.
      window: ours.before,
      sentMs: ours.sentMs,
    });
  }
}

/** Whether a moment was past when a call was carried out. @throws {Undecided} if nobody can tell. */
function isOver({ sentMs, receivedMs }, momentMs) {
  if (sentMs > momentMs + SLACK_MS) return true;
  if (receivedMs < momentMs - SLACK_MS) return false;
  throw new Undecided();
}

async function send(side, call) {
  const body = typeof call.body === "function" ? call.body(side.memory) : call.body;
  const { object, by, method, path, headers } = call;
  const sentMs = Date.now();
  const answer = await side.send({ object, by, method, path, headers, body });
  return { answer, body, sentMs, receivedMs: Date.now() };
}

function see(side, call, sent) {
  return { ...sent, before: call.before, view: view(sent.answer, call, side.memory, sent) };
}

function byRemaining(a, b) {
  const rank = ({ answer }) => (answer.status === 200 ? JSON.parse(answer.body).remaining : -1);
  return rank(b) - rank(a);
}

async function clockPasses(momentMs) {
  while (Date.now() <= momentMs) await new Promise((resolve) => setTimeout(resolve, momentMs - Date.now() + 1));
}
