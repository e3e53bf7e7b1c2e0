/** Choices that a seed decides. */

export class Random {
  #state;

  /** Two streams of different `seed` or `stream` have nothing to do with each other. */
  constructor(seed, stream = 0) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0;
  }

  /** From 0 to 2^32-1 (mulberry32). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** An integer from `least` to `most`. */
  int(least, most) {
    return least + Math.floor((this.next() / 2 ** 32) * (most - least + 1));
  }

  chance(share) {
    return this.next() / 2 ** 32 < share;
  }

  pick(list) {
    return list[this.int(0, list.length - 1)];
  }
}
