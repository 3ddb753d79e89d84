// The list of objects: colour, id, name, whether they are shown, and which one the tools draw.

import * as api from "./api.js";

export class Objects {
  constructor(list, view, names, changed) {
    Object.assign(this, { list, view, changed, names: new Map(Object.entries(names).map(([id, name]) => [Number(id), name])) });
    if (!this.names.size) this.names.set(1, "");
    this.chosen = Math.min(...this.names.keys());
    this.#fill();
  }

  /** Take up objects that a mask holds. */
  meet(ids) {
    const unknown = ids.filter((id) => !this.names.has(id));
    for (const id of unknown) this.names.set(id, "");
    if (unknown.length) this.#fill();
  }

  add() {
    let id = 1;
    while (this.names.has(id)) id++;
    if (id > 254) return;
    this.names.set(id, "");
    this.choose(id);
  }

  choose(id) {
    if (!this.names.has(id)) return;
    this.chosen = id;
    this.#fill();
    this.changed();
  }

  toggle(id) {
    const { hidden } = this.view;
    if (!hidden.delete(id)) hidden.add(id);
    this.#fill();
    this.changed();
  }

  #fill() {
    const rows = [...this.names].sort(([a], [b]) => a - b).map(([id, name]) => this.#row(id, name));
    this.list.replaceChildren(...rows);
  }

  #row(id, name) {
    const row = document.createElement("li"), chosen = id === this.chosen, hidden = this.view.hidden.has(id);
    if (chosen) row.setAttribute("aria-current", "true");
    const number = Object.assign(document.createElement("button"), { className: "id", textContent: id, title: `Draw object ${id}`, onclick: () => this.choose(id) });
    number.style.background = `rgb(${this.view.colour(id).join()})`;
    number.setAttribute("aria-label", `Object ${id}${chosen ? ", chosen" : ""}`);
    const text = Object.assign(document.createElement("input"), { value: name, placeholder: "name", maxLength: 80 });
    text.setAttribute("aria-label", `Name of object ${id}`);
    text.onchange = () => { this.names.set(id, text.value); api.name(id, text.value); };
    text.onkeydown = ({ key }) => key === "Enter" && text.blur();
    const eye = Object.assign(document.createElement("button"), { textContent: hidden ? "hidden" : "shown", title: "Hide or show (V)", onclick: () => this.toggle(id) });
    eye.setAttribute("aria-pressed", String(!hidden));
    row.append(number, text, eye);
    return row;
  }
}
