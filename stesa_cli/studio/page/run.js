// Propagation as the page shows it: what is missing, how far it is, how fast.

const seconds = (time) => (time < 60 ? `${Math.ceil(time)} s` : `${Math.floor(time / 60)} min ${Math.round(time % 60)} s`);

export class Run {
  constructor(find, tell) {
    Object.assign(this, { find, tell, isBusy: false, follows: false });
  }

  begin() {
    Object.assign(this, { isBusy: true, follows: true, done: 0, total: 0, since: 0, text: "starting" });
    this.tell("");
  }

  hear(event) {
    if (event.kind === "ended") {
      this.isBusy = this.follows = false;
      this.tell(event.error ?? "");
    } else if (!this.isBusy) this.begin(); // the page was opened during a run
    if (event.kind === "begun") this.total = event.total;
    if (event.kind === "loading") this.text = "loading the network";
    if (event.kind === "finetuning") this.text = `finetuning: step ${event.done} of ${event.of}`;
    if (event.kind === "frame") this.#count();
  }

  #count() {
    const now = performance.now() / 1000;
    this.since ||= now;
    this.done++;
    const speed = (this.done - 1) / (now - this.since);
    const left = this.total && speed ? `, ${seconds((this.total - this.done) / speed)} left` : "";
    this.text = `${this.done} of ${this.total || "?"} frames${speed ? `, ${speed.toFixed(1)} frames/s${left}` : ""}`;
  }

  show(frames, seen, count) {
    const { find } = this, first = Math.min(...frames.given), begun = Number.isFinite(first);
    const open = (from, to) => {
      let missing = 0;
      for (let frame = from; frame < to; frame++) missing += !(seen.has(frame) && frame < frames.fresh);
      return missing;
    };
    const [after, before] = begun ? [open(first, count), open(0, first)] : [0, 0];
    this.missing = after;
    for (const [way, able] of [["forwards", after], ["back", before], ["both", after && before]])
      document.querySelector(`[data-way="${way}"]`).disabled = this.isBusy || !able;
    find("progress").hidden = !this.isBusy;
    find("missing").hidden = this.isBusy;
    find("missing").textContent = !begun ? "Mark an object in any frame first."
      : after ? `${after} frames to compute${seen.size ? " after what you changed" : ""}.` : "All frames are done.";
    find("export").disabled = this.isBusy || !begun || !seen.has(first) || frames.fresh <= first;
    if (!this.isBusy) return;
    find("speed").textContent = this.text;
    find("bar").max = this.total || 1;
    find("bar").value = this.done;
  }
}
