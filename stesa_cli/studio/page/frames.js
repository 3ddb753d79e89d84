// The frame that is shown and its mask, as it is changed: kept on the server, undone frame by frame.

import * as api from "./api.js";
import { History, Labels } from "./labels.js";

const WAIT = 300; // milliseconds after a change before it is sent
const KEPT = 40; // pictures

export class Frames {
  constructor(info, changed, failed) {
    Object.assign(this, { info, changed, failed, index: 0, labels: new Labels(info.width, info.height), note: null });
    this.pictures = new Map();
    this.histories = new Map();
    this.given = new Set(info.prompts);
    this.fresh = info.fresh;
    this.wanted = 0;
  }

  get history() {
    if (!this.histories.has(this.index)) this.histories.set(this.index, { of: new History(), wasGiven: this.given.has(this.index) });
    return this.histories.get(this.index);
  }

  picture(index) {
    if (!this.pictures.has(index)) {
      const coming = api.picture(index);
      coming.catch(() => this.pictures.delete(index));
      this.pictures.set(index, coming);
      while (this.pictures.size > KEPT) this.pictures.delete(this.pictures.keys().next().value);
    }
    return this.pictures.get(index);
  }

  /** Show a frame; of many asked for in a row, the last. Returns its picture, or null when another is wanted by then. */
  async show(index) {
    this.wanted = index;
    await this.flush();
    const [picture, mask] = await Promise.all([this.picture(index), api.mask(index)]);
    if (this.wanted !== index || this.waiting) return null;
    this.index = index;
    this.labels.data.set(mask);
    this.note = null;
    return picture;
  }

  /** Make a change of the mask that can be undone. ``note`` tells of the points that made it, if any did. */
  change(make, note = null) {
    const before = this.labels.data.slice();
    make(this.labels);
    this.keep(before, note);
  }

  keep(before, note = null) {
    if (!this.history.of.add(before, this.labels.data, this.note, note)) return;
    this.note = note;
    this.#touch();
  }

  undo() { this.#back((history, data) => history.canUndo && (this.note = history.undo(data), true)); }
  redo() { this.#back((history, data) => history.canRedo && (this.note = history.redo(data), true)); }

  #back(go) {
    if (go(this.history.of, this.labels.data)) this.#touch();
  }

  #touch() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.flush().catch(this.failed), WAIT);
    this.changed();
  }

  /** Send what has changed. Without any change left, a frame that was not given is not given again. */
  async flush() {
    if (!this.waiting) return;
    clearTimeout(this.waiting);
    this.waiting = null;
    const untouched = !this.history.of.canUndo && !this.history.wasGiven;
    await this.#give(untouched ? new Uint8Array(this.labels.data.length) : this.labels.data.slice());
  }

  async #give(labels) {
    const { prompts, fresh } = await api.give(this.index, labels);
    Object.assign(this, { given: new Set(prompts), fresh });
    this.changed();
  }

  /** Take the mask of this frame away. */
  async remove() {
    clearTimeout(this.waiting);
    this.waiting = null;
    this.histories.delete(this.index);
    await this.#give(new Uint8Array(this.labels.data.length));
  }

  /** Frames that are computed anew have nothing to undo. */
  forget() {
    for (const index of this.histories.keys()) if (!this.given.has(index)) this.histories.delete(index);
  }
}
