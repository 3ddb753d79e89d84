// A label map, a byte a pixel, as the user changes it; and what was changed, to be undone.

export class Labels {
  constructor(width, height) {
    Object.assign(this, { width, height, data: new Uint8Array(width * height) });
  }

  ids() {
    const found = new Set(this.data);
    return [...found].filter((id) => id > 0 && id < 255);
  }

  disc(cx, cy, radius, id) {
    const top = Math.max(0, Math.ceil(cy - radius)), bottom = Math.min(this.height - 1, Math.floor(cy + radius));
    for (let y = top; y <= bottom; y++) {
      const half = Math.sqrt(radius ** 2 - (y - cy) ** 2);
      const from = Math.max(0, Math.ceil(cx - half)), to = Math.min(this.width - 1, Math.floor(cx + half));
      if (from <= to) this.data.fill(id, y * this.width + from, y * this.width + to + 1);
    }
  }

  /** Discs along a line, so close that its sides are straight. */
  stroke([x0, y0], [x1, y1], radius, id) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(0.5, radius / 4)));
    for (let i = 0; i <= steps; i++)
      this.disc(x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps, radius, id);
  }

  polygon(corners, id) {
    const canvas = new OffscreenCanvas(this.width, this.height), pen = canvas.getContext("2d");
    pen.beginPath();
    corners.forEach(([x, y]) => pen.lineTo(x, y));
    pen.fill();
    const filled = pen.getImageData(0, 0, this.width, this.height).data;
    for (let at = 0; at < this.data.length; at++) if (filled[4 * at + 3] >= 128) this.data[at] = id;
  }

  /** The mask of an object as run lengths, row by row: of what it is not, of what it is, and so on; null if it has none. */
  runs(id) {
    const found = [];
    let last = 0;
    for (let at = 0, is = false; at < this.data.length; at++)
      if ((this.data[at] === id) !== is) {
        found.push(at - last);
        [last, is] = [at, !is];
      }
    return found.length ? [...found, this.data.length - last] : null;
  }

  /** Make a mask (0 or 1) the whole of an object; it leaves the others theirs. */
  replace(mask, id) {
    for (let at = 0; at < this.data.length; at++) {
      if (this.data[at] === id) this.data[at] = 0;
      if (mask[at] && !this.data[at]) this.data[at] = id;
    }
  }

  /** Where an id is written: amid the longest run of the object's middle row. */
  places() {
    const rows = new Map();
    for (let y = 0, at = 0; y < this.height; y++)
      for (let x = 0; x < this.width; x++, at++) {
        const id = this.data[at];
        if (!id || id === 255) continue;
        if (!rows.has(id)) rows.set(id, { sum: 0, count: 0 });
        const row = rows.get(id);
        row.sum += y;
        row.count++;
      }
    return [...rows].map(([id, { sum, count }]) => [id, ...this.#middle(id, Math.round(sum / count))]);
  }

  #middle(id, row) {
    for (let off = 0; off < this.height; off++)
      for (const y of [row + off, row - off]) {
        let best = 0, middle = -1;
        for (let x = 0, run = 0; y >= 0 && y < this.height && x < this.width; x++) {
          run = this.data[y * this.width + x] === id ? run + 1 : 0;
          if (run > best) [best, middle] = [run, x - run / 2];
        }
        if (best) return [middle, y];
      }
  }
}

/** The changes of one frame. ``note`` is whatever else belongs to them (the points clicked). */
export class History {
  #entries = [];
  #at = 0;

  /** Keep the change from ``before`` to ``after``, if there is any. */
  add(before, after, noteBefore, noteAfter) {
    let from = 0, to = after.length;
    while (from < to && before[from] === after[from]) from++;
    while (to > from && before[to - 1] === after[to - 1]) to--;
    if (from === to && noteBefore === noteAfter) return false;
    this.#entries.length = this.#at;
    this.#entries.push({ from, old: before.slice(from, to), now: after.slice(from, to), noteBefore, noteAfter });
    this.#at++;
    return true;
  }

  get canUndo() { return this.#at > 0; }
  get canRedo() { return this.#at < this.#entries.length; }

  undo(data) {
    const { from, old, noteBefore } = this.#entries[--this.#at];
    data.set(old, from);
    return noteBefore;
  }

  redo(data) {
    const { from, now, noteAfter } = this.#entries[this.#at++];
    data.set(now, from);
    return noteAfter;
  }
}
