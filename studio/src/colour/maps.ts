/** Colour maps for signed values: 256 colours from the most negative over zero to the most positive. */

export interface ColourMap {
  id: string;
  title: string;
  stops: [number, number, number][];
}

const hex = (text: string): [number, number, number][] =>
  text.split(" ").map((c) => [0, 2, 4].map((i) => parseInt(c.slice(i, i + 2), 16)) as [number, number, number]);

export const COLOUR_MAPS: ColourMap[] = [
  { id: "red-blue", title: "Red and blue", stops: hex("0b2c6f 2166ac 4393c3 92c5de d1e5f0 ffffff fddbc7 f4a582 d6604d b2182b 67001f") },
  { id: "purple-orange", title: "Purple and orange", stops: hex("7f3b08 b35806 e08214 fdb863 fee0b6 ffffff d8daeb b2abd2 8073ac 542788 2d004b") },
  { id: "green-pink", title: "Green and pink", stops: hex("8e0152 c51b7d de77ae f1b6da fde0ef ffffff e6f5d0 b8e186 7fbc41 4d9221 276419") },
  { id: "teal-brown", title: "Teal and brown", stops: hex("543005 8c510a bf812d dfc27d f6e8c3 ffffff c7eae5 80cdc1 35978f 01665e 003c30") },
  { id: "fire-ice", title: "Fire and ice, on black", stops: hex("dff6ff 7fd6ff 2f9be6 1a5aa8 102a52 08090c 4a1210 9c2413 e0531c ffa63d fff3c2") },
  { id: "grey", title: "Grey", stops: hex("000000 1a1a1a 333333 4d4d4d 666666 808080 999999 b3b3b3 cccccc e6e6e6 ffffff") },
];

export function colourMap(id: string): ColourMap {
  return COLOUR_MAPS.find((map) => map.id === id) ?? COLOUR_MAPS[0];
}

const tables = new Map<string, Uint8ClampedArray>();

/** 256 * 3 bytes; entry 128 is the colour of zero. */
export function table(id: string): Uint8ClampedArray {
  const known = tables.get(id);
  if (known) return known;
  const { stops } = colourMap(id);
  const colours = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    // -1 at 0, 0 at 128, 1 at 255: both halves end on a stop.
    const signed = i <= 128 ? i / 128 - 1 : (i - 128) / 127;
    const place = ((signed + 1) / 2) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) colours[3 * i + c] = stops[low][c] + (stops[low + 1][c] - stops[low][c]) * (place - low);
  }
  tables.set(id, colours);
  return colours;
}

/** The place in a table of a value for which `limit` is full colour. */
export function level(value: number, limit: number): number {
  if (!(limit > 0) || !Number.isFinite(value)) return 128;
  const signed = Math.max(-1, Math.min(1, value / limit));
  return Math.round(signed < 0 ? 128 + signed * 128 : 128 + signed * 127);
}

export function css(id: string, value: number, limit: number): string {
  const colours = table(id);
  const at = 3 * level(value, limit);
  return `rgb(${colours[at]}, ${colours[at + 1]}, ${colours[at + 2]})`;
}

/** A CSS gradient, for legends and menus. */
export function gradient(id: string): string {
  return `linear-gradient(to right, ${colourMap(id).stops.map((c) => `rgb(${c.join(",")})`).join(", ")})`;
}
