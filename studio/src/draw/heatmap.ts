/** Pictures of relevance: float maps to RGBA pixels. */

import { level, table } from "../colour/maps";

export interface FloatMap {
  height: number;
  width: number;
  values: Float32Array;
}

export function decodeFloats(base64: string): Float32Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

export function encodeBytes(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** The value below which a part `share` (0 to 1) of the absolute values lie: the largest one for 1. */
export function limitOf(values: ArrayLike<number>, share = 1): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > largest && size < Infinity) largest = size;
  }
  if (share >= 1 || largest === 0) return largest;
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.min(sizes.length - 1, Math.floor(share * sizes.length))] || largest;
}

export interface Look {
  colours: string;
  /** The absolute value that gets full colour. */
  limit: number;
  /** 0: the picture alone; 1: the heatmap alone. */
  opacity: number;
}

/** RGBA of a map, over the picture's RGBA if there is one of the same size. */
export function paint(map: FloatMap, look: Look, picture: Uint8ClampedArray | null = null): Uint8ClampedArray<ArrayBuffer> {
  const { values } = map;
  const colours = table(look.colours);
  const pixels = new Uint8ClampedArray(values.length * 4);
  const under = picture?.length === pixels.length ? picture : null;
  const opacity = under ? look.opacity : 1;
  for (let i = 0; i < values.length; i++) {
    const from = 3 * level(values[i], look.limit);
    for (let c = 0; c < 3; c++) {
      const colour = colours[from + c];
      pixels[4 * i + c] = under ? colour * opacity + under[4 * i + c] * (1 - opacity) : colour;
    }
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}

export function valueAt(map: FloatMap, x: number, y: number): number | null {
  const [column, row] = [Math.floor(x * map.width), Math.floor(y * map.height)];
  const inside = column >= 0 && row >= 0 && column < map.width && row < map.height;
  return inside ? map.values[row * map.width + column] : null;
}
