import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GAP, layoutOf, SIZES } from "./layout";

const areas = fc.record({
  width: fc.integer({ min: 1, max: 6000 }),
  height: fc.integer({ min: 1, max: 4000 }),
});
const sizes = fc.integer({ min: SIZES.least, max: 2 * SIZES.most });
const lines = fc.integer({ min: 0, max: 2 });

describe("the layout", () => {
  it("has whole rows, and at most the 200 cards that the kernel sends", () => {
    fc.assert(
      fc.property(areas, sizes, lines, (area, size, count) => {
        const { columns, rows } = layoutOf(area, size, count);
        expect([columns, rows].every((each) => Number.isInteger(each) && each >= 1)).toBe(true);
        expect(columns * rows).toBeLessThanOrEqual(200);
      }),
    );
  });

  it("fills the width with pictures that are at least as wide as asked, where one fits", () => {
    fc.assert(
      fc.property(areas, sizes, lines, (area, size, count) => {
        const { columns, width } = layoutOf(area, size, count);
        const taken = columns * width + (columns - 1) * GAP;
        expect(taken).toBeLessThanOrEqual(area.width);
        expect(area.width - taken).toBeLessThan(columns);
        if (area.width >= 2 * size + GAP) expect(width).toBeGreaterThanOrEqual(size);
      }),
    );
  });

  it("shows all rows without scrolling, unless too few would fit", () => {
    fc.assert(
      fc.property(areas, sizes, lines, (area, size, count) => {
        const { columns, rows, height, text } = layoutOf(area, size, count);
        const taken = rows * (height + text) + (rows - 1) * GAP;
        if (rows > 1 && columns * (rows - 1) >= 12) expect(taken).toBeLessThanOrEqual(area.height + rows);
      }),
    );
  });

  it("has pictures that are nearly square", () => {
    fc.assert(
      fc.property(areas, sizes, lines, (area, size, count) => {
        const { width, height } = layoutOf(area, size, count);
        expect(height).toBeGreaterThanOrEqual(Math.floor(0.86 * width));
        expect(height).toBeLessThanOrEqual(Math.ceil(1.25 * width));
      }),
    );
  });

  it("shows about thirty cards on a usual screen", () => {
    expect(layoutOf({ width: 1150, height: 760 }, SIZES.usual, 1)).toMatchObject({ columns: 7, rows: 4 });
  });
});
