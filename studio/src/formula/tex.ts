/** Formulas of rules: LaTeX for the page, plain text for exported pictures. */

import type { Rule, Value } from "../state/segments";
import { tenOf, type Ten } from "./unified";

/** A number as people write it: 0.25, 1e-6. */
export function plain(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(4)));
  return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
}

export function texNumber(value: number): string {
  const [digits, exponent] = plain(value).split("e");
  if (exponent === undefined) return digits;
  return digits === "1" ? `10^{${exponent}}` : `${digits}\\cdot 10^{${exponent}}`;
}

/** "a + 2b - c": terms with a factor of 0 are left out, 1 is not written. */
function sum(terms: [number, string][]): string {
  const written = terms
    .filter(([factor]) => factor !== 0)
    .map(([factor, symbol], i) => {
      const sign = factor < 0 ? (i ? " - " : "-") : i ? " + " : "";
      const size = Math.abs(factor);
      if (!symbol) return sign + texNumber(size);
      return sign + (size === 1 ? symbol : `${texNumber(size)}\\,${symbol}`);
    });
  return written.join("") || "0";
}

const W = "w_{ij}";
type Gammas = [number, number, number, number, number];

function contribution(ten: Ten, [g0, g1, g1p, g1n, g2]: Gammas): string {
  const weights: [number, string][] = [[g0, ""], [g1, W], [g1p, `${W}^{+}`], [g1n, `${W}^{-}`], [g2, `${W}^{2}`]];
  const used = weights.filter(([factor]) => factor !== 0).length;
  const activation = sum([[ten.theta0, ""], [ten.theta1, "a_i"]]);
  const weight = sum(weights);
  const left = ten.theta0 !== 0 && ten.theta1 !== 0 ? `(${activation})` : activation;
  const right = used > 1 ? `(${weight})` : weight;
  if (left === "1") return used > 1 ? weight : right;
  if (right === "1") return left.replace(/^\(|\)$/g, "");
  return left + right;
}

function fraction(top: string, epsilon: number): string {
  const below = top === "1" ? "\\sum_i 1" : `\\sum_i ${/[+-]/.test(top.replace(/[_^]\{[^}]*\}/g, "")) && !top.includes("(") ? `(${top})` : top}`;
  return `\\frac{${top}}{${epsilon ? `${texNumber(epsilon)} + ` : ""}${below}}`;
}

function unified(rule: Rule, ten: Ten): string {
  const gammas: Gammas = [ten.gamma0, ten.gamma1, ten.gamma1p, ten.gamma1n, ten.gamma2];
  const n = contribution(ten, gammas);
  const m = Array.isArray(rule.m) ? contribution(ten, rule.m as Gammas) : n;
  const long = n.length > 34 || m.length > 34;
  const names = long ? ["N_{ij}", m === n ? "N_{ij}" : "M_{ij}"] : [n, m];
  const first = fraction(names[0], ten.epsilon);
  const second = fraction(names[1], ten.epsilon);
  const inner = ten.beta ? `\\left(${sum([[ten.alpha, first], [-ten.beta, second]])}\\right)` : sum([[ten.alpha, first]]);
  const line = `R_i = \\sum_j ${inner} R_j`;
  if (!long) return line;
  return [line, `N_{ij} = ${n}`, ...(m === n ? [] : [`M_{ij} = ${m}`])].join("\n");
}

function shown(value: Value | undefined): string {
  if (typeof value === "number") return texNumber(value);
  if (Array.isArray(value)) return `(${value.map(shown).join(", ")})`;
  if (value !== null && typeof value === "object") return shown(value.epsilon);
  return value === null || value === undefined ? "\\cdot" : `\\text{${String(value)}}`;
}

export interface RuleText {
  name: string;
  formula: string;
  parameters: { name: string; default: unknown }[];
}

/** The formula of a rule with its numbers, in lines: the catalog's, @name@ replaced by the parameter's value; that of `Unified` is shortened. */
export function tex(rule: Rule, catalog: RuleText[]): string {
  const ten = tenOf(rule);
  if (rule.class === "Unified" && ten) return unified(rule, ten);
  const kind = catalog.find((entry) => entry.name === rule.class);
  if (!kind) return `\\text{${rule.class}}`;
  const values = new Map(kind.parameters.map((p) => [p.name, rule[p.name] ?? (p.default as Value)]));
  return kind.formula.replace(/@(\w+)@/g, (_, name: string) => shown(values.get(name)));
}

/** A rule in one line, "LRP-ε, ε = 0.25". */
export function label(rule: Rule): string {
  const n = (name: string, fallback: number) => plain(typeof rule[name] === "number" ? (rule[name] as number) : fallback);
  switch (rule.class) {
    case "ZRule":
      return "LRP-0";
    case "Epsilon":
      return `LRP-ε, ε = ${n("epsilon", 1e-6)}`;
    case "Gamma":
      return `LRP-γ, γ = ${n("gamma", 0.25)}`;
    case "AlphaBeta":
      return `LRP-α${n("alpha", 2)}β${n("beta", 1)}`;
    case "ZPlus":
      return "LRP-z⁺";
    case "WSquare":
      return "LRP-w²";
    case "Flat":
      return "LRP-flat";
    case "ZBox":
      return "LRP-zᴮ";
    case "Sign":
      return "LRP-SIGN";
    case "Unified":
      return "Custom";
    default:
      return rule.class;
  }
}

const LETTERS: Record<string, string> = { varepsilon: "ε", epsilon: "ϵ", alpha: "α", beta: "β", gamma: "γ", theta: "θ", mathcal: "" };

/** LaTeX of a short name as plain text; KaTeX writes a space of no width after an index, and so does this, so that both agree. */
export function words(text: string): string {
  return text
    .replace(/\\text\{([^}]*)\}/g, "$1")
    .replace(/\\([a-z]+)/g, (_, name: string) => LETTERS[name] ?? name)
    .replace(/_(\w)/g, "$1\u200b")
    .replace(/[{}_^\s]/g, "");
}
