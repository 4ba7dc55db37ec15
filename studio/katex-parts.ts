/**
 * Builds of KaTeX only what formulas of rules need, from its sources: half of its size.
 *
 * Commands that are left out are written in red, as unknown ones are; `tests/katex.test.ts` renders the formulas of all rules.
 */

import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const FONTS = ["Main-Regular", "Math-Italic", "Size1-Regular", "Size2-Regular", "Size3-Regular", "Size4-Regular"];
const FUNCTIONS = [
  "delimsizing", "font", "genfrac", "kern", "math", "mathchoice", "mclass", "op", "operatorname", "ordgroup", "relax", "sizing", "styling", "supsub",
  "symbolsOp", "symbolsOrd", "symbolsSpacing", "text",
];
const MACROS = ["quad", "qquad", ",", "thinspace", "tmspace", " ", "space"].map((name) => `\\\\${name}`);
/** Sizes that text in formulas has: normal, of indices, and of indices of these. */
const SIZES = ["1", "3", "6"];

const change: [string, (code: string) => string][] = [
  [
    "katex.min.css",
    (code) =>
      code
        .replace(/@font-face\{[^}]*\}/g, (face) => (FONTS.some((name) => face.includes(`KaTeX_${name}.woff2`)) ? face : ""))
        .replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("[^"]*"\)/g, "")
        .replaceAll("font-display:block", "font-display:swap")
        .replace(/\.katex \.fontsize-ensurer\.reset-size(\d+)\.size\d+,\.katex \.sizing\.reset-size\1\.size\d+\{[^}]*\}/g, (rule, from: string) =>
          SIZES.includes(from) ? rule : "",
        ),
  ],
  [
    "katex/src/functions.ts",
    (code) => code.replace(/import "\.\/(?:functions|environments)\/(\w+)";\n/g, (line, name: string) => (FUNCTIONS.includes(name) ? line : "")),
  ],
  ["katex/src/environments.ts", (code) => code.replace('import "./environments/array";', "")],
  ["katex/src/fontMetricsData.js", (code) => code.replace(/ {4}"([\w-]+)": \{[^}]*\},?\n/g, (font, name: string) => (FONTS.includes(name) ? font : ""))],
  ["katex/src/symbols.ts", (code) => code.replace(/^defineSymbol\(\w+, ams, .*\);\n/gm, "")],
  [
    "katex/src/macros.ts",
    (code) => code.replace(/^defineMacro\("((?:[^"\\]|\\.)*)",\s*"[^\n]*"\);\n/gm, (line, name: string) => (MACROS.includes(name) ? line : "")),
  ],
];

const still = fileURLToPath(new URL("./src/draw/still.ts", import.meta.url));

export function katexParts(): Plugin {
  return {
    name: "katex-parts",
    enforce: "pre",
    config: () => ({
      define: { __VERSION__: JSON.stringify("") },
      resolve: {
        alias: [
          { find: /^katex$/, replacement: "katex/katex.ts" },
          { find: /^d3-transition$/, replacement: still },
        ],
      },
    }),
    transform(code, id) {
      const path = id.split("?")[0].replaceAll("\\", "/");
      const found = change.find(([end]) => path.endsWith(end));
      return found ? found[1](code) : null;
    },
  };
}
