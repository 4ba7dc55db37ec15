import { describe, expect, it } from "vitest";
import { label, plain, tex, texNumber, words } from "../src/formula/tex";
import { PARAMETERS, adjust, asUnified, tenOf, vanishes } from "../src/formula/unified";

const catalog = [
  { name: "Epsilon", formula: "R_i = \\sum_j \\frac{a_i w_{ij}}{z_j + @epsilon@} R_j", parameters: [{ name: "epsilon", default: 1e-6 }] },
];

describe("numbers", () => {
  it("are written as people write them", () => {
    expect([0, 1, 0.25, 1e-6, 2.5e-7, 123456, -0.5].map(plain)).toEqual(["0", "1", "0.25", "1e-6", "2.5e-7", "1.23e5", "-0.5"]);
    expect(texNumber(1e-6)).toBe("10^{-6}");
    expect(texNumber(2.5e-7)).toBe("2.5\\cdot 10^{-7}");
  });
});

describe("the ten parameters", () => {
  it("hold the table of special cases", () => {
    expect(tenOf({ class: "ZRule" })).toMatchObject({ alpha: 1, beta: 0, theta0: 0, theta1: 1, gamma1: 1, epsilon: 0 });
    expect(tenOf({ class: "Epsilon", epsilon: 0.3 })).toMatchObject({ gamma1: 1, epsilon: 0.3 });
    expect(tenOf({ class: "Gamma", gamma: 0.5 })).toMatchObject({ gamma1: 1, gamma1p: 0.5 });
    expect(tenOf({ class: "AlphaBeta", alpha: 3, beta: 2 })).toMatchObject({ alpha: 3, beta: 2, gamma1: 0, gamma1p: 1 });
    expect(tenOf({ class: "WSquare" })).toMatchObject({ theta0: 1, theta1: 0, gamma2: 1 });
    expect(tenOf({ class: "Flat" })).toMatchObject({ theta0: 1, theta1: 0, gamma0: 1 });
    expect(tenOf({ class: "ZBox", low: 0, high: 1 })).toBeNull();
  });

  it("keep a named rule while its own parameter moves", () => {
    expect(adjust({ class: "Epsilon", epsilon: 0 }, "epsilon", 0.2)).toEqual({ class: "Epsilon", epsilon: 0.2 });
    expect(adjust({ class: "Gamma", gamma: 0 }, "gamma1p", 0.2)).toEqual({ class: "Gamma", gamma: 0.2 });
    expect(adjust({ class: "AlphaBeta", alpha: 1, beta: 0 }, "alpha", 2.3)).toEqual({ class: "AlphaBeta", alpha: 2.3, beta: 1.3 });
    expect(adjust({ class: "AlphaBeta", alpha: 1, beta: 0 }, "beta", 1)).toEqual({ class: "AlphaBeta", alpha: 2, beta: 1 });
  });

  it("turn a rule into the unified one where another moves", () => {
    const rule = adjust({ class: "Epsilon", epsilon: 0.2, bias: false }, "theta0", 0.5);
    expect(rule).toMatchObject({ class: "Unified", theta0: 0.5, theta1: 1, gamma1: 1, epsilon: 0.2, bias: false });
    expect(adjust({ class: "AlphaBeta", alpha: 2, beta: 1 }, "alpha", 0.5)).toMatchObject({ class: "Unified", alpha: 0.5, beta: 1, m: [0, 0, 0, 1, 0] });
    expect(adjust({ class: "Flat" }, "gamma2", 1)).toMatchObject({ class: "Unified", gamma0: 1, gamma2: 1, theta1: 0 });
    expect(asUnified({ class: "ZBox" })).toBeNull();
    expect(adjust({ class: "Pass" }, "alpha", 2)).toEqual({ class: "Pass" });
  });

  it("say where every contribution would vanish", () => {
    const ten = tenOf({ class: "ZRule" })!;
    expect(vanishes(ten)).toBeNull();
    expect(vanishes({ ...ten, theta1: 0 })).toMatch("θ");
    expect(vanishes({ ...ten, gamma1: 0 })).toMatch("weight effects");
    expect(PARAMETERS).toHaveLength(10);
  });
});

describe("formulas", () => {
  it("put the values in the catalog's formula", () => {
    expect(tex({ class: "Epsilon", epsilon: 0.25 }, catalog)).toContain("z_j + 0.25");
    expect(tex({ class: "Epsilon" }, catalog)).toContain("z_j + 10^{-6}");
  });

  it("leave out what is zero in the unified one", () => {
    const flat = tex({ class: "Unified", theta0: 1, theta1: 0, gamma0: 1 }, []);
    expect(flat).toBe("R_i = \\sum_j \\frac{1}{\\sum_i 1} R_j");
    const epsilon = tex({ class: "Unified", gamma1: 1, epsilon: 0.5 }, []);
    expect(epsilon).toBe("R_i = \\sum_j \\frac{a_iw_{ij}}{0.5 + \\sum_i a_iw_{ij}} R_j");
    const square = tex({ class: "Unified", theta0: 1, theta1: 0, gamma2: 1 }, []);
    expect(square).toBe("R_i = \\sum_j \\frac{w_{ij}^{2}}{\\sum_i w_{ij}^{2}} R_j");
  });

  it("name long contributions on a line of their own", () => {
    const text = tex({ class: "Unified", theta0: 0.5, gamma0: 0.2, gamma1: 1, gamma1p: 0.3, gamma2: 0.1, beta: 1 }, []);
    expect(text).toContain("N_{ij} = (0.5 + a_i)(0.2 + w_{ij} + 0.3\\,w_{ij}^{+} + 0.1\\,w_{ij}^{2})");
    expect(text.split("\n")).toHaveLength(2);
  });

  it("write alpha and beta with both fractions", () => {
    const text = tex({ class: "Unified", alpha: 2, beta: 1, gamma1p: 1, m: [0, 0, 0, 1, 0] }, []);
    expect(text).toContain("2\\,\\frac{a_iw_{ij}^{+}}");
    expect(text).toContain("- \\frac{a_iw_{ij}^{-}}");
  });

  it("have names that are read aloud", () => {
    const titles = ["\\text{custom}", "\\text{LRP-}\\varepsilon", "\\text{LRP-}\\alpha_1\\beta_0", "\\text{LRP-}w^2", "\\text{LRP-}z^{\\mathcal{B}}"];
    expect(titles.map(words)).toEqual(["custom", "LRP-ε", "LRP-α1\u200bβ0\u200b", "LRP-w2", "LRP-zB"]);
  });

  it("have a short name", () => {
    expect(label({ class: "AlphaBeta", alpha: 1, beta: 0 })).toBe("LRP-α1β0");
    expect(label({ class: "Epsilon", epsilon: 0.25 })).toBe("LRP-ε, ε = 0.25");
  });
});
