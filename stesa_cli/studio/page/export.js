// The window for the results: formats, the same as a command line, and how far it is.

import * as api from "./api.js";

let tell = () => {};

export const tellExported = ({ done, of }) => tell(`${done} of ${of} frames`);

export async function openExport(find, { formats, save, output }, missing) {
  const [dialog, box, go] = ["export-dialog", "formats", "export-go"].map(find);
  tell = (text) => { find("export-message").textContent = text; };
  tell(missing ? `${missing} frames at the end are left out: their masks are still to be computed.` : "");
  find("export-where").textContent = `Into ${output}, with report.json and timeline.png, in place of earlier results.`;
  if (!box.querySelector("input"))
    for (const kind of formats) {
      const label = document.createElement("label");
      label.append(Object.assign(document.createElement("input"), { type: "checkbox", value: kind, checked: save.includes(kind) }), ` ${kind}`);
      box.append(label);
    }
  const chosen = () => [...box.querySelectorAll(":checked")].map(({ value }) => value);
  const refresh = async () => {
    go.disabled = !chosen().length;
    try {
      find("command").textContent = chosen().length ? await api.command(chosen()) : "";
    } catch (error) {
      tell(error.message);
    }
  };
  box.onchange = refresh;
  find("copy-command").onclick = () => navigator.clipboard.writeText(find("command").textContent).then(() => tell("copied"), () => tell("select it and copy"));
  go.onclick = async () => {
    go.disabled = true;
    try {
      const { frames, warnings } = await api.exportAs(chosen());
      tell([`${frames} frames written to ${output}`, ...warnings].join("; "));
    } catch (error) {
      tell(error.message);
    }
    go.disabled = false;
  };
  await refresh();
  dialog.showModal();
}
