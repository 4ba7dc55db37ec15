/** Short messages, as sentences, that may offer one thing to do. */

export interface Toast {
  id: number;
  text: string;
  kind: "note" | "problem";
  action?: { title: string; run: () => void };
}

const SECONDS = { note: 6, problem: 10 };

class Toasts {
  list = $state<Toast[]>([]);
  #next = 1;

  add(kind: Toast["kind"], text: string, action?: Toast["action"]): void {
    const again = this.list.find((toast) => toast.text === text);
    if (again) this.close(again.id);
    const id = this.#next++;
    this.list = [...this.list.slice(-3), { id, text, kind, action }];
    setTimeout(() => this.close(id), 1000 * SECONDS[kind] * (action ? 2 : 1));
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();

export function note(text: string, action?: Toast["action"]): void {
  toasts.add("note", text, action);
}

export function problem(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  toasts.add("problem", /[.!?]$/.test(text) ? text : `${text}.`);
}
