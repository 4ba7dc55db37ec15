/** Adding and removing pictures. */

import { api } from "../api/client";
import type { Picture } from "../api/types";
import { store } from "./store.svelte";
import { note, problem } from "./toasts.svelte";

export async function uploadFiles(files: File[]): Promise<void> {
  const limits = store.session?.limits;
  for (const file of files) {
    try {
      if (limits && file.size > limits.upload_bytes) {
        throw new Error(`“${file.name}” has ${(file.size / 2 ** 20).toFixed(1)} MiB; ${(limits.upload_bytes / 2 ** 20).toFixed(0)} MiB are the most that is read.`);
      }
      const picture = await api.upload(file);
      store.pictures = [picture, ...store.pictures.filter((p) => p.id !== picture.id)];
      await store.choosePicture(picture.id);
    } catch (error) {
      problem(error);
    }
  }
}

export async function removePicture(picture: Picture): Promise<void> {
  try {
    await api.deletePicture(picture.id);
    store.pictures = store.pictures.filter((p) => p.id !== picture.id);
    if (store.place.picture === picture.id && store.pictures[0]) await store.choosePicture(store.pictures[0].id);
    const restore = async () => {
      const back = await api.restorePicture(picture.id);
      store.pictures = [back, ...store.pictures];
      await store.choosePicture(back.id);
    };
    note(`“${picture.name}” was removed.`, { title: "Undo", run: () => void restore().catch(problem) });
  } catch (error) {
    problem(error);
  }
}
