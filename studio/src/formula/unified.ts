/** The ten parameters of the unified formula, and how the named rules are special cases of it. */

import type { Rule, Value } from "../state/segments";

export const GROUPS = [
  { id: "contribution", title: "Contribution", parameters: ["alpha", "beta"] },
  { id: "activation", title: "Activation", parameters: ["theta0", "theta1"] },
  { id: "weight", title: "Weight", parameters: ["gamma0", "gamma1", "gamma1p", "gamma1n", "gamma2"] },
  { id: "suppression", title: "Suppression", parameters: ["epsilon"] },
] as const;

export type Parameter = (typeof GROUPS)[number]["parameters"][number];
export const PARAMETERS = GROUPS.flatMap((group) => group.parameters as readonly Parameter[]);

export type Ten = Record<Parameter, number>;

const NONE: Ten = { alpha: 1, beta: 0, theta0: 0, theta1: 1, gamma0: 0, gamma1: 0, gamma1p: 0, gamma1n: 0, gamma2: 0, epsilon: 0 };

export const SYMBOLS: Record<Parameter, string> = {
  alpha: "\\alpha",
  beta: "\\beta",
  theta0: "\\theta_0",
  theta1: "\\theta_1",
  gamma0: "\\gamma_0",
  gamma1: "\\gamma_1",
  gamma1p: "\\gamma_{1p}",
  gamma1n: "\\gamma_{1n}",
  gamma2: "\\gamma_2",
  epsilon: "\\epsilon",
};

/** The ends and steps of the sliders; other values are typed. */
export const SLIDERS: Record<Parameter, { from: number; to: number; step: number; meaning: string }> = {
  alpha: { from: 0, to: 4, step: 0.05, meaning: "weight of the positive contributions" },
  beta: { from: 0, to: 3, step: 0.05, meaning: "weight of the negative contributions" },
  theta0: { from: 0, to: 1, step: 0.05, meaning: "share that every input has, whatever its activation" },
  theta1: { from: 0, to: 1, step: 0.05, meaning: "effect of the activation" },
  gamma0: { from: 0, to: 1, step: 0.05, meaning: "share that every connection has, whatever its weight" },
  gamma1: { from: 0, to: 1, step: 0.05, meaning: "effect of the weight" },
  gamma1p: { from: 0, to: 2, step: 0.05, meaning: "effect of the positive weights" },
  gamma1n: { from: 0, to: 2, step: 0.05, meaning: "effect of the negative weights" },
  gamma2: { from: 0, to: 1, step: 0.05, meaning: "effect of the squared weight" },
  epsilon: { from: 0, to: 1, step: 0.01, meaning: "added to the denominator, with its sign" },
};

const number = (value: Value | undefined, fallback: number) => (typeof value === "number" ? value : fallback);

const stabilizer = (value: Value | undefined, fallback = 0): number =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? number(value.epsilon, 0) : number(value, fallback);

/** The ten parameters of a rule, or null where the unified formula does not hold it. */
export function tenOf(rule: Rule): Ten | null {
  switch (rule.class) {
    case "ZRule":
      return { ...NONE, gamma1: 1, epsilon: stabilizer(rule.stabilizer) };
    case "Epsilon":
      return { ...NONE, gamma1: 1, epsilon: number(rule.epsilon, 1e-6) };
    case "Gamma":
      return { ...NONE, gamma1: 1, gamma1p: number(rule.gamma, 0.25), epsilon: stabilizer(rule.stabilizer) };
    case "ZPlus":
      return { ...NONE, gamma1p: 1, epsilon: stabilizer(rule.stabilizer, 1e-6) };
    case "AlphaBeta":
      return { ...NONE, alpha: number(rule.alpha, 2), beta: number(rule.beta, 1), gamma1p: 1, epsilon: stabilizer(rule.stabilizer, 1e-6) };
    case "WSquare":
      return { ...NONE, theta0: 1, theta1: 0, gamma2: 1, epsilon: stabilizer(rule.stabilizer) };
    case "Flat":
      return { ...NONE, theta0: 1, theta1: 0, gamma0: 1, epsilon: stabilizer(rule.stabilizer) };
    case "Unified":
      return Object.fromEntries(PARAMETERS.map((name) => [name, number(rule[name], NONE[name])])) as Ten;
    default:
      return null;
  }
}

/** The rule as `Unified`, with all its parameters free. */
export function asUnified(rule: Rule): Rule | null {
  const ten = tenOf(rule);
  if (ten === null || rule.class === "Unified") return ten && rule;
  const m: Rule | object = rule.class === "AlphaBeta" ? { m: [0, 0, 0, 1, 0] } : {};
  return { class: "Unified", ...ten, ...m, ...(rule.bias === undefined ? {} : { bias: rule.bias }) };
}

/** The parameters that a rule has by itself: a change of any other makes it `Unified`. */
export function own(rule: Rule): readonly Parameter[] {
  switch (rule.class) {
    case "Epsilon":
      return ["epsilon"];
    case "Gamma":
      return ["gamma1p"];
    case "AlphaBeta":
      return ["alpha", "beta"];
    case "Unified":
      return PARAMETERS;
    default:
      return [];
  }
}

const tidy = (value: number) => Number(value.toFixed(6));

/** The rule after one of the ten parameters was set; a named rule stays what it is where the parameter is its own. */
export function adjust(rule: Rule, name: Parameter, value: number): Rule {
  if (rule.class === "Epsilon" && name === "epsilon") return { ...rule, epsilon: value };
  if (rule.class === "Gamma" && name === "gamma1p") return { ...rule, gamma: value };
  if (rule.class === "AlphaBeta" && name === "alpha" && value >= 1) return { ...rule, alpha: value, beta: tidy(value - 1) };
  if (rule.class === "AlphaBeta" && name === "beta") return { ...rule, alpha: tidy(value + 1), beta: value };
  const unified = asUnified(rule);
  return unified ? { ...unified, [name]: value } : rule;
}

/** Why `Unified` with these parameters is refused, or null. */
export function vanishes(ten: Ten): string | null {
  if (!ten.theta0 && !ten.theta1) return "Every contribution vanishes: set θ₀ or θ₁ above 0.";
  if (!ten.gamma0 && !ten.gamma1 && !ten.gamma1p && !ten.gamma1n && !ten.gamma2) {
    return "Every contribution vanishes: set one of the weight effects above 0.";
  }
  return null;
}
