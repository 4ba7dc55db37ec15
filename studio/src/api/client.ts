/** Requests to the server of this page. What goes wrong is an `Error` with a sentence. */

import type {
  Changed, ClassScore, Code, Conservation, Curves, Design, Explanation, Flipped, Layer, NeuronMaps, Neurons, Numbers, Picture,
  Replacement, Rules, Session, Source, Values,
} from "./types";
import type { Entry, Segment } from "../state/segments";
import type { Ticket } from "../state/latest";

export class ServerError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly body: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

/** Of one open page: two tabs do not take each other's place in a channel. */
const PAGE = crypto.randomUUID().slice(0, 8);

async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const isFile = body instanceof FormData;
  let response: Response;
  try {
    response = await fetch(`./api${path}`, {
      method,
      signal,
      credentials: "same-origin",
      headers: body === undefined || isFile ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : isFile ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ServerError("The server does not answer: see whether tf-lrp studio is still running, and reload.", 0);
  }
  if (response.ok) return response;
  const found = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const detail = typeof found.detail === "string" ? found.detail : `The server answered with status ${response.status}.`;
  throw new ServerError(detail, response.status, found);
}

async function json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return (await send(method, path, body, signal)).json() as Promise<T>;
}

const query = (values: Record<string, string | number | number[]>) => {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) parts.append(name, String(one));
  }
  return `?${parts.toString()}`;
};

const id = encodeURIComponent;

function work<T>(path: string, ticket: Ticket, body: Record<string, unknown>): Promise<T> {
  const named = { ...body, channel: `${PAGE} ${ticket.channel}`, sequence: ticket.sequence };
  return json<T>("POST", path, named, ticket.signal);
}

/** What is explained; a target of null is the strongest class. */
export interface Question {
  picture: string;
  target: number | null;
  source: Source;
}

const asked = ({ picture, target, source }: Question) => ({ picture, target: target ?? "top", source });

export const api = {
  session: () => json<Session>("GET", "/session"),
  layers: async () => (await json<{ layers: Layer[] }>("GET", "/model/layers")).layers,
  rules: () => json<Rules>("GET", "/rules"),
  classes: (text: string, limit: number) =>
    json<{ classes: { index: number; name: string }[]; total: number }>("GET", `/classes${query({ query: text, limit })}`),

  pictures: async () => (await json<{ pictures: Picture[] }>("GET", `/pictures${query({ limit: 1000 })}`)).pictures,
  imagePath: (picture: string) => `./api/pictures/${id(picture)}/image`,
  values: (picture: string) => json<Values>("GET", `/pictures/${id(picture)}/values`),
  predictions: async (picture: string, top: number, classes: number[] = []) =>
    (await json<{ classes: ClassScore[] }>("GET", `/pictures/${id(picture)}/predictions${query({ top, classes })}`)).classes,
  upload: (file: File) => {
    const form = new FormData();
    form.append("file", file);
    return json<Picture>("POST", "/pictures", form);
  },
  deletePicture: (picture: string) => send("DELETE", `/pictures/${id(picture)}`),
  restorePicture: (picture: string) => json<Picture>("POST", `/pictures/${id(picture)}/restore`),

  designs: async () => (await json<{ designs: Design[] }>("GET", "/designs")).designs,
  createDesign: (name: string, segments: Segment[], others: Entry[]) => json<Design>("POST", "/designs", { name, segments, others }),
  importDesign: (preset: unknown, name?: string) => json<Design>("POST", `/designs/import${name ? query({ name }) : ""}`, preset),
  changeDesign: (design: string, change: { revision: number; name?: string; segments?: Segment[]; others?: Entry[] }) =>
    json<Design>("PUT", `/designs/${id(design)}`, change),
  duplicateDesign: (design: string, name: string) => json<Design>("POST", `/designs/${id(design)}/duplicate${query({ name })}`),
  deleteDesign: (design: string) => send("DELETE", `/designs/${id(design)}`),
  restoreDesign: (design: string) => json<Design>("POST", `/designs/${id(design)}/restore`),
  exportPath: (design: string) => `./api/designs/${id(design)}/preset.json`,

  explain: (ticket: Ticket, question: Question, layers: string[] = []) =>
    work<Explanation>("/explain", ticket, { ...asked(question), layers }),
  flip: (ticket: Ticket, body: { picture: string; mask: string; how: Replacement; target: number | null; top?: number }) =>
    work<Flipped>("/flip", ticket, { ...body, target: body.target ?? "top" }),
  curve: (ticket: Ticket, question: Question, how: Replacement, patch: number, percent: number) =>
    work<Curves>("/flip/curve", ticket, { ...asked(question), how, patch, percent }),
  neurons: (ticket: Ticket, question: Question, layer: string) => work<Neurons>("/neurons", ticket, { ...asked(question), layer }),
  neuronMaps: (ticket: Ticket, question: Question, layer: string, channels: number[]) =>
    work<NeuronMaps>("/neurons/maps", ticket, { ...asked(question), layer, channels }),
  ablate: (ticket: Ticket, body: { picture: string; layer: string; channels: number[]; target: number | null }) =>
    work<Changed>("/ablate", ticket, { ...body, target: body.target ?? "top" }),
  conservation: (ticket: Ticket, question: Question) => work<Conservation>("/conservation", ticket, asked(question)),
  evaluate: (ticket: Ticket, question: Question, region: { box?: number[]; mask?: string; own?: boolean }) =>
    work<Numbers>("/evaluate", ticket, { ...asked(question), ...region }),
  code: (question: Question) => json<Code>("POST", "/code", asked(question)),
};
