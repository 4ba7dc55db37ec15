/** Marked pixels of a picture, as pure functions: 1 where a pixel is marked. */

export type Marks = Uint8Array<ArrayBuffer>;

export interface Point {
  x: number;
  y: number;
}

export function empty(width: number, height: number): Marks {
  return new Uint8Array(width * height);
}

function stamp(marks: Marks, width: number, centre: Point, radius: number, value: 0 | 1): void {
  const height = marks.length / width;
  for (let row = Math.max(0, Math.floor(centre.y - radius)); row <= Math.min(height - 1, Math.ceil(centre.y + radius)); row++) {
    for (let column = Math.max(0, Math.floor(centre.x - radius)); column <= Math.min(width - 1, Math.ceil(centre.x + radius)); column++) {
      const [dx, dy] = [column + 0.5 - centre.x, row + 0.5 - centre.y];
      if (dx * dx + dy * dy <= radius * radius) marks[row * width + column] = value;
    }
  }
}

/** Marks (or, with 0, frees) what a round brush of `size` pixels covers on its way from one point to another. */
export function stroke(marks: Marks, width: number, from: Point, to: Point, size: number, value: 0 | 1): Marks {
  const changed = marks.slice() as Marks;
  const radius = Math.max(0.71, size / 2);
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 2)));
  for (let i = 0; i <= steps; i++) {
    const part = i / steps;
    stamp(changed, width, { x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) }, radius, value);
  }
  return changed;
}

/** Marks the part `share` (0 to 1) of the pixels with the largest values. */
export function largest(values: ArrayLike<number>, share: number): Marks {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[b] - values[a]);
  const marks = new Uint8Array(values.length);
  for (const i of order.slice(0, Math.round(share * values.length))) marks[i] = 1;
  return marks;
}

export function count(marks: Marks): number {
  return marks.reduce((sum, mark) => sum + mark, 0);
}
