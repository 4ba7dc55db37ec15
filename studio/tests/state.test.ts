import { describe, expect, it } from "vitest";
import { begin, change, redo, settle, undo } from "../src/state/history";
import { Channel } from "../src/state/latest";
import { START, read, write } from "../src/state/location";
import { below, borderAt, edges, lanes, rowsOf } from "../src/state/ruler";
import { describeSelector, freeName, longest, moveBorder, remove, segmentOf, setRule, split, type Segment } from "../src/state/segments";

const A = { class: "ZRule" };
const B = { class: "Epsilon", epsilon: 0.1 };
const one: Segment[] = [{ first: 0, last: 9, rule: A }];
const two: Segment[] = [{ first: 0, last: 3, rule: A }, { first: 4, last: 9, rule: B }];

const covers = (segments: Segment[]) =>
  segments.every((s, i) => s.first <= s.last && s.first === (i ? segments[i - 1].last + 1 : 0)) && segments.at(-1)!.last === 9;

describe("segments", () => {
  it("are split in the middle, keeping their rule", () => {
    expect(split(one, 0)).toEqual([{ first: 0, last: 4, rule: A }, { first: 5, last: 9, rule: A }]);
    const single = [{ first: 2, last: 2, rule: A }];
    expect(split(single, 0)).toBe(single);
    expect(longest(two)).toBe(1);
  });

  it("leave no gap when one is removed", () => {
    expect(remove(two, 1)).toEqual([{ first: 0, last: 9, rule: A }]);
    expect(remove(two, 0)).toEqual([{ first: 0, last: 9, rule: B }]);
    expect(remove(one, 0)).toBe(one);
  });

  it("keep at least one layer each while a border moves", () => {
    expect(moveBorder(two, 1, 6)).toEqual([{ first: 0, last: 5, rule: A }, { first: 6, last: 9, rule: B }]);
    expect(moveBorder(two, 1, -5)[0]).toMatchObject({ first: 0, last: 0 });
    expect(moveBorder(two, 1, 99)[1]).toMatchObject({ first: 9, last: 9 });
    expect(moveBorder(two, 0, 3)).toBe(two);
    expect(moveBorder(two, 1, 4)).toBe(two);
  });

  it("cover all layers whatever is done to them", () => {
    let segments = one;
    let seed = 7;
    const next = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    for (let i = 0; i < 2000; i++) {
      const at = next(segments.length);
      segments = [() => split(segments, at), () => remove(segments, at), () => moveBorder(segments, at, next(14) - 2)][next(3)]();
      expect(covers(segments)).toBe(true);
    }
  });

  it("are never changed in place", () => {
    const before = JSON.stringify(two);
    setRule(two, 0, B);
    moveBorder(two, 1, 7);
    remove(two, 0);
    split(two, 1);
    expect(JSON.stringify(two)).toBe(before);
  });

  it("are found by layer", () => {
    expect([0, 3, 4, 9].map((i) => segmentOf(two, i))).toEqual([0, 0, 1, 1]);
    expect(segmentOf(two, null)).toBe(-1);
  });

  it("have names and words", () => {
    expect(freeName("Design", ["Design", "Design 2"])).toBe("Design 3");
    expect(freeName("Design 2", ["Design", "Design 2"])).toBe("Design 3");
    expect(freeName("Design", [])).toBe("Design");
    expect(describeSelector({ select: "kind", kinds: ["max_pooling", "merge"], rule: A })).toBe("max pooling, merge");
    expect(describeSelector({ select: "index", start: 0, stop: 3, rule: A })).toBe("layers 1 to 4");
  });
});

describe("history", () => {
  it("goes back and forth", () => {
    let history = change(change(begin(1), 2), 3);
    history = undo(history);
    expect(history.present).toBe(2);
    history = undo(undo(history));
    expect(history.present).toBe(1);
    history = redo(redo(redo(history)));
    expect(history.present).toBe(3);
  });

  it("drops what was undone when something else is done", () => {
    const history = change(undo(change(begin("a"), "b")), "c");
    expect(history.future).toEqual([]);
    expect(undo(history).present).toBe("a");
  });

  it("counts one drag as one step", () => {
    let history = begin(0);
    for (let i = 1; i <= 50; i++) history = change(history, i, "slider");
    history = change(settle(history), 51, "slider");
    expect(undo(history).present).toBe(50);
    expect(undo(undo(history)).present).toBe(0);
  });

  it("ignores changes that change nothing", () => {
    const history = begin(1);
    expect(change(history, 1)).toBe(history);
  });
});

