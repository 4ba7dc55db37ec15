/** Numbers that people type: one, or several separated by commas or blanks; nothing means null. */

import type { Value } from "../state/segments";

export function readBound(text: string): number | number[] | null {
  const parts = text.replace(/[()[\]]/g, " ").split(/[\s,;]+/).filter(Boolean);
  if (!parts.length) return null;
  const numbers = parts.map(Number);
  const wrong = parts.find((_, i) => !Number.isFinite(numbers[i]));
  if (wrong !== undefined) throw new Error(`“${wrong}” is no number: type one number, or one for each channel, such as 0, 0.5, 1.`);
  return numbers.length === 1 ? numbers[0] : numbers;
}

export function showBound(value: Value): string {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.map(showBound).join(", ") : String(value);
}
