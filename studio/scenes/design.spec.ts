import { readFile } from "node:fs/promises";
import { expect, heatmap, manage, newDesign, pixels, settled, test } from "./studio";

test.describe("1. pictures and predictions", () => {
  test("a click on a class explains it", async ({ studio }) => {
    const classes = studio.getByRole("region", { name: "Predictions" }).getByRole("button");
    await expect(classes.nth(1)).toBeVisible();
    const before = await pixels(heatmap(studio));
    const name = (await classes.nth(1).innerText()).split("\n")[0];
    await classes.nth(1).click();
    await expect(studio.getByRole("region", { name: "Heatmap" }).getByRole("heading")).toHaveText(name);
    await settled(studio);
    expect(await pixels(heatmap(studio))).not.toBe(before);
    await expect(studio).toHaveURL(/class=\d+/);
  });

  test("another picture is chosen from the gallery", async ({ studio }) => {
    const gallery = studio.getByRole("region", { name: "Pictures", exact: true }).getByRole("listitem");
    const before = await pixels(heatmap(studio));
    await gallery.nth(2).getByRole("button").click();
    await settled(studio);
    expect(await pixels(heatmap(studio))).not.toBe(before);
  });

  test("pictures are uploaded by dialog and by dropping, and taken back", async ({ studio }) => {
    const gallery = studio.getByRole("region", { name: "Pictures", exact: true });
    const png = Buffer.from(
      "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAIUlEQVR4nGP4z8DwHwYZGBgYGBj+o4kx4JcYVUCUAgAeRh/hMxkHagAAAABJRU5ErkJggg==",
      "base64",
    );
    const count = await gallery.getByRole("listitem").count();
    const image = await studio.evaluate(async () => {
      const canvas = new OffscreenCanvas(48, 40);
      const context = canvas.getContext("2d")!;
      context.fillStyle = "#c33";
      context.fillRect(8, 8, 20, 20);
      return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    });
    await gallery.getByLabel("Picture files").setInputFiles({ name: "mine <b>.png", mimeType: "image/png", buffer: Buffer.from(image) });
    await expect(gallery.getByRole("listitem")).toHaveCount(count + 1);
    await expect(gallery.getByRole("button", { name: "mine <b>" }).first()).toHaveAttribute("aria-pressed", "true");
    await settled(studio);
    await studio.evaluate((bytes) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
      for (const type of ["dragenter", "dragover", "drop"]) dispatchEvent(new DragEvent(type, { dataTransfer: transfer, cancelable: true }));
    }, image);
    await expect(gallery.getByRole("button", { name: /^dropped/ })).toHaveAttribute("aria-pressed", "true");
    await gallery.getByRole("button", { name: "Remove this picture" }).click();
    await expect(gallery.getByRole("button", { name: /^dropped/ })).toHaveCount(0);
    await studio.getByRole("region", { name: "Messages" }).getByRole("button", { name: "Undo" }).click();
    await expect(gallery.getByRole("button", { name: /^dropped/ })).toHaveCount(1);
    await gallery.getByLabel("Picture files").setInputFiles({ name: "broken.png", mimeType: "image/png", buffer: png.subarray(0, 20) });
    await expect(studio.getByRole("region", { name: "Messages" })).toContainText("broken.png cannot be read");
  });

  test("classes are searched by name", async ({ studio }) => {
    const search = studio.getByRole("searchbox", { name: "Find a class" });
    test.skip(!(await search.isVisible()), "the network has ten classes or fewer: there is nothing to search");
    await search.fill("cat");
    const found = studio.getByRole("region", { name: "Predictions" }).getByRole("listitem");
    await expect(studio.getByText(/of \d+ classes|\d+ class/).first()).toBeVisible();
    for (const text of await found.allInnerTexts()) expect(text.toLowerCase()).toContain("cat");
    await found.nth(1).getByRole("button").click();
    await settled(studio);
    await expect(studio).toHaveURL(/class=\d+/);
  });
});

