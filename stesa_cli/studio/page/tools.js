// The tools: what the pen does when it is pressed, moved and lifted in the frame.

import * as api from "./api.js";

const CLOSE = 8; // CSS pixels from the first corner that close a polygon

export class Tools {
  constructor(view, frames, object, failed) {
    Object.assign(this, { view, frames, object, failed, tool: "points", radius: 12, corners: [], drag: null });
    this.snapped = Promise.resolve();
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
    this.show(null);
  }

  get isBrush() { return this.tool === "brush" || this.tool === "eraser"; }

  /** The marks of the frame and the pen at ``cursor``. */
  show(cursor = this.view.marks.cursor) {
    const { marks, box } = this.#note();
    const radius = this.isBrush ? this.radius : 0;
    const strokes = this.drag?.points ? [...marks, this.drag] : marks;
    this.view.marks = { strokes, box: this.drag?.box ?? box, corners: this.corners, cursor, radius };
    this.view.draw();
  }

  /** The points, scribbles and the box given for the chosen object in this frame, and the mask that they correct
   *  (``prior``), if it had one before them. */
  #note() {
    const { note } = this.frames, id = this.object();
    return note?.id === id && ["points", "box"].includes(this.tool) ? note : { id, marks: [] };
  }

  press(at, minus) {
    if (this.isBrush) {
      this.drag = { last: at, before: this.frames.labels.data.slice() };
      this.#stroke(at);
    } else if (this.tool === "polygon") this.#corner(at);
    else if (this.tool === "box") this.drag = { from: at };
    else this.drag = { points: [at], plus: !minus };
  }

  move(at) {
    if (this.drag && this.isBrush) this.#stroke(at);
    else if (this.drag?.points) this.#scribble(at);
    else if (this.drag) {
      const { width, height } = this.view, { from } = this.drag;
      const inside = ([x, y]) => [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
      const [[x0, y0], [x1, y1]] = [inside(from), inside(at)];
      this.drag.box = [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];
    }
    this.show(at);
  }

  lift() {
    const drag = this.drag;
    this.drag = null;
    if (drag?.before) this.frames.keep(drag.before);
    else if (drag?.points) this.#snap((note) => ({ ...note, marks: [...note.marks, drag] }));
    else if (drag?.box && drag.box[2] >= 3 && drag.box[3] >= 3) this.#snap(({ id }) => ({ id, marks: [], box: drag.box, prior: null }));
    this.show();
  }

  /** Drop what is begun: a polygon; else the points, so that the next ones begin anew. */
  cancel() {
    if (this.corners.length) this.corners = [];
    else this.frames.note = null;
    this.drag = null;
    this.show();
  }

  /** Whether the pen is where it set the last corner of a polygon. */
  isAtCorner([x, y]) {
    const [cx, cy] = this.corners.at(-1) ?? [];
    return this.corners.length > 2 && Math.hypot(x - cx, y - cy) < 1;
  }

  close() {
    const corners = this.corners;
    this.corners = [];
    if (corners.length > 2) this.frames.change((labels) => labels.polygon(corners, this.object()));
    this.show();
  }

  #corner(at) {
    const [first] = this.corners, scale = this.view.scale / devicePixelRatio;
    if (first && this.corners.length > 2 && Math.hypot(at[0] - first[0], at[1] - first[1]) * scale < CLOSE) this.close();
    else this.corners.push(at);
    this.show(at);
  }

  #stroke(at) {
    const [from, to] = [this.drag.last, at].map(([x, y]) => [x - 0.5, y - 0.5]), id = this.object();
    this.frames.labels.stroke(from, to, this.radius, this.tool === "brush" ? id : 0);
    this.drag.last = at;
    this.view.paint(this.frames.labels);
  }

  #scribble(at) {
    const [x, y] = this.drag.points.at(-1);
    if (Math.hypot(at[0] - x, at[1] - y) >= 3) this.drag.points.push(at);
  }

  /** Find the object that the points mean, with those that ``more`` adds; one question after the other. */
  #snap(more) {
    const { index } = this.frames, id = this.object();
    this.snapped = this.snapped.then(async () => {
      if (index !== this.frames.index || id !== this.object()) return;
      const now = () => this.frames.labels.runs(id);
      const note = more(this.#note());
      if (note.prior === undefined) note.prior = now();
      const { marks, box, prior } = note;
      const mask = await api.snap(index, { marks, box, before: prior ?? (marks.length ? now() : null), corrects: Boolean(prior) });
      if (index === this.frames.index) this.frames.change((labels) => labels.replace(mask, id), note);
      this.show();
    }).catch(this.failed);
  }
}
