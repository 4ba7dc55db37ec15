/** The state of the page: what is looked at, what is being composed, and what the server answered. */

import { api, ServerError } from "../api/client";
import type { ClassScore, Design, Explanation, Layer, Picture, Rules, Session, Source, Values } from "../api/types";
import { decodeFloats, limitOf, type FloatMap } from "../draw/heatmap";
import { pixelsOf, type Pixels } from "../draw/pixels";
import { WHOLE, type View } from "../draw/zoom";
import { begin, change, redo, settle, undo, type History } from "./history";
import { Channel } from "./latest";
import { read, write, type Place } from "./location";
import { below } from "./ruler";
import { freeName, same, setRule, type Composition, type Entry, type Rule, type Segment } from "./segments";
import { note, problem } from "./toasts.svelte";

/** What undo goes back to. */
interface Document extends Composition {
  design: string;
}

const SAVE_AFTER = 400;

export function floatMap(raw: { height: number; width: number; values: string }): FloatMap {
  return { height: raw.height, width: raw.width, values: decodeFloats(raw.values) };
}

class Store {
  session = $state.raw<Session | null>(null);
  layers = $state.raw<Layer[]>([]);
  rules = $state.raw<Rules>({ rules: [], templates: [], kinds: [] });
  pictures = $state.raw<Picture[]>([]);
  designs = $state.raw<Design[]>([]);
  place = $state.raw<Place>(read(location.hash));
  history = $state.raw<History<Document> | null>(null);
  predictions = $state.raw<ClassScore[] | null>(null);
  explanation = $state.raw<Explanation | null>(null);
  map = $state.raw<FloatMap | null>(null);
  /** Maps below the segments, by the name of a layer. */
  layerMaps = $state.raw<Map<string, FloatMap>>(new Map());
  pixels = $state.raw<Pixels | null>(null);
  values = $state.raw<Values | null>(null);
  explaining = $state(false);
  /** Why the map is not that of what is composed. */
  failure = $state<string | null>(null);
  saving = $state<"saved" | "waiting" | "failed">("saved");
  /** The point of the picture under the pointer, in parts, in whichever map it is. */
  pointer = $state.raw<{ x: number; y: number } | null>(null);
  dark = $state(false);

  #explain = new Channel("explain");
  #looking = new Channel("predictions");
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  #saving: Promise<void> = Promise.resolve();

  // -- what follows from the state ------------------------------------------------------------------------------------

  model = $derived(this.session?.model ?? null);
  picture = $derived(this.pictures.find((p) => p.id === this.place.picture) ?? null);
  document = $derived(this.history?.present ?? null);
  design = $derived(this.designs.find((d) => d.id === (this.document?.design ?? this.place.design)) ?? null);
  segments = $derived<Segment[]>(this.document?.segments ?? []);
  others = $derived<Entry[]>(this.document?.others ?? []);
  chosen = $derived(Math.min(this.place.segment, Math.max(0, this.segments.length - 1)));
  rule = $derived<Rule | null>(this.segments[this.chosen]?.rule ?? null);
  colours = $derived(this.place.colours ?? (this.dark ? "fire-ice" : "red-blue"));
  limit = $derived(this.map ? limitOf(this.map.values, this.place.range) : 0);
  /** Per segment, the layer whose map shows what it hands down; null for the input. */
  handed = $derived(this.segments.map((s, i) => (i === 0 ? null : below(this.layers, s.first))));
  source = $derived<Source | null>(
    this.document ? { segments: this.segments, others: this.others } : this.design ? { design: this.design.id } : null,
  );

  // -- the start ------------------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    try {
      const [rules] = await Promise.all([api.rules(), this.#ready()]);
      this.rules = rules;
      if (this.session?.state !== "ready") return;
      [this.layers, this.pictures, this.designs] = await Promise.all([api.layers(), api.pictures(), api.designs()]);
      const known = this.designs.find((d) => d.id === this.place.design) ?? this.designs[0];
      this.#open(known, true);
      const picture = this.pictures.find((p) => p.id === this.place.picture) ?? this.pictures[0];
      if (picture) await this.choosePicture(picture.id, this.place.target);
    } catch (error) {
      problem(error);
    }
  }

  async #ready(): Promise<void> {
    for (let wait = 60; ; wait = Math.min(1000, wait * 1.5)) {
      this.session = await api.session();
      if (this.session.state !== "loading") return;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  // -- where we are ---------------------------------------------------------------------------------------------------

  go(change: Partial<Place>): void {
    this.place = { ...this.place, ...change };
    const hash = write(this.place);
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  /** Follows a link that was typed or pasted into the page that is open. */
  async follow(hash: string): Promise<void> {
    const place = read(hash);
    const before = this.place;
    this.place = place;
    const design = this.designs.find((d) => d.id === place.design);
    if (design && design.id !== this.document?.design) this.#open(design, true);
    const moved = place.picture !== before.picture || place.target !== before.target;
    if (place.picture && moved) await this.choosePicture(place.picture, place.target);
    else void this.explain();
  }

  setView(view: View): void {
    this.go({ view });
  }

  async choosePicture(id: string, target: number | null = null): Promise<void> {
    this.go({ picture: id, target, ...(id === this.place.picture ? {} : { view: WHOLE }) });
    const picture = this.pictures.find((p) => p.id === id);
    this.pixels = this.values = this.predictions = this.map = this.explanation = null;
    this.#explain.cancel();
    this.#looking.cancel();
    void this.explain();
    try {
      const found = await this.#looking.run(async () => {
        const sample = picture?.kind === "picture" ? pixelsOf(api.imagePath(id)) : api.values(id);
        return Promise.all([api.predictions(id, 10, target === null ? [] : [target]), sample]);
      });
      if (!found) return;
      this.predictions = found[0];
      if ("rgba" in found[1]) this.pixels = found[1];
      else this.values = found[1];
    } catch (error) {
      problem(error);
    }
  }

