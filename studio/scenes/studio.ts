/** What all scenes share: an open page, and what can be read of it. */

import { expect, test as base, type Locator, type Page } from "@playwright/test";

export const MODEL = process.env.STUDIO_MODEL ?? "shapes";

export const test = base.extend<{ studio: Page }>({
  studio: async ({ page }, use) => {
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => message.type() === "error" && !/status of 4(00|09|13|15)/.test(message.text()) && problems.push(message.text()));
    await open(page);
    await use(page);
    expect(problems, "errors in the page's console").toEqual([]);
  },
});

export { expect };

/** Opens the page, at a place of it, and waits until it shows a heatmap. */
export async function open(page: Page, hash = ""): Promise<void> {
  await page.goto(`${process.env.STUDIO_URL}${hash}`);
  await expect(page.getByRole("main", { name: "Workspace" })).toBeVisible();
  if (!hash || hash.startsWith("#/design")) await settled(page);
}

/** Waits until the map is that of the state. */
export async function settled(page: Page): Promise<void> {
  await expect(page.getByRole("img", { name: "Relevance of the picture’s pixels" })).toBeVisible();
  await expect(page.getByRole("region", { name: "Heatmap" })).toHaveAttribute("aria-busy", "false");
}

/** A digest of a canvas's pixels. */
export function pixels(map: Locator): Promise<string> {
  return map.evaluate(async (element) => {
    const canvas = element as HTMLCanvasElement;
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const digest = await crypto.subtle.digest("SHA-256", data);
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  });
}

export const heatmap = (page: Page) => page.getByRole("img", { name: "Relevance of the picture’s pixels" });

/** A design of one's own with one segment, LRP-0. */
export async function newDesign(page: Page): Promise<void> {
  await manage(page, "New design");
  await expect(page.getByRole("combobox", { name: "Design", exact: true })).toContainText(/Design/);
  await settled(page);
}

export async function manage(page: Page, item: string): Promise<void> {
  await page.getByRole("button", { name: "Manage designs" }).click();
  await page.getByRole("menuitem", { name: item }).click();
}

export async function tab(page: Page, name: string): Promise<void> {
  await page.getByRole("tab", { name }).click();
  await expect(page.getByRole("tab", { name })).toHaveAttribute("aria-selected", "true");
}

/** Draws with the mouse from one point of an element to another, in parts of it. */
export async function drag(page: Page, element: Locator, from: [number, number], to: [number, number]): Promise<void> {
  await element.scrollIntoViewIfNeeded();
  const box = (await element.boundingBox())!;
  const at = ([x, y]: [number, number]) => [box.x + x * box.width, box.y + y * box.height] as const;
  await page.mouse.move(...at(from));
  await page.mouse.down();
  await page.mouse.move(...at([(from[0] + to[0]) / 2, (from[1] + to[1]) / 2]), { steps: 4 });
  await page.mouse.move(...at(to), { steps: 4 });
  await page.mouse.up();
}
