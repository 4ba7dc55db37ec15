/** Segments of a design: runs of layers with weights that share a rule, as pure functions. */

export type Value = number | string | boolean | null | Value[] | { [key: string]: Value };

/** A rule as in a preset's JSON. */
export interface Rule {
  class: string;
  [field: string]: Value;
}

/** Layers `first` to `last` inclusive, counted from the input. */
export interface Segment {
  first: number;
  last: number;
  rule: Rule;
}

/** An entry of a preset for layers without weights: a selector and a rule. */
export interface Entry {
  select: string;
  rule: Rule;
  [field: string]: Value;
}

/** What a person composes. `others` take precedence over the segments. */
export interface Composition {
  segments: Segment[];
  others: Entry[];
}

export const LRP_0: Rule = { class: "ZRule" };

const span = (s: Segment) => s.last - s.first;

export function longest(segments: Segment[]): number {
  return segments.reduce((best, s, i) => (span(s) > span(segments[best]) ? i : best), 0);
}

/** Splits segment `at` in the middle. A segment of one layer cannot be split: the same list is returned. */
export function split(segments: Segment[], at: number): Segment[] {
  const segment = segments[at];
  if (!segment || span(segment) === 0) return segments;
  const middle = Math.floor((segment.first + segment.last) / 2);
  return segments.toSpliced(at, 1, { ...segment, last: middle }, { first: middle + 1, last: segment.last, rule: { ...segment.rule } });
}

/** Removes a segment; the one before it (for the first: after it) takes over its layers. The only one stays. */
export function remove(segments: Segment[], at: number): Segment[] {
  const gone = segments[at];
  if (!gone || segments.length === 1) return segments;
  const rest = segments.toSpliced(at, 1);
  if (at > 0) rest[at - 1] = { ...rest[at - 1], last: gone.last };
  else rest[0] = { ...rest[0], first: gone.first };
  return rest;
}

/** Moves the lower border of segment `at` (at least 1) so that it begins at layer `first`; both neighbours keep one layer. */
export function moveBorder(segments: Segment[], at: number, first: number): Segment[] {
  if (at < 1 || at >= segments.length) return segments;
  const moved = Math.max(segments[at - 1].first + 1, Math.min(Math.round(first), segments[at].last));
  if (moved === segments[at].first) return segments;
  return segments.map((s, i) => (i === at - 1 ? { ...s, last: moved - 1 } : i === at ? { ...s, first: moved } : s));
}

export function setRule(segments: Segment[], at: number, rule: Rule): Segment[] {
  return segments.map((s, i) => (i === at ? { ...s, rule } : s));
}

/** Which segment a layer with weights belongs to, -1 for none. */
export function segmentOf(segments: Segment[], index: number | null): number {
  return index === null ? -1 : segments.findIndex((s) => s.first <= index && index <= s.last);
}

export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A name that none of `taken` has: "Design", "Design 2", ... */
export function freeName(wish: string, taken: string[]): string {
  const stem = wish.replace(/ \d+$/, "");
  let name = wish;
  for (let i = 2; taken.includes(name); i++) name = `${stem} ${i}`;
  return name;
}

/** The selector of an entry in words. */
export function describeSelector(entry: Entry): string {
  const { select, rule: _, ...rest } = entry;
  switch (select) {
    case "all":
      return "all layers with weights";
    case "kind":
      return (rest.kinds as string[]).map((kind) => kind.replaceAll("_", " ")).join(", ");
    case "name":
      return String(rest.pattern);
    case "index":
      return `layers ${Number(rest.start) + 1} to ${Number(rest.stop) + 1}`;
    default:
      return `${select} ${JSON.stringify(rest)}`;
  }
}
