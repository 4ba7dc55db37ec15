/** Keys that work everywhere on the page. */

import { TABS } from "./location";
import { store } from "./store.svelte";

const types = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=range]):not([type=checkbox]), textarea"));

export function shortcut(event: KeyboardEvent): void {
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && !event.altKey && (key === "z" || key === "y") && !types(event.target)) {
    event.preventDefault();
    if (key === "y" || event.shiftKey) store.redo();
    else store.undo();
  } else if (event.altKey && !command && /^[1-5]$/.test(event.key)) {
    event.preventDefault();
    store.go({ tab: TABS[Number(event.key) - 1] });
  }
}
