/**
 * The npm packages: of the browser client, `@runcast/client`, and of its React hooks, `@runcast/react`. Modules without their comments, which
 * are half of what a page would load, and types with them.
 *
 *     node edge/pack.mjs DIRECTORY [client|react] && npm pack DIRECTORY
 *
 * Goes: a comment that has its lines to itself, a type in the midst of a line, what follows ` // ` at the end of one, and indentation. The
 * modules keep to what that needs (no text over several lines, no ` // ` in one), so nothing has to be parsed; where they do not, this fails.
 * The same source gives the same package.
 */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PACKAGES = ["client", "react"];

/** @param {string} source */
function bare(source) {
  const code = source
    .replace(/^[ \t]*\/\*\*(?:(?!\*\/)[^])*\*\/[ \t]*\n/gm, "")
    .replace(/^[ \t]*\/\/.*\n/gm, "")
    .replace(/\/\*\* (?:@type|@param|@returns) [^*]*\*\/ /g, "")
    .replace(/([;,{})]) \/\/ .*$/gm, "$1")
    .replace(/^[ \t]+/gm, "")
    .replace(/\n{2,}/g, "\n")
    .trimStart();
  const odd = code.split("\n").find((line) => / \/\/ |\/\*/.test(line) || line.split("`").length % 2 === 0);
  if (odd !== undefined) throw new Error(`write this otherwise, it can't be packed: ${odd}`);
  return code;
}

const [target, which = "client"] = process.argv.slice(2);
if (!target || !PACKAGES.includes(which)) throw new Error(`say where to, and which: node edge/pack.mjs DIRECTORY [${PACKAGES.join("|")}]`);
const from = new URL(`runcast/edge/static/${which}/`, import.meta.url);
mkdirSync(target, { recursive: true });
for (const name of readdirSync(from)) {
  const source = readFileSync(new URL(name, from), "utf-8");
  writeFileSync(join(target, name), name.endsWith(".js") ? bare(source) : source);
}
writeFileSync(join(target, "LICENSE"), readFileSync(new URL("../LICENSE", import.meta.url)));
