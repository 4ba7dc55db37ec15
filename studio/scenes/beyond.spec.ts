import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { drag, expect, heatmap, newDesign, open, pixels, settled, tab, test } from "./studio";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

interface Violation {
  id: string;
  nodes: { html: string; failureSummary?: string }[];
}

test.describe("8. beyond the guide", () => {
  test("colour map, range and opacity change the map, and a reload restores them", async ({ studio }) => {
    const seen = [await pixels(heatmap(studio))];
    await studio.getByRole("combobox", { name: "Colour map" }).selectOption("purple-orange");
    seen.push(await pixels(heatmap(studio)));
    await studio.getByRole("combobox", { name: "Range of colours" }).selectOption("0.99");
    seen.push(await pixels(heatmap(studio)));
    await studio.getByRole("slider", { name: /Opacity/ }).fill("0.5");
    seen.push(await pixels(heatmap(studio)));
    expect(new Set(seen).size).toBe(4);
    await studio.reload();
    await settled(studio);
    await expect.poll(() => pixels(heatmap(studio))).toBe(seen[3]);
  });

  test("zoom and pan move all maps in step, and the value under the pointer is shown", async ({ studio }) => {
    const frame = studio.getByRole("group", { name: /^Relevance of the picture/ });
    await frame.hover();
    await expect(studio.locator(".value.number")).toHaveText(/\d+, \d+ · /);
    await frame.focus();
    await studio.keyboard.press("+");
    await studio.keyboard.press("+");
    await drag(studio, frame, [0.5, 0.5], [0.7, 0.4]);
    const moved = await heatmap(studio).evaluate((e) => (e as HTMLElement).style.transform);
    expect(moved).toContain("scale(2.25)");
    await expect(studio.getByRole("img", { name: "Relevance below segment 1" })).toHaveCSS("transform", /matrix/);
    expect(await studio.getByRole("img", { name: "Relevance below segment 1" }).evaluate((e) => (e as HTMLElement).style.transform)).toBe(moved);
    await studio.getByRole("button", { name: "Show the whole picture" }).click();
    await expect(studio).not.toHaveURL(/view=/);
  });

  test("a link opens the same view elsewhere", async ({ studio, context }) => {
    await studio.getByRole("region", { name: "Predictions" }).getByRole("button").nth(1).click();
    await settled(studio);
    const hash = new URL(studio.url()).hash;
    const other = await context.newPage();
    await open(other, hash);
    expect(await pixels(heatmap(other))).toBe(await pixels(heatmap(studio)));
  });

  test("the token does not stay in the address", async ({ studio }) => {
    expect(studio.url()).not.toContain("token");
  });

  test("the view is copied as Python and as a command", async ({ studio }) => {
    for (const [item, text] of [
      ["Copy as Python", "from tf_lrp import"],
      ["Copy as command", "tf-lrp explain"],
    ]) {
      await studio.getByRole("button", { name: "Copy this view" }).click();
      await studio.getByRole("menuitem", { name: item }).click();
      await expect.poll(() => studio.evaluate(() => navigator.clipboard.readText())).toContain(text);
    }
  });

  test("undo and redo go through changes of a design", async ({ studio }) => {
    await newDesign(studio);
    const segment = studio.getByRole("button", { name: /^Segment 1/ });
    await studio.getByRole("button", { name: "LRP-flat", exact: true }).click();
    await studio.getByRole("button", { name: "LRP-w2", exact: true }).click();
    await studio.keyboard.press("Control+z");
    await expect(segment).toContainText("LRP-flat");
    await studio.keyboard.press("Control+Shift+z");
    await expect(segment).toContainText("LRP-w²");
  });

  test("two tabs do not overwrite each other silently", async ({ studio, context }) => {
    await newDesign(studio);
    await expect(studio.getByText("Saved").first()).toBeVisible();
    const other = await context.newPage();
    await open(other, new URL(studio.url()).hash);
    await other.getByRole("button", { name: "LRP-flat", exact: true }).click();
    await expect(other.getByText("Saved").first()).toBeVisible();
    await settled(other);
    await other.waitForTimeout(800);
    await studio.getByRole("button", { name: "LRP-w2", exact: true }).click();
    const message = studio.getByRole("region", { name: "Messages" });
    await expect(message).toContainText("was changed in another tab");
    await message.getByRole("button", { name: "Keep mine" }).click();
    await expect(studio.getByText("Saved").first()).toBeVisible();
    await studio.reload();
    await expect(studio.getByRole("button", { name: /^Segment 1/ })).toContainText("LRP-w²");
  });

  test("the account says where the relevance went, and numbers of the heatmap", async ({ studio }) => {
    await tab(studio, "Account");
    const account = studio.getByRole("region", { name: "Where the relevance went" });
    await expect(account.getByText(/reached the input/)).toBeVisible();
    expect(await account.getByRole("row").count()).toBeGreaterThan(5);
    const evaluation = studio.getByRole("region", { name: "Evaluation" });
    await expect(evaluation.locator("dd").first()).toHaveText(/\d/);
    const before = await evaluation.locator("dl").innerText();
    await drag(studio, evaluation.getByRole("group", { name: /^Brush the pixels/ }), [0.4, 0.4], [0.6, 0.6]);
    await expect(evaluation.getByRole("radio", { name: "brushed" })).toBeChecked();
    await expect.poll(() => evaluation.locator("dl").innerText()).not.toBe(before);
  });

  test("tabs are reached by keys", async ({ studio }) => {
    await studio.getByRole("tab", { name: "Design" }).focus();
    await studio.keyboard.press("ArrowRight");
    await expect(studio.getByRole("tab", { name: "Compare" })).toHaveAttribute("aria-selected", "true");
    await studio.keyboard.press("Alt+4");
    await expect(studio.getByRole("tab", { name: "Neurons" })).toHaveAttribute("aria-selected", "true");
  });

  for (const theme of ["light", "dark"] as const) {
    test(`axe finds no violation, ${theme}`, async ({ studio }) => {
      await studio.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
      for (const name of ["Design", "Compare", "Flip pixels", "Neurons", "Account"]) {
        await tab(studio, name);
        await expect(studio.locator("main .skeleton")).toHaveCount(0);
        await studio.evaluate(axe);
        const violations = await studio.evaluate(async () => {
          const { axe } = window as unknown as { axe: { run: (options: object) => Promise<{ violations: Violation[] }> } };
          return (await axe.run({ resultTypes: ["violations"] })).violations.map((v) => [v.id, ...v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))]);
        });
        expect(violations, `in ${name}`).toEqual([]);
      }
    });
  }

  test("nothing is loaded from elsewhere, and the page is usable within two seconds", async ({ page }) => {
    const foreign: string[] = [];
    const origin = new URL(process.env.STUDIO_URL!).origin;
    page.on("request", (request) => !request.url().startsWith(origin) && !/^(data|blob):/.test(request.url()) && foreign.push(request.url()));
    await open(page);
    const start = Date.now();
    await page.reload();
    await settled(page);
    const seconds = (Date.now() - start) / 1000;
    console.log(`usable after ${seconds.toFixed(2)} s`);
    expect(foreign).toEqual([]);
    expect(seconds).toBeLessThan(process.env.CI ? 8 : 4);
  });
});