describe("latest wins", () => {
  const held = () => {
    let finish: (value: string) => void = () => {};
    const promise = new Promise<string>((resolve) => (finish = resolve));
    return { promise, finish: (value: string) => finish(value) };
  };

  it("runs one at a time, and then the newest only", async () => {
    const channel = new Channel("explain");
    const first = held();
    const sent: number[] = [];
    const work = (value: string) => channel.run(async ({ sequence }) => (sent.push(sequence), value));
    const one = channel.run(() => first.promise);
    const two = work("two");
    const three = work("three");
    expect(await two).toBeUndefined();
    expect(channel.busy).toBe(true);
    first.finish("one");
    expect(await one).toBe("one");
    expect(await three).toBe("three");
    expect(sent).toEqual([2]);
    expect(channel.busy).toBe(false);
  });

  it("reports errors, and goes on", async () => {
    const channel = new Channel("explain");
    const bad = channel.run(async () => {
      throw new Error("bad");
    });
    const good = channel.run(async () => "good");
    await expect(bad).rejects.toThrow("bad");
    expect(await good).toBe("good");
  });

  it("aborts and drops everything when it is cancelled", async () => {
    const channel = new Channel("explain");
    const first = held();
    let signal: AbortSignal | undefined;
    const one = channel.run((ticket) => ((signal = ticket.signal), first.promise));
    const two = channel.run(async () => "two");
    channel.cancel();
    const three = channel.run(async ({ sequence }) => `three ${sequence}`);
    expect(await three).toBe("three 2");
    first.finish("late");
    expect([await one, await two]).toEqual([undefined, undefined]);
    expect(signal?.aborted).toBe(true);
  });
});

describe("the link", () => {
  it("holds the whole state", () => {
    const place = { ...START, tab: "flip" as const, picture: "p-1", target: 243, design: "new", segment: 2, layer: "conv/2", colours: "grey",
      opacity: 0.6, range: 0.99, shared: true, view: { scale: 2.5, x: 0.25, y: 0.75 }, columns: ["new", "model-1"], rows: [{ picture: "p-1", target: 3 }, { picture: "p-2", target: null }] };
    expect(read(write(place))).toEqual(place);
  });

  it("is short at the start", () => {
    expect(write(START)).toBe("#/design");
    expect(read("")).toEqual(START);
  });

  it("survives being cut or edited", () => {
    for (const hash of ["#", "#/nowhere", "#/design?class=-3&view=9_9_9&opacity=7&segment=x", "#/design?view=1e9", "#?class=&opacity="]) {
      expect(read(hash)).toEqual(START);
    }
  });
});

describe("the ruler", () => {
  const layer = (name: string, inputs: string[], index: number | null, position: number, shape: number[] = [8, 8, 4]) => ({
    name, inputs, index, segment_position: position, kind: inputs.length ? "conv" : "input", relevance: name, output_shape: shape,
  });
  const branched = [
    layer("input", [], null, -1),
    layer("squeeze", ["input"], 0, 0),
    layer("left", ["squeeze"], 1, 1),
    layer("right", ["squeeze"], 2, 2),
    layer("join", ["left", "right"], null, 2),
    layer("flatten", ["join"], null, 2, [256]),
    layer("dense", ["flatten"], 3, 3, [10]),
  ];

  it("puts branches side by side and joins them", () => {
    expect(lanes(branched)).toEqual([0, 0, 0, 1, 0, 0, 0]);
    expect(edges(branched)).toHaveLength(7);
  });

  it("shows below a segment the nearest layer that is a picture", () => {
    expect(below(branched, 3)).toBe("join");
    expect(below(branched, 1)).toBe("squeeze");
    expect(below(branched, 0)).toBeNull();
  });

  it("gives each row to one segment", () => {
    expect(rowsOf(branched, 0, 0, true)).toEqual({ top: 0, bottom: 1 });
    expect(rowsOf(branched, 1, 3, false)).toEqual({ top: 2, bottom: 6 });
  });

  it("drops borders on layers with weights", () => {
    expect(borderAt(branched, 4)).toBe(3);
    expect(borderAt(branched, 0)).toBe(0);
    expect(borderAt(branched, 99)).toBe(3);
  });
});