test.describe("2. the segment ruler", () => {
  test("a segment is added, its border moved by keys and by dragging, and it is removed", async ({ studio }) => {
    await newDesign(studio);
    const cards = studio.getByRole("button", { name: /^Segment \d/ });
    await studio.getByRole("button", { name: "Segment", exact: true }).click();
    await expect(cards).toHaveCount(2);
    const border = studio.getByRole("slider", { name: "Border below segment 1" });
    const start = Number(await border.getAttribute("aria-valuenow"));
    await border.focus();
    await studio.keyboard.press("ArrowUp");
    await expect(border).toHaveAttribute("aria-valuenow", String(start - 1));
    const box = (await border.boundingBox())!;
    await studio.mouse.move(box.x + box.width / 2, box.y + 6);
    await studio.mouse.down();
    await studio.mouse.move(box.x + box.width / 2, box.y + 160, { steps: 6 });
    await studio.mouse.up();
    expect(Number(await border.getAttribute("aria-valuenow"))).toBeGreaterThan(start - 1);
    await settled(studio);
    await expect(studio.getByRole("img", { name: "Relevance below segment 2" })).toBeVisible();
    await studio.getByRole("button", { name: "Remove segment 2" }).click();
    await expect(cards).toHaveCount(1);
    await studio.keyboard.press("Control+z");
    await expect(cards).toHaveCount(2);
  });

  test("all layers are listed, from the input to the output", async ({ studio }) => {
    const layers = studio.getByRole("list", { name: "Layers from the input to the output" }).getByRole("listitem");
    expect(await layers.count()).toBeGreaterThan(10);
    await layers.nth(1).getByRole("button").click();
    await expect(studio.getByRole("button", { name: /^Segment 1/ })).toHaveAttribute("aria-pressed", "true");
  });
});

test.describe("3. rules", () => {
  test("templates change the map, the formula and the sliders", async ({ studio }) => {
    await newDesign(studio);
    const formula = studio.getByRole("complementary", { name: "Rule" }).getByRole("math");
    const seen = new Set<string>();
    for (const [name, words] of [
      ["LRP-0", "LRP-0"],
      ["LRP-ε", "LRP-ε"],
      ["LRP-γ", "LRP-γ"],
      ["LRP-αβ", "LRP-α2β1"],
      ["LRP-w2", "LRP-w²"],
      ["LRP-flat", "LRP-flat"],
      ["LRP-zB", "LRP-zᴮ"],
      ["custom", "Custom"],
    ]) {
      await studio.getByRole("group", { name: "Templates of rules" }).getByRole("button", { name, exact: true }).click();
      await expect(formula).toHaveAttribute("aria-label", new RegExp(words));
      await expect(formula.locator(".katex-error")).toHaveCount(0);
      await settled(studio);
      seen.add(await pixels(heatmap(studio)));
    }
    expect(seen.size).toBeGreaterThanOrEqual(7);
  });

  test("the heatmap follows a slider, and one drag is one step to undo", async ({ studio }) => {
    await newDesign(studio);
    await studio.getByRole("group", { name: "Templates of rules" }).getByRole("button", { name: "LRP-ε", exact: true }).click();
    await settled(studio);
    const before = await pixels(heatmap(studio));
    const slider = studio.getByRole("slider", { name: "epsilon", exact: true });
    const box = (await slider.boundingBox())!;
    await studio.mouse.move(box.x + box.width * 0.25, box.y + 8);
    await studio.mouse.down();
    for (let i = 3; i <= 9; i++) await studio.mouse.move(box.x + (box.width * i) / 10, box.y + 8);
    await studio.mouse.up();
    await settled(studio);
    expect(Number(await slider.inputValue())).toBeGreaterThan(0.6);
    expect(await pixels(heatmap(studio))).not.toBe(before);
    await expect(studio.getByRole("complementary", { name: "Rule" }).getByRole("math")).toContainText(await slider.inputValue());
    await studio.getByRole("button", { name: "Undo", exact: true }).click();
    await settled(studio);
    await expect(slider).toHaveValue("0.25");
    expect(await pixels(heatmap(studio))).toBe(before);
  });

  test("bounds of the z-box are typed, and what is no number is refused with a sentence", async ({ studio }) => {
    await newDesign(studio);
    await studio.getByRole("group", { name: "Templates of rules" }).getByRole("button", { name: "LRP-zB", exact: true }).click();
    await settled(studio);
    const before = await pixels(heatmap(studio));
    const low = studio.getByRole("textbox", { name: "low" });
    await low.fill("-3");
    await low.press("Enter");
    await settled(studio);
    await expect.poll(() => pixels(heatmap(studio))).not.toBe(before);
    await low.fill("much");
    await low.press("Enter");
    await expect(studio.getByRole("region", { name: "Messages" })).toContainText("“much” is no number");
  });
});

