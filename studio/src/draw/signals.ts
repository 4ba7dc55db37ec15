/** Values of signals by channel. */

import type { Explanation, Values } from "../api/types";
import { decodeFloats, type FloatMap } from "./heatmap";

export function linesOf(values: Values): number[][] {
  const rows = values.values as (number | number[])[];
  if (!Array.isArray(rows[0])) return [rows as number[]];
  return (rows[0] as number[]).map((_, channel) => (rows as number[][]).map((row) => row[channel]));
}

/** Relevance by channel; one line for all where the server gives only their sum. */
export function channelsOf(explanation: Explanation | null, map: FloatMap | null): Float32Array[] | null {
  if (explanation?.channels?.length) return explanation.channels.map((raw) => decodeFloats(raw.values));
  return map ? [map.values] : null;
}
