/** The part of KaTeX that is built writes every formula that the page can show. */

import katex from "katex";
import { describe, expect, it } from "vitest";
import { tex } from "../src/formula/tex";
import { PARAMETERS, SYMBOLS } from "../src/formula/unified";

const rendered = (text: string) => katex.renderToString(text, { output: "html", throwOnError: true, displayMode: true });

describe("formulas", () => {
  it("of custom rules are rendered", () => {
    const values = [0, 0.5, 1, -1, 1e-6];
    for (let i = 0; i < 200; i++) {
      const rule = { class: "Unified", gamma1: 1, ...Object.fromEntries(PARAMETERS.map((name, p) => [name, values[(i * (p + 3) + (i >> p)) % 5]])) };
      for (const line of tex(rule, []).split("\n")) expect(rendered(line)).not.toContain("katex-error");
    }
  });

  it("and symbols use nothing that was left out", () => {
    const symbols = Object.values(SYMBOLS);
    const catalog = ["\\mathrm{sign}(a_i - 0.5) \\sum_j \\frac{w_{ij}}{\\sum_i a_i w_{ij}}", "\\tfrac{1}{2} R_j,\\ R_b", "\\left[ 2 \\frac{N_{ij}}{x} \\right], \\quad N",
      "\\text{LRP-}z^{B}", "\\text{LRP-}\\varepsilon", "\\max(|z|, \\varepsilon)", "\\varepsilon \\|z\\|", "[i = \\mathrm{argmax}_k\\, a_k]", "\\mu + \\delta \\cdot 10^{-6}"];
    for (const text of [...symbols, ...catalog]) expect(rendered(text)).not.toContain("katex-error");
  });
});
