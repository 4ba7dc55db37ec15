/** The comparison: rows of a picture and a class, columns of designs, and the maps in their cells. */

import { api } from "../api/client";
import type { Explanation } from "../api/types";
import type { FloatMap } from "../draw/heatmap";
import { Channel } from "./latest";
import type { Row } from "./location";
import { floatMap, store } from "./store.svelte";

export interface Cell {
  map: FloatMap;
  answer: Explanation;
}

const MOST_KEPT = 200;

class Comparison {
  cells = $state.raw<Map<string, Cell | Error>>(new Map());
  #asked = new Set<string>();
  #channels = new Map<string, Channel>();

  rows = $derived<Row[]>(store.place.rows.length ? store.place.rows : store.place.picture ? [{ picture: store.place.picture, target: store.place.target }] : []);
  columns = $derived.by<string[]>(() => {
    const known = store.place.columns.filter((id) => store.designs.some((d) => d.id === id));
    if (known.length) return known;
    const open = store.document?.design ?? store.place.design;
    return [...new Set([open, ...store.designs.filter((d) => d.id.startsWith("model-")).map((d) => d.id)])].filter((id): id is string => id !== null).slice(0, 4);
  });

  key(row: Row, column: string): string {
    const design = store.designs.find((d) => d.id === column);
    return [row.picture, row.target ?? "top", column, design?.revision ?? 0].join(" ");
  }

  /** Asks for the maps that are missing. */
  refresh(): void {
    store.saveNow();
    for (const [r, row] of this.rows.entries()) for (const [c, column] of this.columns.entries()) void this.#load(row, column, `compare ${r} ${c}`);
  }

  async #load(row: Row, column: string, place: string): Promise<void> {
    const key = this.key(row, column);
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    const channel = this.#channels.get(place) ?? new Channel(place);
    this.#channels.set(place, channel);
    try {
      const answer = await channel.run((ticket) => api.explain(ticket, { picture: row.picture, target: row.target, source: { design: column } }));
      if (answer?.input) this.#keep(key, { map: floatMap(answer.input), answer });
      else this.#asked.delete(key);
    } catch (error) {
      this.#keep(key, error as Error);
    }
  }

  #keep(key: string, cell: Cell | Error): void {
    const kept = [...this.cells, [key, cell] as const].slice(-MOST_KEPT);
    this.cells = new Map(kept);
    this.#asked = new Set(kept.map(([k]) => k));
  }

  setRow(at: number, change: Partial<Row>): void {
    store.go({ rows: this.rows.map((row, i) => (i === at ? { ...row, ...change } : row)) });
  }

  addRow(): void {
    const last = this.rows.at(-1);
    if (last) store.go({ rows: [...this.rows, { ...last }] });
  }

  removeRow(at: number): void {
    store.go({ rows: this.rows.toSpliced(at, 1) });
  }

  setColumn(at: number, design: string): void {
    store.go({ columns: this.columns.map((id, i) => (i === at ? design : id)) });
  }

  addColumn(): void {
    const next = store.designs.find((d) => !this.columns.includes(d.id)) ?? store.designs[0];
    store.go({ columns: [...this.columns, next.id] });
  }

  removeColumn(at: number): void {
    store.go({ columns: this.columns.toSpliced(at, 1) });
  }
}

export const comparison = new Comparison();
