/** The comparison as one picture, PNG or SVG. */

import { api } from "../../api/client";
import { paint } from "../../draw/heatmap";
import { pixelsOf } from "../../draw/pixels";
import { label } from "../../formula/tex";
import { comparison } from "../../state/compare.svelte";
import { store } from "../../state/store.svelte";

const SIDE = 224;
const GAP = 16;
const LINE = 16;

interface Image {
  x: number;
  y: number;
  width: number;
  height: number;
  canvas: OffscreenCanvas;
}

interface Text {
  x: number;
  y: number;
  text: string;
  bold?: boolean;
}

function canvasOf(rgba: Uint8ClampedArray<ArrayBuffer>, width: number, height: number): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

async function layout(limit: (row: number, column: number) => number) {
  const { rows, columns } = comparison;
  const designs = columns.map((id) => store.designs.find((d) => d.id === id)!);
  const lines = Math.max(1, ...designs.map((d) => d.segments?.length ?? 0));
  const top = GAP + LINE * (lines + 1) + 8;
  const images: Image[] = [];
  const texts: Text[] = [];
  designs.forEach((design, c) => {
    const x = GAP + (c + 1) * (SIDE + GAP);
    texts.push({ x, y: GAP + 11, text: shortened(design.name, 34), bold: true });
    (design.segments ?? []).forEach((s, i) => texts.push({ x, y: GAP + 11 + LINE * (i + 1), text: shortened(`${s.first + 1}–${s.last + 1}: ${label(s.rule)}`, 38) }));
  });
  for (const [r, row] of rows.entries()) {
    const y = top + r * (SIDE + LINE + GAP);
    const fit = (width: number, height: number) => ({ width: SIDE * Math.min(1, width / height), height: SIDE * Math.min(1, height / width) });
    if (store.pictures.find((p) => p.id === row.picture)?.kind === "picture") {
      const pixels = await pixelsOf(api.imagePath(row.picture));
      images.push({ x: GAP, y, ...fit(pixels.width, pixels.height), canvas: canvasOf(pixels.rgba, pixels.width, pixels.height) });
    }
    columns.forEach((column, c) => {
      const cell = comparison.cells.get(comparison.key(row, column));
      if (!cell || cell instanceof Error) return;
      const { map } = cell;
      const x = GAP + (c + 1) * (SIDE + GAP);
      const rgba = paint(map, { colours: store.colours, limit: limit(r, c), opacity: 1 });
      images.push({ x, y, ...(map.height === 1 ? { width: SIDE, height: SIDE / 4 } : fit(map.width, map.height)), canvas: canvasOf(rgba, map.width, map.height) });
      if (c === 0) texts.push({ x: GAP, y: y + SIDE + 13, text: shortened(cell.answer.name ?? "", 36) });
    });
  }
  return { images, texts, width: GAP + (columns.length + 1) * (SIDE + GAP), height: top + rows.length * (SIDE + LINE + GAP) };
}

const shortened = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const escaped = (text: string) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

async function dataAddress(canvas: OffscreenCanvas): Promise<string> {
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error("The picture could not be written."));
    reader.readAsDataURL(blob);
  });
}

/** A file for the person; `limit` is the value of full colour of each cell. */
export async function exportPicture(kind: "png" | "svg", limit: (row: number, column: number) => number): Promise<void> {
  const { images, texts, width, height } = await layout(limit);
  let blob: Blob;
  if (kind === "svg") {
    const drawn = await Promise.all(
      images.map(async (i) => `<image x="${i.x}" y="${i.y}" width="${i.width}" height="${i.height}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${await dataAddress(i.canvas)}"/>`),
    );
    const written = texts.map((t) => `<text x="${t.x}" y="${t.y}"${t.bold ? ' font-weight="600"' : ""}>${escaped(t.text)}</text>`);
    const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#15171c">`;
    blob = new Blob([`${head}<rect width="100%" height="100%" fill="#fff"/>${drawn.join("")}${written.join("")}</svg>\n`], { type: "image/svg+xml" });
  } else {
    const canvas = new OffscreenCanvas(2 * width, 2 * height);
    const context = canvas.getContext("2d")!;
    context.scale(2, 2);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    for (const i of images) context.drawImage(i.canvas, i.x, i.y, i.width, i.height);
    context.fillStyle = "#15171c";
    for (const t of texts) {
      context.font = `${t.bold ? 600 : 400} 12px system-ui, sans-serif`;
      context.fillText(t.text, t.x, t.y);
    }
    blob = await canvas.convertToBlob({ type: "image/png" });
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `comparison.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