test.describe("4. designs", () => {
  test("are created, renamed, duplicated, deleted with undo, exported and imported", async ({ studio }) => {
    const picker = studio.getByRole("combobox", { name: "Design", exact: true });
    const names = () => picker.locator("option").allInnerTexts();
    const name = `Mine ${Date.now()}`;
    await newDesign(studio);
    await studio.getByRole("group", { name: "Templates of rules" }).getByRole("button", { name: "LRP-γ", exact: true }).click();
    await manage(studio, "Rename");
    await studio.getByRole("textbox", { name: "Name of the design" }).fill(name);
    await studio.keyboard.press("Enter");
    await expect.poll(names).toContain(name);
    await expect(studio.getByText("Saved").first()).toBeVisible();
    const download = studio.waitForEvent("download");
    await manage(studio, "Export JSON");
    const text = await readFile(await (await download).path(), "utf-8");
    const preset = JSON.parse(text) as { name: string; rules: { rule: { class: string } }[] };
    expect(preset.name).toBe(name);
    expect(preset.rules[0].rule.class).toBe("Gamma");
    await manage(studio, "Duplicate");
    await expect.poll(names).toContain(`${name} (copy)`);
    await manage(studio, "Delete");
    await expect.poll(names).not.toContain(`${name} (copy)`);
    await studio.getByRole("region", { name: "Messages" }).getByRole("button", { name: "Undo" }).first().click();
    await expect.poll(names).toContain(`${name} (copy)`);
    const changed = JSON.stringify({ ...preset, name: `${name} back` });
    await studio.getByLabel("Preset file").setInputFiles({ name: "preset.json", mimeType: "application/json", buffer: Buffer.from(changed) });
    await expect.poll(names).toContain(`${name} back`);
    await studio.getByLabel("Preset file").setInputFiles({ name: "bad.json", mimeType: "application/json", buffer: Buffer.from("{") });
    await expect(studio.getByRole("region", { name: "Messages" })).toContainText("is not JSON");
  });

  test("a change of an example is kept in a copy of it", async ({ studio }) => {
    const picker = studio.getByRole("combobox", { name: "Design", exact: true });
    await picker.selectOption("model-2");
    await settled(studio);
    await studio.getByRole("group", { name: "Templates of rules" }).getByRole("button", { name: "LRP-flat", exact: true }).click();
    await expect(picker.locator("option:checked")).toContainText("(mine)");
    await expect(studio.getByRole("region", { name: "Messages" })).toContainText("Examples stay as they are");
  });

  test("survive a reload", async ({ studio }) => {
    await newDesign(studio);
    await studio.getByRole("group", { name: "Templates of rules" }).getByRole("button", { name: "LRP-α1β0", exact: true }).click();
    await expect(studio.getByText("Saved").first()).toBeVisible();
    await settled(studio);
    const before = await pixels(heatmap(studio));
    await studio.reload();
    await settled(studio);
    await expect(studio.getByRole("button", { name: /^Segment 1/ })).toContainText("LRP-α1β0");
    expect(await pixels(heatmap(studio))).toBe(before);
  });
});
