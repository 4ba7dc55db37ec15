/** Zoom and pan that all maps share: `x`, `y` are the middle of what is seen, as parts of the picture. */

export interface View {
  scale: number;
  x: number;
  y: number;
}

export const WHOLE: View = { scale: 1, x: 0.5, y: 0.5 };
const LARGEST = 24;

function inside({ scale, x, y }: View): View {
  const half = 0.5 / scale;
  const within = (value: number) => Math.min(1 - half, Math.max(half, value));
  return { scale, x: within(x), y: within(y) };
}

/** Zooms by `factor` so that the point at (`left`, `top`), parts of the frame, stays where it is. */
export function zoom(view: View, factor: number, left = 0.5, top = 0.5): View {
  const scale = Math.min(LARGEST, Math.max(1, view.scale * factor));
  const shift = 1 / view.scale - 1 / scale;
  return inside({ scale, x: view.x + (left - 0.5) * shift, y: view.y + (top - 0.5) * shift });
}

/** Moves by parts of the frame. */
export function pan(view: View, right: number, down: number): View {
  return inside({ ...view, x: view.x - right / view.scale, y: view.y - down / view.scale });
}

/** The point of the picture, in parts, under a point of the frame, in parts. */
export function pointAt(view: View, left: number, top: number): { x: number; y: number } {
  return { x: view.x + (left - 0.5) / view.scale, y: view.y + (top - 0.5) / view.scale };
}

export function transform(view: View): string {
  return `scale(${view.scale}) translate(${(0.5 - view.x) * 100}%, ${(0.5 - view.y) * 100}%)`;
}
