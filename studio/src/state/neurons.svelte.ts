/** Neuron ablation: the neurons of a layer, those that are chosen, and predictions without them. */

import { SvelteSet } from "svelte/reactivity";
import { api } from "../api/client";
import type { Changed, NeuronMaps, Neurons } from "../api/types";
import { Channel } from "./latest";
import { store } from "./store.svelte";
import { problem } from "./toasts.svelte";

/** Neurons whose maps are shown. */
export const MOST_MAPS = 24;

class Ablation {
  answer = $state.raw<Neurons | null>(null);
  chosen = new SvelteSet<number>();
  maps = $state.raw<NeuronMaps | null>(null);
  result = $state.raw<Changed | null>(null);
  loading = $state(false);
  ablating = $state(false);
  #neurons = new Channel("neurons");
  #maps = new Channel("neuron maps");
  #ablate = new Channel("ablate");
  #asked = "";

  layers = $derived(store.layers.filter((l) => l.relevance !== null && (l.channels ?? 0) > 1));
  layer = $derived(this.layers.find((l) => l.name === store.place.layer) ?? this.layers.find((l) => l.weighted) ?? null);
  count = $derived(this.answer?.positive?.length ?? 0);

  #question() {
    const { picture, target } = store.place;
    const source = store.source;
    return picture && source ? { picture, target, source } : null;
  }

  /** Reads the neurons of the layer, picture, class and design that are chosen now. */
  async refresh(): Promise<void> {
    const question = this.#question();
    const layer = this.layer?.relevance;
    if (!question || !layer) return;
    const asked = `${question.picture} ${layer}`;
    if (asked !== this.#asked) {
      this.chosen.clear();
      this.answer = this.maps = this.result = null;
    }
    this.#asked = asked;
    this.loading = true;
    try {
      const answer = await this.#neurons.run((ticket) => api.neurons(ticket, question, layer));
      if (answer && !answer.stale) this.answer = answer;
      void this.showMaps();
    } catch (error) {
      problem(error);
    } finally {
      this.loading = false;
    }
  }

  choose(neurons: Iterable<number>): void {
    this.chosen.clear();
    for (const neuron of neurons) this.chosen.add(neuron);
    void this.showMaps();
  }

  toggle(neuron: number): void {
    if (!this.chosen.delete(neuron)) this.chosen.add(neuron);
    void this.showMaps();
  }

  async showMaps(): Promise<void> {
    const question = this.#question();
    const layer = this.layer?.relevance;
    if (!question || !layer || this.chosen.size === 0) {
      this.#maps.cancel();
      this.maps = null;
      return;
    }
    const order = (this.answer?.by_positive ?? []).filter((neuron) => this.chosen.has(neuron));
    try {
      const answer = await this.#maps.run((ticket) => api.neuronMaps(ticket, question, layer, order.slice(0, MOST_MAPS)));
      if (answer && !answer.stale) this.maps = answer;
    } catch (error) {
      problem(error);
    }
  }

  async ablate(): Promise<void> {
    const { picture, target } = store.place;
    const layer = this.layer?.relevance;
    if (!picture || !layer) return;
    this.ablating = true;
    try {
      const channels = [...this.chosen];
      const answer = await this.#ablate.run((ticket) => api.ablate(ticket, { picture, layer, channels, target }));
      if (answer && !answer.stale) this.result = answer;
    } catch (error) {
      problem(error);
    } finally {
      this.ablating = false;
    }
  }
}

export const ablation = new Ablation();
