// The page as a whole: what it shows of the session, and what keys and buttons do.

import * as api from "./api.js";
import { openExport, tellExported } from "./export.js";
import { Frames } from "./frames.js";
import { Objects } from "./objects.js";
import { Run } from "./run.js";
import { Timeline, doubts } from "./timeline.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const tell = (text) => { $("message").textContent = text; };
const failed = (error) => tell(error.message);
const run = new Run($, tell);

function closed(taken) {
  $("closed-text").textContent = taken
    ? "This studio is open in another tab. Close that one, or go on there."
    : "The studio has ended. Start it again with stesa studio: nothing is lost.";
  $("closed").showModal();
}
$("reload").onclick = () => location.reload();

await api.listen((event) => hear(event), closed);
const info = await api.state();
const count = info.times.length;
const seen = new Map(Object.entries(info.seen).map(([frame, of]) => [Number(frame), of]));
const frames = new Frames(info, changed, failed);
const view = new View($("view"), info.palette, info.width, info.height);
const objects = new Objects($("objects"), view, info.objects, () => { tools.show(); frames.changed(); });
const tools = new Tools(view, frames, () => objects.chosen, failed);
const timeline = new Timeline($("timeline"), (id) => view.css(id), (frame) => go(frame));
const busy = () => run.isBusy;
const canDraw = () => !busy() && view.picture && frames.wanted === frames.index;

$("name").textContent = info.name;
$("described").textContent = info.described;
$("frame").max = count - 1;
document.title = `${info.name} – STESA studio`;
if (info.mask_of !== null) {
  for (const id of ["run", "transport", "timeline", "copy"]) $(id).hidden = true;
  $("only").hidden = false;
  $("target").textContent = `The mask of frame ${info.mask_of} becomes ${info.mask_path}`;
}

/** Whether the mask of a frame was made before something that it follows from was changed. */
const isStale = (frame) => seen.has(frame) && frame >= frames.fresh && !frames.given.has(frame);

function changed() {
  objects.meet(frames.labels.ids());
  view.stale = isStale(frames.index);
  $("view").setAttribute("aria-label", `The frame and its masks${view.stale ? ", which are out of date" : ""}`);
  view.paint(frames.labels);
  tools.show();
  refresh();
}

let marked = new Map();
function refresh() {
  marked = doubts(seen, count);
  timeline.draw({ count, frame: frames.index, seen, fresh: frames.fresh, prompts: frames.given, hidden: view.hidden, doubts: marked });
  const { of } = frames.history;
  $("undo").disabled = busy() || !of.canUndo;
  $("redo").disabled = busy() || !of.canRedo;
  $("copy").disabled = busy() || frames.index === 0;
  $("remove").disabled = busy() || !frames.given.has(frames.index);
  $("doubt-before").disabled = ![...marked.keys()].some((frame) => frame < frames.index);
  $("doubt-next").disabled = ![...marked.keys()].some((frame) => frame > frames.index);
  for (const button of document.querySelectorAll("[data-tool]")) button.disabled = busy();
  run.show(frames, seen, count);
}

async function go(frame) {
  const index = Math.max(0, Math.min(count - 1, Math.round(frame)));
  if (tools.drag) return;
  try {
    const picture = await frames.show(index);
    if (!picture) return;
    tools.corners = [];
    view.picture = picture;
    $("frame").value = index;
    $("time").textContent = `of ${count - 1}, ${info.times[index].toFixed(2)} s`;
    const doubt = marked.get(index);
    $("timeline").setAttribute("aria-valuenow", index);
    tell(doubt ? `object ${doubt.id} is ${doubt.lost ? "lost" : "doubtful"} from here on` : "");
    changed();
    for (const near of [index + 1, index - 1]) if (near >= 0 && near < count) frames.picture(near).catch(() => {});
  } catch (error) {
    frames.wanted = frames.index;
    failed(error);
  }
}

const move = (frame) => { run.follows = false; go(frame); };
function hear(event) {
  if (event.kind === "exported") return tellExported(event);
  if (event.kind === "frame") {
    seen.set(event.frame, event.seen);
    if (run.follows) setTimeout(() => run.follows && go(event.frame), 300);
  }
  run.hear(event);
  if (event.kind === "ended") frames.forget(), reload();
  refresh();
}

/** What the server has now is what holds. */
async function reload() {
  const now = await api.state();
  seen.clear();
  for (const [frame, of] of Object.entries(now.seen)) seen.set(Number(frame), of);
  Object.assign(frames, { given: new Set(now.prompts), fresh: now.fresh });
  await go(frames.wanted);
}

async function propagate(way) {
  if (busy() || document.querySelector(`[data-way="${way}"]`).disabled) return;
  try {
    await frames.flush();
    run.begin();
    refresh();
    await api.propagate(way);
    for (const frame of seen.keys()) if (frame >= frames.fresh) seen.delete(frame);
    frames.fresh = count;
  } catch (error) {
    run.hear({ kind: "ended", error: error.message });
    refresh();
  }
}

async function copyLast() {
  const mask = await api.mask(frames.index - 1);
  frames.change((labels) => labels.data.set(mask));
}

async function remove() {
  await frames.remove();
  await go(frames.index);
}

async function finish() {
  await frames.flush();
  await api.finish();
}

