/** The pixels of a picture as the network sees it. */

export interface Pixels {
  width: number;
  height: number;
  rgba: Uint8ClampedArray<ArrayBuffer>;
}

export async function pixelsOf(address: string): Promise<Pixels> {
  const response = await fetch(address, { credentials: "same-origin" });
  if (!response.ok) throw new Error("The picture could not be loaded.");
  const bitmap = await createImageBitmap(await response.blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d")!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { width: bitmap.width, height: bitmap.height, rgba: new Uint8ClampedArray(data) };
}
