import { describe, expect, it } from "vitest";
import { COLOUR_MAPS, css, level, table } from "../src/colour/maps";
import { decodeFloats, encodeBytes, limitOf, paint, valueAt } from "../src/draw/heatmap";
import { count, empty, largest, stroke } from "../src/draw/mask";
import { WHOLE, pan, pointAt, zoom } from "../src/draw/zoom";

describe("colour maps", () => {
  it("put zero at the colour in the middle", () => {
    for (const map of COLOUR_MAPS) {
      expect([...table(map.id).slice(3 * 128, 3 * 128 + 3)]).toEqual(map.stops[(map.stops.length - 1) / 2]);
      expect([...table(map.id).slice(0, 3)]).toEqual(map.stops[0]);
      expect([...table(map.id).slice(-3)]).toEqual(map.stops.at(-1));
    }
  });

  it("show positive relevance red and negative blue", () => {
    const red = css("red-blue", 1, 1).match(/\d+/g)!.map(Number);
    const blue = css("red-blue", -1, 1).match(/\d+/g)!.map(Number);
    expect(red[0]).toBeGreaterThan(red[2]);
    expect(blue[2]).toBeGreaterThan(blue[0]);
  });

  it("cut values beyond the range, and bear what is no number", () => {
    expect([level(9, 1), level(-9, 1), level(0, 1), level(NaN, 1), level(1, 0)]).toEqual([255, 0, 128, 128, 128]);
  });
});

describe("heatmaps", () => {
  const map = { height: 2, width: 2, values: new Float32Array([1, -2, 0, 0.5]) };

  it("read what the server sends", () => {
    const bytes = new Uint8Array(new Float32Array([1.5, -2]).buffer);
    expect([...decodeFloats(encodeBytes(bytes))]).toEqual([1.5, -2]);
  });

  it("range over their largest absolute value, or a part of them", () => {
    expect(limitOf(map.values)).toBe(2);
    expect(limitOf(map.values, 0.5)).toBe(1);
    expect(limitOf([0, 0])).toBe(0);
    expect(limitOf([NaN, 1])).toBe(1);
  });

  it("mix with the picture below by the opacity", () => {
    const picture = new Uint8ClampedArray(16).fill(100);
    expect(paint(map, { colours: "red-blue", limit: 2, opacity: 0 }, picture)[0]).toBe(100);
    expect([...paint(map, { colours: "red-blue", limit: 2, opacity: 1 }, picture).slice(8, 12)]).toEqual([255, 255, 255, 255]);
    expect(paint(map, { colours: "red-blue", limit: 2, opacity: 0 }, new Uint8ClampedArray(4))[8]).toBe(255);
  });

  it("tell the value under the pointer", () => {
    expect(valueAt(map, 0.9, 0.1)).toBe(-2);
    expect(valueAt(map, 1.01, 0.1)).toBeNull();
  });
});

describe("zoom", () => {
  it("keeps the point under the pointer", () => {
    const before = pointAt(WHOLE, 0.3, 0.6);
    const view = zoom(WHOLE, 3, 0.3, 0.6);
    const after = pointAt(view, 0.3, 0.6);
    expect(after.x).toBeCloseTo(before.x);
    expect(after.y).toBeCloseTo(before.y);
  });

  it("never leaves the picture", () => {
    const view = pan(zoom(WHOLE, 4), 5, -5);
    expect(view).toEqual({ scale: 4, x: 0.125, y: 0.875 });
    expect(zoom(view, 0.001)).toEqual(WHOLE);
    expect(pan(WHOLE, 1, 1)).toEqual(WHOLE);
  });
});

describe("marks", () => {
  it("are made by a round brush along a line", () => {
    const marks = stroke(empty(20, 10), 20, { x: 3, y: 5 }, { x: 15, y: 5 }, 4, 1);
    for (let x = 3; x <= 15; x++) expect(marks[5 * 20 + x]).toBe(1);
    expect(marks[0]).toBe(0);
    expect(marks[9 * 20 + 9]).toBe(0);
    expect(count(marks)).toBeGreaterThan(12 * 4);
  });

  it("are freed by the eraser, and never changed in place", () => {
    const full = stroke(empty(8, 8), 8, { x: 4, y: 4 }, { x: 4, y: 4 }, 30, 1);
    expect(count(full)).toBe(64);
    const rest = stroke(full, 8, { x: 4, y: 4 }, { x: 4, y: 4 }, 2, 0);
    expect(count(rest)).toBeLessThan(64);
    expect(count(full)).toBe(64);
  });

  it("stay inside the picture", () => {
    expect(count(stroke(empty(8, 8), 8, { x: -50, y: -50 }, { x: 100, y: 100 }, 1, 1))).toBeLessThanOrEqual(24);
  });

  it("take the largest values", () => {
    expect([...largest([1, -5, 3, 2], 0.5)]).toEqual([0, 0, 1, 1]);
    expect(count(largest([1, 2, 3], 0))).toBe(0);
    expect(count(largest([1, 2, 3], 1))).toBe(3);
  });
});
