// The frame with its masks on a canvas: zoom, move, draw.

const TINT = 0.5;
const STRIPE = 12; // pixels of the frame
const STALE = "out of date: propagate to compute it anew (G)";

/** How much larger than usual the page's letters are: as much larger are marks and letters in its canvases. */
export const magnified = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;

export class View {
  constructor(canvas, palette, width, height) {
    Object.assign(this, { canvas, palette, width, height, scale: 1, x: 0, y: 0, picture: null, marks: {}, stale: false });
    this.pen = canvas.getContext("2d");
    this.layer = new OffscreenCanvas(width, height);
    this.hidden = new Set();
    this.places = [];
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  #resize() {
    const ratio = devicePixelRatio;
    this.canvas.width = this.canvas.clientWidth * ratio;
    this.canvas.height = this.canvas.clientHeight * ratio;
    this.fit();
  }

  fit() {
    const { canvas, width, height } = this;
    this.scale = Math.min(canvas.width / width, canvas.height / height) * 0.98;
    this.x = (canvas.width - width * this.scale) / 2;
    this.y = (canvas.height - height * this.scale) / 2;
    this.draw();
  }

  /** Zoom about a place of the canvas, in CSS pixels; its middle if none is given. */
  zoom(factor, at) {
    const ratio = devicePixelRatio, { canvas } = this;
    const [cx, cy] = at ? [at[0] * ratio, at[1] * ratio] : [canvas.width / 2, canvas.height / 2];
    const scale = Math.min(40, Math.max(0.05, this.scale * factor));
    this.x = cx - ((cx - this.x) * scale) / this.scale;
    this.y = cy - ((cy - this.y) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  move(dx, dy) {
    this.x += dx * devicePixelRatio;
    this.y += dy * devicePixelRatio;
    this.draw();
  }

  /** A place of the canvas, in CSS pixels, as one of the frame. */
  at(x, y) {
    return [(x * devicePixelRatio - this.x) / this.scale, (y * devicePixelRatio - this.y) / this.scale];
  }

  colour(id, bright = false) {
    return this.palette[id].map((value) => (bright ? Math.min(255, value * 2) : value));
  }

  css(id) {
    return `rgb(${this.colour(id, true).join()})`;
  }

  /** Tint the pixels of a label map, brighter along its edges; one that is out of date in stripes. */
  paint(labels) {
    const { width, height, data } = labels, image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const packed = (id, bright, alpha) => {
      const [r, g, b] = this.colour(id, bright);
      return (Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r;
    };
    const shown = this.palette.map((_, id) => id > 0 && id < 255 && !this.hidden.has(id));
    const tint = this.palette.map((_, id) => packed(id, false, TINT)), line = this.palette.map((_, id) => packed(id, true, 1));
    for (let y = 0, at = 0; y < height; y++)
      for (let x = 0; x < width; x++, at++) {
        const id = data[at];
        if (!shown[id] || (this.stale && (x + y) % STRIPE < STRIPE / 2)) continue;
        const edge = (x && data[at - 1] !== id) || (x < width - 1 && data[at + 1] !== id) ||
          (y && data[at - width] !== id) || (y < height - 1 && data[at + width] !== id);
        pixels[at] = edge ? line[id] : tint[id];
      }
    this.layer.getContext("2d").putImageData(image, 0, 0);
    this.places = labels.places().filter(([id]) => shown[id]);
    this.draw();
  }

  draw() {
    const { pen, canvas, scale } = this, px = devicePixelRatio * magnified();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.picture) return;
    pen.setTransform(scale, 0, 0, scale, this.x, this.y);
    pen.imageSmoothingEnabled = scale < 3;
    pen.drawImage(this.picture, 0, 0);
    pen.drawImage(this.layer, 0, 0);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    const to = ([x, y]) => [x * scale + this.x, y * scale + this.y];
    if (this.stale) this.#write(STALE, [canvas.width / 2, 18 * px], 15 * px);
    for (const [id, x, y] of this.places) this.#write(String(id), to([x, y]), 15 * px);
    this.#marks(to, px);
  }

  #marks(to, px) {
    const { pen } = this, { strokes = [], box, corners = [], cursor, radius } = this.marks;
    const outline = (draw) => {
      for (const [style, width] of [["#000", 3], ["#fff", 1.5]]) {
        Object.assign(pen, { strokeStyle: style, lineWidth: width * px });
        pen.beginPath();
        draw();
        pen.stroke();
      }
    };
    if (box) {
      const [x, y] = to(box);
      outline(() => pen.rect(x, y, box[2] * this.scale, box[3] * this.scale));
    }
    if (corners.length) outline(() => [...corners, ...(cursor ? [cursor] : [])].forEach((each) => pen.lineTo(...to(each))));
    for (const { points, plus } of strokes) {
      const [cx, cy] = to(points[0]);
      for (const [colour, more] of [["#fff", 1.5], [plus ? "#0a7d2c" : "#b3261e", 0]]) {
        Object.assign(pen, { strokeStyle: colour, fillStyle: colour, lineWidth: (4 + 2 * more) * px, lineJoin: "round", lineCap: "round" });
        pen.beginPath();
        points.forEach((each) => pen.lineTo(...to(each)));
        pen.stroke();
        pen.beginPath();
        pen.arc(cx, cy, (8 + more) * px, 0, 7);
        pen.fill();
      }
      this.#write(plus ? "+" : "−", [cx, cy], 15 * px);
    }
    if (cursor) {
      const [cx, cy] = to(cursor);
      outline(() => (radius ? pen.arc(cx, cy, radius * this.scale, 0, 7)
        : (pen.moveTo(cx - 7 * px, cy), pen.lineTo(cx + 7 * px, cy), pen.moveTo(cx, cy - 7 * px), pen.lineTo(cx, cy + 7 * px))));
    }
  }

  #write(text, [x, y], size) {
    Object.assign(this.pen, { font: `700 ${size}px system-ui`, textAlign: "center", textBaseline: "middle", lineWidth: size / 4, lineJoin: "round" });
    Object.assign(this.pen, { strokeStyle: "#000c", fillStyle: "#fff" });
    this.pen.strokeText(text, x, y);
    this.pen.fillText(text, x, y);
  }
}