const nextDoubt = (way) => {
  const others = [...marked.keys()].filter((frame) => way * (frame - frames.index) > 0);
  if (others.length) move(way > 0 ? Math.min(...others) : Math.max(...others));
};
const resize = (factor) => {
  $("size").value = tools.radius = Math.max(1, Math.min(80, Math.round(tools.radius * factor + (factor > 1 ? 1 : -1) / 2)));
  tools.show();
};
const choose = (tool) => {
  tools.choose(tool);
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.ariaPressed = String(button.dataset.tool === tool);
    if (button.dataset.tool === tool) $("hint").textContent = button.dataset.hint;
  }
};
const later = (work) => () => { if (!busy()) work().catch(failed); };

const actions = {
  undo: () => busy() || frames.undo(),
  redo: () => busy() || frames.redo(),
  copy: later(() => (frames.index ? copyLast() : Promise.resolve())),
  remove: later(remove),
  new: () => objects.add(),
  first: () => move(0),
  last: () => move(count - 1),
  previous: () => move(frames.index - 1),
  next: () => move(frames.index + 1),
  "doubt-before": () => nextDoubt(-1),
  "doubt-next": () => nextDoubt(1),
  stop: () => run.isBusy && api.stop().catch(failed),
  export: () => $("export").disabled || frames.flush().then(() => openExport($, info, run.missing)).catch(failed),
  finish: () => finish().catch(failed),
  "help-button": () => $("help").showModal(),
};
for (const [id, act] of Object.entries(actions)) $(id).onclick = act;
for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => choose(button.dataset.tool);
for (const button of document.querySelectorAll("[data-way]")) button.onclick = () => propagate(button.dataset.way);
$("size").oninput = (event) => { tools.radius = Number(event.target.value); };
$("frame").onchange = (event) => move(Number(event.target.value));

const video = info.mask_of === null;
const keys = {
  c: () => choose("points"), r: () => choose("box"), b: () => choose("brush"), e: () => choose("eraser"), p: () => choose("polygon"),
  "[": () => resize(0.8), "]": () => resize(1.25),
  z: actions.undo, Z: actions.redo, Delete: actions.remove,
  n: actions.new, v: () => objects.toggle(objects.chosen),
  "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), 0: () => view.fit(),
  Escape: () => tools.cancel(), "?": actions["help-button"],
  ...(video && {
    ArrowLeft: (shift) => move(frames.index - (shift ? 10 : 1)), ArrowRight: (shift) => move(frames.index + (shift ? 10 : 1)),
    Home: actions.first, End: actions.last, ",": actions["doubt-before"], ".": actions["doubt-next"],
    d: actions.copy, g: () => propagate("forwards"), G: () => propagate("back"), a: () => propagate("both"),
    s: actions.stop, x: actions.export,
  }),
};
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.target.matches("input:not([type=range])")) return;
  if (event.key === " ") return event.target === $("view") && (event.preventDefault(), (pen.pans = true));
  if (event.ctrlKey || event.metaKey) {
    const act = { z: event.shiftKey ? actions.redo : actions.undo, y: actions.redo, Enter: !video && actions.finish }[event.key.toLowerCase()];
    return act && (event.preventDefault(), act());
  }
  if (event.altKey) return;
  if (event.target === $("view") && penKey(event)) return event.preventDefault();
  if (/^[1-9]$/.test(event.key)) return objects.choose(Number(event.key));
  const act = keys[event.key];
  if (!act || (event.target.matches("input[type=range]") && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act(event.shiftKey);
});
addEventListener("keyup", (event) => { if (event.key === " ") pen.pans = false; });

// the pen: a pointer, or the keys I, J, K, L and Enter
const pen = { pans: false, pan: null };
const canvas = $("view");
const place = (event) => view.at(event.offsetX, event.offsetY);
canvas.oncontextmenu = (event) => event.preventDefault();
canvas.onpointerdown = (event) => {
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  if (event.button === 1 || pen.pans) pen.pan = [event.offsetX, event.offsetY];
  else if (canDraw()) tools.press(place(event), event.button === 2 || event.shiftKey);
};
canvas.onpointermove = (event) => {
  if (!pen.pan) return tools.move(place(event));
  view.move(event.offsetX - pen.pan[0], event.offsetY - pen.pan[1]);
  pen.pan = [event.offsetX, event.offsetY];
};
canvas.onpointerup = () => { pen.pan ? (pen.pan = null) : tools.lift(); };
canvas.onpointerleave = () => tools.drag || tools.show(null);
canvas.onwheel = (event) => { event.preventDefault(); view.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, [event.offsetX, event.offsetY]); };
$("timeline").onwheel = (event) => { event.preventDefault(); move(frames.index + Math.sign(event.deltaY)); };

function penKey({ key, shiftKey }) {
  const way = { i: [0, -1], k: [0, 1], j: [-1, 0], l: [1, 0] }[key.toLowerCase()];
  const at = view.marks.cursor ?? [view.width / 2, view.height / 2];
  if (way) tools.move(at.map((side, axis) => Math.max(0, Math.min([view.width, view.height][axis], side + way[axis] * (shiftKey ? 20 : 2)))));
  else if (key === "Enter" && tools.drag) tools.lift();
  else if (key === "Enter" && tools.isAtCorner(at)) tools.close();
  else if (key === "Enter" || key === "m") canDraw() && tools.press(at, key === "m");
  else return false;
  return true;
}

choose("points");
await go(info.mask_of ?? Math.min(...info.prompts, 0));
