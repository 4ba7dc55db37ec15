/** The example cases of the VisLRPDesigner user guide, chapter 3. */

import { drag, expect, open, pixels, tab, test } from "./studio";

async function firstPicture(page: import("@playwright/test").Page): Promise<string> {
  return page.evaluate(async () => (await (await fetch("./api/pictures")).json()).pictures.at(-1).id as string);
}

async function compared(page: import("@playwright/test").Page, hash: string, maps: number): Promise<Set<string>> {
  await open(page, hash);
  await page.reload();
  const images = page.getByRole("table").getByRole("img", { name: /^Row \d/ });
  await expect(images).toHaveCount(maps, { timeout: 90_000 });
  return new Set(await Promise.all((await images.all()).map(pixels)));
}

test("case 1: five popular rules explain one class differently", async ({ studio }) => {
  const picture = await firstPicture(studio);
  const columns = [1, 2, 3, 4, 5].map((i) => `model-${i}`).join(".");
  expect((await compared(studio, `#/compare?columns=${columns}&rows=${picture}_top`, 5)).size).toBe(5);
});

test("case 2: five configurations of segments, for two classes", async ({ studio }) => {
  const picture = await firstPicture(studio);
  const columns = [1, 2, 3, 4, 5].map((i) => `configuration-${i}`).join(".");
  const seen = await compared(studio, `#/compare?columns=${columns}&rows=${picture}_top.${picture}_1`, 10);
  expect(seen.size).toBe(10);
  const heads = studio.getByRole("columnheader");
  await expect(heads.nth(4).getByRole("math")).toHaveCount(3);
});

test("case 3: without its most relevant pixels the class loses its score", async ({ studio }) => {
  await studio.getByRole("combobox", { name: "Design", exact: true }).selectOption("configuration-4");
  await tab(studio, "Flip pixels");
  const row = studio.getByRole("article", { name: "Flipping 1" });
  await row.getByRole("combobox", { name: "Flip by" }).selectOption("mean");
  await row.getByRole("spinbutton", { name: "Percent of the pixels" }).fill("20");
  await row.getByRole("button", { name: "Mark", exact: true }).click();
  await expect(row.locator(".predictions > div").nth(1).locator(".on .change")).toHaveText(/^−/);
});

test("case 4: without its most relevant neurons the score changes", async ({ studio }) => {
  await tab(studio, "Neurons");
  const charts = studio.getByRole("img", { name: /neurons, sorted/ });
  await expect(charts).toHaveCount(3);
  await drag(studio, charts.first(), [0.16, 0.02], [0.45, 0.86]);
  await studio.getByRole("button", { name: /^Ablate [1-9]/ }).click();
  await expect(studio.getByRole("region", { name: "Predictions after ablation" }).locator(".on .change")).toHaveText(/[+−][\d.]*[1-9]/);
});
