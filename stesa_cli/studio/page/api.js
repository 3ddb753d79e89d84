// What the page asks of the server, and the events it hears. Frames and masks go by the number of their frame.

let seat = "";

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "x-seat": seat } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const bytes = async (answer) => new Uint8Array(await answer.arrayBuffer());
const kinds = (save) => `save=${encodeURIComponent(save.join(","))}`;

export const state = async () => (await ask("state")).json();
export const picture = async (frame) => createImageBitmap(await (await ask(`frames/${frame}`)).blob());
export const mask = async (frame) => bytes(await ask(`masks/${frame}`));
export const give = async (frame, labels) => (await ask(`masks/${frame}`, { method: "PUT", body: labels })).json();
export const name = (id, text) => ask(`names/${id}`, { method: "PUT", body: text });
export const snap = async (frame, asked) => bytes(await ask(`snap/${frame}`, { method: "POST", body: JSON.stringify(asked) }));
export const propagate = (way) => ask(`propagate/${way}`, { method: "POST" });
export const stop = () => ask("stop", { method: "POST" });
export const command = async (save) => (await (await ask(`command?${kinds(save)}`)).json()).command;
export const exportAs = async (save) => (await ask(`export?${kinds(save)}`, { method: "POST" })).json();
export const finish = () => ask("finish", { method: "POST" });

/** Take the seat of the one tab that may change anything; resolves when it is ours. */
export function listen(hear, closed) {
  return new Promise((ready) => {
    const socket = new WebSocket(new URL("events", location.href.replace(/^http/, "ws")));
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.kind !== "seat") return hear(event);
      seat = event.seat;
      ready();
    };
    socket.onclose = ({ code }) => closed(code === 4409);
  });
}
