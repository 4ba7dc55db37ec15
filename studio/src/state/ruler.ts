/** The ruler: where each layer and each branch of the model is drawn. */

export interface LayerLike {
  name: string;
  inputs: string[];
  kind: string;
  index: number | null;
  segment_position: number;
  relevance: string | null;
  output_shape: (number | null)[];
}

/**
 * A lane for each layer, 0 for the main path: the first of the layers that read a layer goes on in its lane, the others
 * branch off into free lanes.
 */
export function lanes(layers: LayerLike[]): number[] {
  const readers = new Map<string, number[]>();
  layers.forEach((layer, row) => layer.inputs.forEach((name) => readers.set(name, [...(readers.get(name) ?? []), row])));
  const row = new Map(layers.map((layer, i) => [layer.name, i]));
  const lane: number[] = [];
  /** For each lane, the last row in which it is in use. */
  const busy: number[] = [];
  const heir = new Map<string, number>();
  layers.forEach((layer, i) => {
    const mine = layer.inputs.filter((name) => heir.get(name) === i).map((name) => lane[row.get(name)!]);
    let at = mine.length ? Math.min(...mine) : busy.findIndex((until) => until < i);
    if (at < 0) at = busy.length;
    lane[i] = at;
    const after = readers.get(layer.name) ?? [];
    // The first reader goes on in the lane of a layer: the others leave it.
    if (after.length) heir.set(layer.name, after[0]);
    busy[at] = Math.max(busy[at] ?? -1, i, after[0] ?? i);
  });
  return lane;
}

export interface Edge {
  from: number;
  to: number;
}

export function edges(layers: LayerLike[]): Edge[] {
  const row = new Map(layers.map((layer, i) => [layer.name, i]));
  return layers.flatMap((layer, to) =>
    layer.inputs.flatMap((name) => (row.has(name) ? [{ from: row.get(name)!, to }] : [])),
  );
}

/** The rows of a segment: from its first layer with weights to the row before the next segment's first. */
export function rowsOf(layers: LayerLike[], first: number, last: number, isFirst: boolean): { top: number; bottom: number } {
  const inside = (layer: LayerLike) => layer.segment_position >= first && layer.segment_position <= last;
  const rows = layers.flatMap((layer, row) => (inside(layer) ? [row] : []));
  const top = isFirst ? 0 : rows[0];
  return { top: top ?? 0, bottom: rows.length ? rows[rows.length - 1] : 0 };
}

/**
 * The layer whose relevance shows what a segment hands down: the nearest one below its first layer that has relevance and,
 * where there is one, a picture's shape. null for the model's input.
 */
export function below(layers: LayerLike[], first: number): string | null {
  const row = new Map(layers.map((layer, i) => [layer.name, i]));
  const start = layers.findIndex((layer) => layer.index === first);
  let at = row.get(layers[start]?.inputs[0] ?? "");
  let any: string | null = null;
  while (at !== undefined && layers[at].kind !== "input") {
    const layer = layers[at];
    if (layer.relevance !== null) {
      any ??= layer.relevance;
      if (layer.output_shape.length >= 3) return layer.relevance;
    }
    at = row.get(layer.inputs[0] ?? "");
  }
  return any;
}

/** The place among layers with weights where a border dropped at a row would begin. */
export function borderAt(layers: LayerLike[], row: number): number {
  const within = Math.max(0, Math.min(layers.length - 1, Math.round(row)));
  for (let i = within; i < layers.length; i++) if (layers[i].index !== null) return layers[i].index!;
  return Number.MAX_SAFE_INTEGER;
}
