/** What is done with whole designs: create, duplicate, rename, delete with undo, import and export. */

import { api } from "../api/client";
import type { Design } from "../api/types";
import { freeName, LRP_0 } from "./segments";
import { store } from "./store.svelte";
import { note, problem } from "./toasts.svelte";

const names = () => store.designs.map((d) => d.name);

async function added(make: () => Promise<Design>): Promise<Design | undefined> {
  try {
    const design = await make();
    store.designs = store.designs.toSpliced(1, 0, design);
    await store.openDesign(design.id);
    return design;
  } catch (error) {
    problem(error);
    return undefined;
  }
}

/** A new design of one segment, LRP-0, as the guide's begins. */
export function create(): Promise<Design | undefined> {
  const last = (store.model?.weighted_layers ?? 1) - 1;
  return added(() => api.createDesign(freeName("Design", names()), [{ first: 0, last, rule: LRP_0 }], []));
}

export async function duplicate(design: Design): Promise<Design | undefined> {
  await store.flush();
  return added(() => api.duplicateDesign(design.id, freeName(`${design.name} (copy)`, names())));
}

export async function rename(design: Design, name: string): Promise<void> {
  const wanted = name.trim();
  if (!wanted || wanted === design.name) return;
  try {
    store.saveNow();
    await store.queue(async () => {
      const revision = store.designs.find((d) => d.id === design.id)?.revision ?? design.revision;
      store.replace(await api.changeDesign(design.id, { revision, name: wanted }));
    });
  } catch (error) {
    problem(error);
  }
}

export async function remove(design: Design): Promise<void> {
  try {
    await store.flush();
    await api.deleteDesign(design.id);
    const open = store.document?.design === design.id || store.place.design === design.id;
    store.designs = store.designs.filter((d) => d.id !== design.id);
    if (open) await store.openDesign(store.designs[0].id);
    note(`“${design.name}” was deleted.`, { title: "Undo", run: () => void restore(design) });
  } catch (error) {
    problem(error);
  }
}

async function restore(design: Design): Promise<void> {
  await added(() => api.restoreDesign(design.id));
}

/** Downloads what `Preset.to_json` writes, with all changes up to now. */
export async function exportFile(design: Design): Promise<void> {
  await store.flush();
  const link = document.createElement("a");
  link.href = api.exportPath(design.id);
  link.download = "";
  link.click();
}

export async function importFile(file: File): Promise<void> {
  try {
    const text = await file.text();
    let preset: unknown;
    try {
      preset = JSON.parse(text);
    } catch {
      throw new Error(`“${file.name}” is not JSON, and so no preset.`);
    }
    const design = await added(() => api.importDesign(preset));
    if (design) note(`“${design.name}” was imported.`);
  } catch (error) {
    problem(error);
  }
}
