/** Light or dark: as the system has it, until a person chooses. */

import { store } from "./store.svelte";

const KEY = "tf_lrp_studio_theme";
const system = () => matchMedia("(prefers-color-scheme: dark)");

function apply(): void {
  const chosen = localStorage.getItem(KEY);
  store.dark = chosen === null ? system().matches : chosen === "dark";
  if (chosen === null) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export function followTheme(): void {
  system().addEventListener("change", apply);
  apply();
}

export function switchTheme(): void {
  const wanted = store.dark ? "light" : "dark";
  if ((wanted === "dark") === system().matches) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, wanted);
  apply();
}
