import { readFile } from "node:fs/promises";
import { drag, expect, pixels, tab, test } from "./studio";

test.describe("5. comparison", () => {
  test("rows and columns are added and changed", async ({ studio }) => {
    await tab(studio, "Compare");
    const maps = studio.getByRole("table").getByRole("img", { name: /^Row \d/ });
    const columns = await studio.getByRole("columnheader").getByRole("combobox").count();
    expect(columns).toBeGreaterThan(1);
    await expect(maps).toHaveCount(columns);
    await studio.getByRole("button", { name: "Row", exact: true }).click();
    await expect(maps).toHaveCount(2 * columns);
    const before = await pixels(maps.nth(columns));
    const target = studio.getByRole("combobox", { name: "Class of row 2" });
    await expect(target.locator("option")).not.toHaveCount(1);
    await target.selectOption({ index: 2 });
    await expect.poll(() => pixels(maps.nth(columns))).not.toBe(before);
    await studio.getByRole("combobox", { name: "Picture of row 2" }).selectOption({ index: 3 });
    await studio.getByRole("combobox", { name: "Design of column 2" }).selectOption("paper-cmp-a2-flat");
    await expect(studio.getByRole("table").getByRole("math").first()).toBeVisible();
    await expect(maps).toHaveCount(2 * columns);
    await studio.reload();
    await expect(maps).toHaveCount(2 * columns);
  });

  test("is exported as PNG and SVG", async ({ studio }) => {
    await tab(studio, "Compare");
    await expect(studio.getByRole("table").getByRole("img", { name: /^Row 1/ })).not.toHaveCount(0);
    for (const [kind, start] of [["PNG", "89504e47"], ["SVG", "3c737667"]]) {
      const download = studio.waitForEvent("download");
      await studio.getByRole("button", { name: kind, exact: true }).click();
      const bytes = await readFile(await (await download).path());
      expect(bytes.subarray(0, 4).toString("hex")).toBe(start);
      expect(bytes.length).toBeGreaterThan(5000);
      if (kind === "SVG") expect(bytes.toString()).toContain("LRP-ε, ε = 0.3");
    }
  });
});

test.describe("6. pixel flipping", () => {
  test("predictions change while one brushes, and come back", async ({ studio }) => {
    await tab(studio, "Flip pixels");
    const row = studio.getByRole("article", { name: "Flipping 1" });
    await expect(row.getByRole("img", { name: "After flipping" })).toBeVisible();
    const after = row.locator(".predictions > div").nth(1);
    const before = await after.innerText();
    await drag(studio, row.getByRole("group", { name: /^Picture to brush on/ }), [0.2, 0.3], [0.8, 0.7]);
    await expect(row.getByText(/[1-9]\d* pixels marked/)).toBeVisible();
    await expect.poll(() => after.innerText()).not.toBe(before);
    await row.getByRole("combobox", { name: "Flip by" }).selectOption("mean");
    await row.getByRole("button", { name: "Undo the last stroke" }).click();
    await expect(row.getByText(/ 0 pixels marked/)).toBeVisible();
    await drag(studio, row.getByRole("group", { name: /^Heatmap to brush on/ }), [0.3, 0.5], [0.6, 0.5]);
    const marked = Number((await row.getByText(/pixels marked/).innerText()).match(/(\d+) pixels/)![1]);
    await row.getByRole("button", { name: "Eraser" }).click();
    await drag(studio, row.getByRole("group", { name: /^Heatmap to brush on/ }), [0.3, 0.5], [0.4, 0.5]);
    await expect.poll(async () => Number((await row.getByText(/pixels marked/).innerText()).match(/(\d+) pixels/)![1])).toBeLessThan(marked);
    await row.getByRole("button", { name: "Clear" }).click();
    await row.getByRole("button", { name: "Mark", exact: true }).click();
    await expect(row.getByText(/[1-9]\d* pixels marked/)).toBeVisible();
    await studio.getByRole("button", { name: "Row", exact: true }).click();
    await expect(studio.getByRole("article", { name: "Flipping 2" })).toBeVisible();
  });

  test("the curve is drawn against random order", async ({ studio }) => {
    await tab(studio, "Flip pixels");
    await studio.getByRole("button", { name: "Draw the curve" }).click();
    const chart = studio.getByRole("img", { name: /^Score of .* Most relevant first/ });
    await expect(chart).toBeVisible({ timeout: 90_000 });
    await expect(chart.locator("path")).toHaveCount(3);
    await expect(studio.getByText(/AOPC/).first()).toBeVisible();
  });
});

test.describe("7. neuron ablation", () => {
  test("neurons are chosen by a rectangle and by cells, looked at and ablated", async ({ studio }) => {
    await tab(studio, "Neurons");
    const section = studio.getByRole("region", { name: "Neuron ablation" });
    const charts = section.getByRole("img", { name: /neurons, sorted/ });
    await expect(charts).toHaveCount(3);
    await drag(studio, charts.first(), [0.16, 0.02], [0.5, 0.86]);
    await expect(section.getByRole("button", { name: /^Ablate [1-9]/ })).toBeEnabled();
    await expect(section.getByRole("img", { name: /^Relevance of neuron/ }).first()).toBeVisible();
    await expect(section.getByRole("img", { name: /^Activation of neuron/ }).first()).toBeVisible();
    const cell = section.getByRole("button", { name: /^Neuron \d+$/, pressed: false }).first();
    const name = (await cell.getAttribute("aria-label"))!;
    await cell.click();
    await expect(section.getByRole("button", { name, exact: true })).toHaveAttribute("aria-pressed", "true");
    await section.getByRole("button", { name: /^Ablate/ }).click();
    const result = section.getByRole("region", { name: "Predictions after ablation" });
    await expect(result.getByRole("listitem").first()).toBeVisible();
    await expect(result.locator(".change").first()).toHaveText(/[+−±]/);
  });

  test("another layer is chosen", async ({ studio }) => {
    await tab(studio, "Neurons");
    const layer = studio.getByRole("combobox", { name: "Layer" });
    await layer.selectOption({ index: 3 });
    await expect(studio).toHaveURL(/layer=/);
    await expect(studio.getByRole("img", { name: /neurons, sorted/ })).toHaveCount(3);
  });
});
