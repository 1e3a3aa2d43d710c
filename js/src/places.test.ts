import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groupsOf, leavesPage, pageLayout, placesOf, rowStep } from "./places";
import type { Card } from "./protocol";
import { placed, type State } from "./state";
import { card, cards, stateOf } from "./test/made";

const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 12 });
const columns = fc.integer({ min: 1, max: 8 });

/** Cards in groups of these sizes. */
function grouped(...sizes: number[]): Card[] {
  return sizes.flatMap((size, group) =>
    Array.from({ length: size }, (_, at) =>
      card(`${group + 1}${"abcdefghijklmnopqrst"[at]}.png`, { group: group + 1, members: size, is_first: at === 0 }),
    ),
  );
}

/** A page of groups, four columns wide, with the cursor at a position. */
function at(position: number, shown: Card[]): State {
  return placed(stateOf(shown, {}, { list: "groups" }), position, false);
}

describe("the places of groups", () => {
  it("are all different, and in the order of the cards", () => {
    fc.assert(
      fc.property(sizes, columns, (each, wide) => {
        const order = placesOf(each, wide).map(({ row, column }) => row * wide + column);
        expect(order).toEqual([...new Set(order)].sort((one, other) => one - other));
      }),
    );
  });

  it("are in one row if the group fits there", () => {
    fc.assert(
      fc.property(sizes, columns, (each, wide) => {
        let from = 0;
        const places = placesOf(each, wide);
        for (const size of each) {
          const rows = new Set(places.slice(from, from + size).map(({ row }) => row));
          expect(rows.size).toBe(Math.ceil(size / wide));
          from += size;
        }
      }),
    );
  });

  it("are beside the group before where there is room, else in the next row", () => {
    expect(placesOf([2, 2, 3, 2], 4).map(({ row }) => row)).toEqual([0, 0, 0, 0, 1, 1, 1, 2, 2]);
    expect(placesOf([1, 6, 1], 4).map(({ row }) => row)).toEqual([0, 1, 1, 1, 1, 2, 2, 3]);
  });
});

describe("the arrows up and down", () => {
  it("go to the nearest card of the next row", () => {
    const shown = grouped(2, 2, 3, 2); // two rows above: ab ab, then abc, then ab
    expect([0, 1, 3].map((from) => from + rowStep(at(from, shown), 1))).toEqual([4, 5, 6]);
    expect([6, 8].map((from) => from + rowStep(at(from, shown), -1))).toEqual([2, 5]);
  });

  it("lead out of the page from its first and last row", () => {
    const shown = grouped(2, 2, 3);
    expect(leavesPage(at(1, shown), rowStep(at(1, shown), -1))).toBe(true);
    expect(leavesPage(at(1, shown), rowStep(at(1, shown), 1))).toBe(false);
    expect(leavesPage(at(5, shown), rowStep(at(5, shown), 1))).toBe(true);
  });

  it("are a row of the grid elsewhere", () => {
    const state = stateOf(cards(9));
    expect([rowStep(state, 1), rowStep(state, -1)]).toEqual([4, -4]);
    expect([0, 3, 4, 8].map((from) => leavesPage(placed(state, from, false), -4))).toEqual([true, true, false, false]);
    expect([3, 4, 8].map((from) => leavesPage(placed(state, from, false), 4))).toEqual([false, false, true]);
  });
});

describe("the cards of a page", () => {
  it("are grouped in their order", () => {
    expect(groupsOf(grouped(2, 1)).map((group) => group.map(({ path }) => path))).toEqual([
      ["1a.png", "1b.png"],
      ["2a.png"],
    ]);
  });

  it("of groups leave room for heading and frame, and take as much of the screen", () => {
    const issueLayout = { columns: 4, rows: 3, width: 160, height: 150, text: 78 };
    const group = pageLayout({ ...at(0, grouped(2)), issueLayout });
    expect(group).toEqual({ columns: 4, rows: 3, width: 148, height: 138, text: 59 });
    const single = pageLayout({ ...stateOf(cards(1), {}, { list: "issue" }), issueLayout });
    expect(single.height + single.text).toBe(issueLayout.height + issueLayout.text);
  });
});