  chooseClass(index: number | null): void {
    this.go({ target: index });
    void this.explain();
  }

  // -- explaining -----------------------------------------------------------------------------------------------------

  async explain(): Promise<void> {
    const { picture, target } = this.place;
    const source = this.source;
    if (!picture || !source) return;
    const layers = [...new Set(this.handed.filter((name): name is string => name !== null))].slice(0, 64);
    this.explaining = true;
    try {
      const answer = await this.#explain.run((ticket) => api.explain(ticket, { picture, target, source }, layers));
      if (!answer || answer.stale || !answer.input) return;
      this.explanation = answer;
      this.failure = null;
      this.map = floatMap(answer.input);
      this.layerMaps = new Map(Object.entries(answer.layers ?? {}).map(([name, raw]) => [name, floatMap(raw)]));
      this.explaining = this.#explain.busy;
    } catch (error) {
      this.explaining = this.#explain.busy;
      this.failure = error instanceof Error ? error.message : String(error);
      problem(error);
    }
  }

  // -- composing ------------------------------------------------------------------------------------------------------

  #open(design: Design, fresh = false): void {
    this.go({ design: design.id, ...(fresh ? {} : { segment: 0 }) });
    if (design.segments === null) {
      this.history = null;
      if (design.problem) problem(design.problem);
      return;
    }
    const document = { design: design.id, segments: design.segments, others: design.others };
    this.history = this.history ? change(settle(this.history), document) : begin<Document>(document);
  }

  async openDesign(id: string): Promise<void> {
    const design = this.designs.find((d) => d.id === id);
    if (!design) return;
    this.saveNow();
    this.#open(design);
    await this.explain();
  }

  /** Changes the composition; an example is copied first, so that it stays as it is. */
  compose(composition: Partial<Composition>, gesture: string | null = null): void {
    if (!this.history || !this.document) return;
    const next = { ...this.document, ...composition };
    if (same(next, this.document)) return;
    if (this.design?.origin === "example") {
      this.history = change(this.history, next, gesture);
      void this.#copyOfExample(this.design);
    } else {
      this.history = change(this.history, next, gesture);
      this.#saveSoon();
    }
    void this.explain();
  }

  setRule(rule: Rule, gesture: string | null = null): void {
    this.compose({ segments: setRule(this.segments, this.chosen, rule) }, gesture && `${gesture} ${this.chosen}`);
  }

  settle(): void {
    if (this.history) this.history = settle(this.history);
  }

  undo(): void {
    this.#travel(undo);
  }

  redo(): void {
    this.#travel(redo);
  }

  #travel(step: (history: History<Document>) => History<Document>): void {
    if (!this.history) return;
    const before = this.document;
    this.history = step(this.history);
    const document = this.history.present;
    if (document === before) return;
    const stored = this.designs.find((d) => d.id === document.design);
    if (!stored) {
      // A design that was deleted since: the step is skipped.
      this.#travel(step);
      return;
    }
    this.go({ design: document.design });
    if (stored.origin !== "example") this.#saveSoon();
    void this.explain();
  }

  #copying: Promise<void> | null = null;

  #copyOfExample(example: Design): Promise<void> {
    this.#copying ??= (async () => {
      try {
        const name = freeName(`${example.name} (mine)`, this.designs.map((d) => d.name));
        const copy = await api.createDesign(name, this.segments, this.others);
        this.designs = this.designs.toSpliced(1, 0, copy);
        if (this.history && this.document?.design === example.id) {
          this.history = { ...this.history, present: { ...this.document, design: copy.id } };
          this.go({ design: copy.id });
          this.#saveSoon();
        }
        note(`Examples stay as they are: your change is in “${copy.name}”.`);
      } catch (error) {
        problem(error);
      } finally {
        this.#copying = null;
      }
    })();
    return this.#copying;
  }

  // -- saving ---------------------------------------------------------------------------------------------------------

  #saveSoon(): void {
    this.saving = "waiting";
    clearTimeout(this.#saveTimer);
    this.#saveTimer = setTimeout(() => this.saveNow(), SAVE_AFTER);
  }

  saveNow(): void {
    clearTimeout(this.#saveTimer);
    if (this.saving !== "waiting" || !this.document) return;
    const document = this.document;
    void this.queue(() => this.#save(document));
  }

  /** What changes stored designs is done one after the other: each change names the revision that the one before made. */
  queue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#saving.then(work);
    this.#saving = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** Saves what waits, and returns when it is saved. */
  async flush(): Promise<void> {
    this.saveNow();
    await this.#saving;
  }

  async #save(document: Document): Promise<void> {
    const stored = this.designs.find((d) => d.id === document.design);
    if (!stored || stored.origin === "example") return;
    try {
      const { segments, others } = document;
      const saved = await api.changeDesign(stored.id, { revision: stored.revision, segments, others });
      this.replace(saved);
      if (this.document === document) this.saving = "saved";
    } catch (error) {
      this.saving = "failed";
      if (error instanceof ServerError && error.status === 409) this.#conflict(document, error.body.design as Design);
      else problem(error);
    }
  }

  #conflict(document: Document, theirs: Design): void {
    const mine = document;
    this.replace(theirs);
    note(`“${theirs.name}” was changed in another tab. Here you see your own version, which is not saved.`, {
      title: "Keep mine",
      run: () => {
        this.saving = "waiting";
        void this.queue(() => this.#save(this.document?.design === mine.design ? this.document : mine));
      },
    });
  }

  replace(design: Design): void {
    this.designs = this.designs.map((d) => (d.id === design.id ? design : d));
  }
}

export const store = new Store();
