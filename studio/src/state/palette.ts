/** Colours of segments and of kinds of layers. */

const SEGMENTS = ["#4269d0", "#e0951a", "#d9508c", "#2fa37c", "#a463f2", "#0fa3b1", "#c2543f", "#8a7a3b"];

export function segmentColour(at: number): string {
  return SEGMENTS[at % SEGMENTS.length];
}

const KINDS: Record<string, string> = {
  input: "var(--text-3)",
  conv: "#5b8def",
  depthwise: "#7aa5f5",
  conv_transpose: "#5b8def",
  dense: "#3fae78",
  embedding: "#3fae78",
  recurrent: "#b07df0",
  attention: "#b07df0",
  pooling: "#e3a52c",
  merge: "#e56fa8",
  product: "#e56fa8",
  matmul: "#e56fa8",
  normalization: "#49b6c4",
  batch_normalization: "#49b6c4",
};

export function kindColour(kind: string): string {
  return KINDS[kind] ?? "var(--text-3)";
}

export function kindTitle(kind: string): string {
  return kind.replaceAll("_", " ");
}
