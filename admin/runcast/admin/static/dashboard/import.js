// Playing a file that was exported before: the admin service reads it by the rules of the command line, and keeps it as a film.
import { ask, Refused } from "../session.js";
import { at, hint, text } from "./dom.js";

export const BYTES_MAX = 32 * 2 ** 20; // of the server's, which a browser does not hear while it still sends

/** What is wrong with a file before it is sent; "" for nothing. */
export const problemOf = (file) => (file.size > BYTES_MAX ? `${file.name}: it is larger than ${BYTES_MAX >> 20} MiB; export a run, or a span of time, or use \`runcast replay FILE\` (request_invalid)` : "");

function begin() {
  hint("import-problem", "");
  at("file").setAttribute("aria-invalid", "false");
}

async function play(file) {
  let problem = problemOf(file);
  begin();
  if (!problem) {
    at("import").setAttribute("aria-busy", "true");
    text(at("import-told"), `Reading ${file.name}.`);
    try {
      const { page } = await ask(`/replay/import?${new URLSearchParams({ speed: at("file-speed").value })}`, "POST", file);
      return void location.assign(page);
    } catch (error) {
      problem = `${file.name}: ${error instanceof Refused ? `${error.message} (${error.code})` : "it could not be sent: it was changed meanwhile, or nobody answers; choose it again"}`;
    } finally {
      at("import").removeAttribute("aria-busy");
      text(at("import-told"), "");
    }
  }
  hint("import-problem", problem);
  at("file").setAttribute("aria-invalid", "true");
}

if (globalThis.document) {
  at("file").addEventListener("change", begin);
  at("import").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!at("import").hasAttribute("aria-busy")) play(at("file").files[0]);
  });
}
