/** What of the page's state the link holds: its part after the #. */

import { WHOLE, type View } from "../draw/zoom";

export const TABS = ["design", "compare", "flip", "neurons", "account"] as const;
export type Tab = (typeof TABS)[number];

export interface Place {
  tab: Tab;
  picture: string | null;
  /** null: the strongest class. */
  target: number | null;
  design: string | null;
  segment: number;
  layer: string | null;
  /** null: the one that suits the theme. */
  colours: string | null;
  opacity: number;
  /** The part of the absolute values below full colour. */
  range: number;
  /** Whether all maps share one range. */
  shared: boolean;
  view: View;
  /** Of the comparison: designs, and pairs of a picture and a class. */
  columns: string[];
  rows: Row[];
}

export interface Row {
  picture: string;
  target: number | null;
}

export const START: Place = {
  tab: "design",
  picture: null,
  target: null,
  design: null,
  segment: 0,
  layer: null,
  colours: null,
  opacity: 1,
  range: 1,
  shared: false,
  view: WHOLE,
  columns: [],
  rows: [],
};

const rounded = (value: number) => String(Number(value.toFixed(4)));

/** Only what differs from the start is written. */
export function write(place: Place): string {
  const parts = new URLSearchParams();
  if (place.picture) parts.set("picture", place.picture);
  if (place.target !== null) parts.set("class", String(place.target));
  if (place.design) parts.set("design", place.design);
  if (place.segment) parts.set("segment", String(place.segment + 1));
  if (place.layer) parts.set("layer", place.layer);
  if (place.colours) parts.set("colours", place.colours);
  if (place.opacity !== 1) parts.set("opacity", rounded(place.opacity));
  if (place.range !== 1) parts.set("range", rounded(place.range));
  if (place.shared) parts.set("shared", "1");
  const { scale, x, y } = place.view;
  if (scale !== 1) parts.set("view", [scale, x, y].map(rounded).join("_"));
  if (place.columns.length) parts.set("columns", place.columns.join("."));
  if (place.rows.length) parts.set("rows", place.rows.map((row) => `${row.picture}_${row.target ?? "top"}`).join("."));
  const query = parts.toString();
  return `#/${place.tab}${query ? `?${query}` : ""}`;
}

const numberIn = (text: string | null, low: number, high: number, fallback: number) => {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return value >= low && value <= high ? value : fallback;
};

const list = (text: string | null) => (text ?? "").split(".").filter((part) => part !== "").slice(0, 50);

/** A link may be cut or edited: what cannot be read is as at the start. */
export function read(hash: string): Place {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const parts = new URLSearchParams(query);
  const tab = TABS.find((name) => name === path) ?? START.tab;
  const target = numberIn(parts.get("class"), 0, Number.MAX_SAFE_INTEGER, -1);
  const [scale, x, y] = (parts.get("view") ?? "").split("_").map(Number);
  const seen = scale >= 1 && scale <= 100 && x >= 0 && x <= 1 && y >= 0 && y <= 1;
  return {
    tab,
    picture: parts.get("picture"),
    target: Number.isInteger(target) && target >= 0 ? target : null,
    design: parts.get("design"),
    segment: Math.floor(numberIn(parts.get("segment"), 1, 1e6, 1)) - 1,
    layer: parts.get("layer"),
    colours: parts.get("colours"),
    opacity: numberIn(parts.get("opacity"), 0, 1, 1),
    range: numberIn(parts.get("range"), 0.5, 1, 1),
    shared: parts.get("shared") === "1",
    view: seen ? { scale, x, y } : WHOLE,
    columns: list(parts.get("columns")),
    rows: list(parts.get("rows")).map((text) => {
      const [picture, of] = text.split("_");
      return { picture, target: /^\d{1,9}$/.test(of ?? "") ? Number(of) : null };
    }),
  };
}
