/** Undo and redo as pure functions over whole documents, which are never changed in place. */

export interface History<T> {
  past: T[];
  present: T;
  future: T[];
  /** What the last change was, so that the many steps of one drag become one step to undo. */
  gesture: string | null;
}

const LONGEST = 200;

export function begin<T>(present: T): History<T> {
  return { past: [], present, future: [], gesture: null };
}

/** Changes with the same `gesture` as the one before replace it; null always starts a new step. */
export function change<T>(history: History<T>, present: T, gesture: string | null = null): History<T> {
  if (present === history.present) return history;
  if (gesture !== null && gesture === history.gesture) return { ...history, present, future: [] };
  return { past: [...history.past, history.present].slice(-LONGEST), present, future: [], gesture };
}

/** Ends a gesture: the next change is a step of its own. */
export function settle<T>(history: History<T>): History<T> {
  return history.gesture === null ? history : { ...history, gesture: null };
}

export function undo<T>(history: History<T>): History<T> {
  const previous = history.past.at(-1);
  if (previous === undefined) return history;
  return { past: history.past.slice(0, -1), present: previous, future: [history.present, ...history.future], gesture: null };
}

export function redo<T>(history: History<T>): History<T> {
  const [next, ...rest] = history.future;
  if (next === undefined) return history;
  return { past: [...history.past, history.present], present: next, future: rest, gesture: null };
}
