import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { placeAt, SIZE } from "./place";

const frame = { left: 0, right: 1400, top: 0, bottom: 900 };
const picture = (left: number, top: number, size = 160) => ({ left, top, right: left + size, bottom: top + size });

describe("the place of the chooser", () => {
  it("is below the picture, else above it, else beside it", () => {
    expect(placeAt(picture(300, 50), frame)).toEqual({ top: 213, left: 300, height: 320 });
    expect(placeAt(picture(300, 600), frame)).toEqual({ top: 277, left: 300, height: 320 });
    const low = { ...frame, bottom: 600 };
    expect(placeAt(picture(300, 200), low)).toEqual({ top: 200, left: 463, height: 320 });
    expect(placeAt(picture(1200, 200), low)).toEqual({ top: 200, left: 937, height: 320 });
  });

  it("is not as high where it fits nowhere", () => {
    const narrow = { ...frame, right: 420, bottom: 600 };
    expect(placeAt(picture(200, 200), narrow)).toEqual({ top: 363, left: 157, height: 234 });
  });

  it("is within the frame, and leaves the buttons at the bottom of the picture free", () => {
    const sizes = fc.record({
      width: fc.integer({ min: 300, max: 2000 }),
      height: fc.integer({ min: 400, max: 1400 }),
      size: fc.integer({ min: 80, max: 280 }),
      x: fc.double({ min: 0, max: 1, noNaN: true }),
      y: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(sizes, ({ width, height, size, x, y }) => {
        const at = picture(x * (width - size), y * (height - size), size);
        const { top, left, height: high } = placeAt(at, { left: 0, top: 0, right: width, bottom: height });
        const isOver = top < at.bottom && top + high > at.bottom - 54 && left < at.right && left + SIZE.width > at.left;
        const isWithin = top >= 0 && top + high <= height && left >= 0 && left + SIZE.width <= width;
        expect([isOver, isWithin, high >= 60]).toEqual([false, true, true]);
      }),
    );
  });
});
