import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dragged, fitted, MOST, type View, zoomed } from "./zoom";

const size = (most: number) =>
  fc.record({ width: fc.integer({ min: 1, max: most }), height: fc.integer({ min: 1, max: most }) });
const images = size(8000);
const frames = size(2000);
const steps = fc.array(
  fc.record({
    wheel: fc.integer({ min: -3000, max: 3000 }),
    x: fc.integer({ min: -1000, max: 1000 }),
    y: fc.integer({ min: -1000, max: 1000 }),
  }),
  { maxLength: 12 },
);

/** The point of the image that is under a point of the frame, in image pixels from its centre. */
function under(view: View, x: number, y: number): [number, number] {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

describe("the large image", () => {
  it("is fitted whole into its frame, in its middle", () => {
    fc.assert(
      fc.property(images, frames, (image, frame) => {
        const { scale, x, y } = fitted(image, frame);
        expect(scale * image.width).toBeLessThanOrEqual(frame.width * (1 + 1e-9));
        expect(scale * image.height).toBeLessThanOrEqual(frame.height * (1 + 1e-9));
        expect([x, y]).toEqual([0, 0]);
      }),
    );
  });

  it("is enlarged ten times at most, so that a small one stays small", () => {
    expect(fitted({ width: 8, height: 8 }, { width: 1000, height: 700 }).scale).toBe(MOST);
    expect(fitted({ width: 140, height: 70 }, { width: 1400, height: 700 }).scale).toBe(10);
    expect(fitted({ width: 2000, height: 100 }, { width: 1000, height: 700 }).scale).toBe(0.5);
  });

  it("never leaves its frame, is never smaller than fitted and never larger than ten times", () => {
    fc.assert(
      fc.property(images, frames, steps, (image, frame, turns) => {
        let view = fitted(image, frame);
        const least = view.scale;
        for (const { wheel, x, y } of turns) {
          view = dragged(zoomed(view, wheel, { x, y }, image, frame), y, x, image, frame);
          expect(view.scale).toBeGreaterThanOrEqual(least);
          expect(view.scale).toBeLessThanOrEqual(MOST);
          for (const [at, pixels, room] of [
            [view.x, view.scale * image.width, frame.width],
            [view.y, view.scale * image.height, frame.height],
          ] as const) {
            // Its edges are at those of the frame or beyond, or it is in the middle.
            expect(Math.abs(at)).toBeLessThanOrEqual(Math.max(0, (pixels - room) / 2) + 1e-6);
          }
        }
      }),
    );
  });

  it("keeps the point under the pointer where it is, as far as its edges allow", () => {
    fc.assert(
      fc.property(steps, (turns) => {
        const [image, frame] = [
          { width: 4000, height: 3000 },
          { width: 800, height: 600 },
        ];
        let view = fitted(image, frame);
        for (const { wheel, x, y } of turns) {
          const pointer = { x: (x / 1000) * 400, y: (y / 1000) * 300 };
          const before = under(view, pointer.x, pointer.y);
          const larger = zoomed(view, -Math.abs(wheel), pointer, image, frame);
          const after = under(larger, pointer.x, pointer.y);
          expect(after[0]).toBeCloseTo(before[0], 6);
          expect(after[1]).toBeCloseTo(before[1], 6);
          view = zoomed(larger, Math.abs(wheel) / 2, pointer, image, frame);
        }
      }),
    );
  });

  it("goes back to the middle when it is zoomed out", () => {
    const [image, frame] = [
      { width: 4000, height: 3000 },
      { width: 800, height: 600 },
    ];
    const larger = zoomed(fitted(image, frame), -2000, { x: 300, y: -200 }, image, frame);
    expect(larger.x).not.toBe(0);
    const { scale, x, y } = zoomed(larger, 9000, { x: 0, y: 0 }, image, frame);
    expect([scale, Math.abs(x), Math.abs(y)]).toEqual([0.2, 0, 0]);
  });
});
