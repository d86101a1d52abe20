/**
 * What a page without a bundler needs, as JSON on standard output: modules by the names they are imported by, React's own among them, which npm
 * has as CommonJS only; and the JSX given on standard input, under "app". Argument: from which folder's packages React is taken.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

import ts from "typescript";

const require = createRequire(`${process.argv[2]}/package.json`);

/** What React's packages consist of, and what each asks for; before 19 the client was a few lines. @type {Record<string, [string, string[]]>} */
const PARTS = {
  react: ["react/cjs/react.development.js", []],
  "react/jsx-runtime": ["react/cjs/react-jsx-runtime.development.js", ["react"]],
  scheduler: ["scheduler/cjs/scheduler.development.js", []],
  ...(require("react").version.startsWith("18.")
    ? {
        "react-dom": ["react-dom/cjs/react-dom.development.js", ["react", "scheduler"]],
        "react-dom/client": ["react-dom/client.js", ["react-dom"]],
      }
    : {
        "react-dom": ["react-dom/cjs/react-dom.development.js", ["react"]],
        "react-dom/client": ["react-dom/cjs/react-dom-client.development.js", ["scheduler", "react", "react-dom"]],
      }),
};

/** @param {string} name @param {string} path @param {string[]} needs */
function asModule(name, path, needs) {
  const root = require.resolve(`${path.split("/")[0]}/package.json`).replace(/package\.json$/, "");
  const source = readFileSync(root + path.slice(path.indexOf("/") + 1), "utf-8");
  const imports = needs.map((need, index) => `import need${index} from ${JSON.stringify(need)};`).join("\n");
  const needed = needs.map((need, index) => `${JSON.stringify(need)}: need${index}`).join(", ");
  return `${imports}
const module = { exports: {} };
(function (module, exports, require, process) {
${source}
})(module, module.exports, (name) => ({ ${needed} })[name], { env: { NODE_ENV: "development" } });
export default module.exports;
export const { ${Object.keys(require(name)).join(", ")} } = module.exports;
`;
}

const jsx = { jsx: ts.JsxEmit.ReactJSX, target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
const modules = Object.fromEntries(Object.entries(PARTS).map(([name, [path, needs]]) => [name, asModule(name, path, needs)]));
modules.app = ts.transpileModule(await text(process.stdin), { compilerOptions: jsx, fileName: "app.jsx" }).outputText;
process.stdout.write(JSON.stringify(modules));
