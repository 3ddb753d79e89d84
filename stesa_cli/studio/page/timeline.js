// Area and confidence of each object over the video, which frames are given, which are done, and which to look at.

import { magnified } from "./view.js";

const DOUBT = 0.8; // mean probability below which a frame is doubtful
const LEFT = 76; // pixels of the captions, on a page with letters of the usual size

/** The frames to look at: where an object is lost (area 0 after it was there), and where one begins to be doubtful. */
export function doubts(seen, count) {
  const found = new Map();
  let before = {};
  for (let frame = 0; frame < count; frame++) {
    const now = seen.get(frame);
    if (!now) { before = {}; continue; }
    for (const [id, [area, sure]] of Object.entries(now)) {
      const was = before[id];
      if (was?.[0] && !area) found.set(frame, { id, lost: true });
      else if (area && sure < DOUBT && !(was?.[0] && was[1] < DOUBT)) found.set(frame, found.get(frame) ?? { id, lost: false });
    }
    before = now;
  }
  return found;
}

export class Timeline {
  constructor(canvas, colour, seek) {
    Object.assign(this, { canvas, colour });
    this.pen = canvas.getContext("2d");
    const go = (event) => seek(this.#frameAt(event.offsetX));
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
    canvas.addEventListener("pointermove", (event) => event.buttons && go(event));
    new ResizeObserver(() => this.data && this.draw(this.data)).observe(canvas);
  }

  get #width() { return this.canvas.clientWidth / magnified(); }

  #frameAt(x) {
    const { count } = this.data, share = (x / magnified() - LEFT) / (this.#width - LEFT - 8);
    return Math.max(0, Math.min(count - 1, Math.round(share * (count - 1))));
  }

  /** ``seen``: frame → {id: [area, mean probability]}; ``fresh``: the first frame whose result no longer holds. */
  draw(data) {
    this.data = data;
    const { canvas, pen } = this, ratio = devicePixelRatio;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    pen.setTransform(ratio * magnified(), 0, 0, ratio * magnified(), 0, 0);
    pen.font = "11px system-ui";
    const { count, frame, seen, fresh, prompts, hidden } = data;
    const width = this.#width - LEFT - 8, x = (at) => LEFT + (count > 1 ? (at / (count - 1)) * width : 0);
    const step = Math.max(1, width / Math.max(1, count - 1));
    this.#captions();
    for (const [at] of seen) {
      pen.fillStyle = at < fresh ? "#5b87b8" : "#4a4f59";
      pen.fillRect(x(at) - step / 2, 20, step, at < fresh ? 5 : 2);
    }
    const most = Math.max(1, ...[...seen.values()].flatMap((of) => Object.values(of).map(([area]) => area)));
    this.named = 0;
    for (const id of new Set([...seen.values()].flatMap(Object.keys))) {
      if (hidden.has(Number(id))) continue;
      this.named++;
      this.#curve(id, seen, fresh, x, ([area]) => 70 - (40 * area) / most);
      this.#curve(id, seen, fresh, x, ([area, sure]) => (area ? 114 - 38 * sure : null));
    }
    for (const [at, { lost }] of data.doubts) this.#sign(lost ? "✕" : "▲", x(at), lost ? "#ff8b80" : "#ffd479");
    for (const at of prompts) this.#sign("◆", x(at), "#fff");
    pen.fillStyle = "#fff";
    pen.fillRect(x(frame) - 1, 16, 2, 102);
  }

  #captions() {
    const { pen } = this;
    pen.textAlign = "left";
    pen.fillStyle = "#a5adbb";
    for (const [text, y] of [["frames", 22], ["area", 50], ["confidence", 95]]) pen.fillText(text, 0, y);
    pen.fillStyle = "#343a45";
    for (const y of [27, 72, 115]) pen.fillRect(LEFT, y, 1e5, 1);
  }

  #curve(id, seen, fresh, x, y) {
    const { pen } = this;
    pen.strokeStyle = this.colour(id);
    pen.lineWidth = 1.5;
    pen.beginPath();
    let last = -2, name = null;
    for (const at of [...seen.keys()].sort((a, b) => a - b)) {
      const value = seen.get(at)[id], high = value && y(value);
      if (high === undefined || high === null) continue;
      if (at === last + 1) pen.lineTo(x(at), high);
      else pen.moveTo(x(at), high), pen.lineTo(x(at) + 1, high);
      [last, name] = [at, [x(at), high]];
    }
    pen.stroke();
    if (!name) return;
    pen.fillStyle = "#fff";
    pen.textAlign = "right";
    pen.fillText(id, Math.min(name[0], this.#width - 2) - 14 * (this.named - 1), name[1] - 2); // beside others
  }

  #sign(text, x, colour) {
    this.pen.fillStyle = colour;
    this.pen.textAlign = "center";
    this.pen.fillText(text, x, 13);
  }
}
