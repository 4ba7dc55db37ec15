/** Pixel flipping: rows of a picture with marked pixels, and what the network says of it then. */

import { api } from "../api/client";
import type { Curves, Flipped, Replacement } from "../api/types";
import { encodeBytes } from "../draw/heatmap";
import { count, empty, largest, stroke, type Marks, type Point } from "../draw/mask";
import { begin, change, redo, settle, undo, type History } from "./history";
import { Channel } from "./latest";
import { store } from "./store.svelte";
import { problem } from "./toasts.svelte";

let next = 1;

export class FlipRow {
  readonly id = next++;
  how = $state<Replacement>("negate");
  size = $state(16);
  erasing = $state(false);
  history = $state.raw<History<Marks>>(begin(empty(1, 1)));
  result = $state.raw<Flipped | null>(null);
  working = $state(false);
  #channel = new Channel(`flip ${this.id}`);
  #last: Point | null = null;

  marks = $derived(this.history.present);
  pixels = $derived(count(this.marks));

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.history = begin(empty(width, height));
    void this.predict();
  }

  /** A brush at a point, in pixels; a stroke goes on from its last point. */
  brush(point: Point, first: boolean): void {
    const from = first || !this.#last ? point : this.#last;
    const marks = stroke(this.marks, this.width, from, point, this.size, this.erasing ? 0 : 1);
    this.#last = point;
    this.history = change(this.history, marks, "stroke");
    void this.predict();
  }

  endStroke(): void {
    this.#last = null;
    this.history = settle(this.history);
  }

  mark(marks: Marks, gesture: string | null = null): void {
    this.history = change(this.history, marks, gesture);
    void this.predict();
  }

  markTop(share: number): void {
    if (store.map) this.mark(largest(store.map.values, share), "top");
  }

  clear(): void {
    this.mark(empty(this.width, this.height));
  }

  undo(): void {
    this.history = undo(this.history);
    void this.predict();
  }

  redo(): void {
    this.history = redo(this.history);
    void this.predict();
  }

  setHow(how: Replacement): void {
    this.how = how;
    void this.predict();
  }

  async predict(): Promise<void> {
    const { picture, target } = store.place;
    if (!picture) return;
    this.working = true;
    try {
      const body = { picture, mask: encodeBytes(this.marks), how: this.how, target };
      const answer = await this.#channel.run((ticket) => api.flip(ticket, body));
      if (answer && !answer.stale) this.result = answer;
    } catch (error) {
      problem(error);
    } finally {
      this.working = this.#channel.busy;
    }
  }
}

class Flipping {
  rows = $state.raw<FlipRow[]>([]);
  curves = $state.raw<Curves | null>(null);
  drawing = $state(false);
  #picture: string | null = null;
  #curve = new Channel("curve");

  /** Begins anew for another picture. */
  follow(picture: string | null, width: number, height: number): void {
    if (picture === this.#picture) return;
    this.#picture = picture;
    this.curves = null;
    this.rows = picture ? [new FlipRow(width, height)] : [];
  }

  add(): void {
    const last = this.rows.at(-1);
    if (last) this.rows = [...this.rows, new FlipRow(last.width, last.height)];
  }

  remove(row: FlipRow): void {
    this.rows = this.rows.filter((one) => one !== row);
  }

  async draw(how: Replacement, percent: number): Promise<void> {
    const { picture, target } = store.place;
    const source = store.source;
    if (!picture || !source) return;
    this.drawing = true;
    try {
      const patch = Math.max(1, Math.round((store.model?.input.width ?? 64) / 28));
      const answer = await this.#curve.run((ticket) => api.curve(ticket, { picture, target, source }, how, patch, percent));
      if (answer && !answer.stale) this.curves = answer;
    } catch (error) {
      problem(error);
    } finally {
      this.drawing = false;
    }
  }
}

export const flipping = new Flipping();
