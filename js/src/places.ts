// Where the cards of a page stand. Groups of copies are put side by side into the rows of the page, as
// cleaner/review/pages.py counts them: a group is in one row if it fits there, else in rows of its own.

import { FRAME, type Layout, LINE } from "./layout";
import type { Card } from "./protocol";
import type { State } from "./state";

export interface Place {
  row: number;
  column: number;
}

/** The layout of the open list: cards of issues have more text. */
export function pageLayout({ page, layout, issueLayout }: State): Layout {
  const { width, height, text } = issueLayout;
  if (page?.list === "issue") return { ...issueLayout, height: height + LINE, text: text - LINE };
  if (page?.list !== "groups") return layout;
  // The heading takes a line of the text, and the frame takes from the picture.
  return { ...issueLayout, width: width - 2 * FRAME, height: height - 2 * FRAME, text: text - LINE };
}

/** The cards of a page by group, in their order. */
export function groupsOf(cards: Iterable<Card>): Card[][] {
  const groups = new Map<number, Card[]>();
  for (const card of cards) groups.set(card.group ?? 0, [...(groups.get(card.group ?? 0) ?? []), card]);
  return [...groups.values()];
}

/** The place of each card, by its position on the page. */
export function placesOf(sizes: readonly number[], columns: number): Place[] {
  let [row, column] = [0, 0];
  return sizes.flatMap((size) => {
    if (column > 0 && column + size > columns) [row, column] = [row + 1, 0];
    const places = Array.from({ length: size }, (_, at) => ({
      row: row + Math.floor((column + at) / columns),
      column: (column + at) % columns,
    }));
    if (size > columns) row += Math.ceil(size / columns) - 1;
    column = size > columns ? columns : column + size;
    return places;
  });
}

/** The place of each card of the page. */
export function placesOnPage(state: State): Place[] {
  const cards = [...state.cards.values()];
  const sizes = state.page?.list === "groups" ? groupsOf(cards).map((group) => group.length) : cards.map(() => 1);
  return placesOf(sizes, pageLayout(state).columns);
}

/** How far the arrow up or down goes: to the card of the next row that stands nearest. */
export function rowStep(state: State, by: 1 | -1): number {
  const { columns } = pageLayout(state);
  if (state.page?.list !== "groups") return by * columns;
  const places = placesOnPage(state);
  const from = places[state.at];
  if (!from) return by;
  const beside = places.flatMap(({ row, column }, at) => (row === from.row + by ? [{ at, column }] : []));
  const distance = ({ column }: { column: number }) => Math.abs(column - from.column);
  const nearest = beside.reduce((best, each) => (best && distance(best) <= distance(each) ? best : each), beside[0]);
  return nearest ? nearest.at - state.at : by * columns;
}

/** Whether a step of the cursor leads out of the page. */
export function leavesPage(state: State, by: number): boolean {
  const last = state.cards.size - 1;
  if (by === 1) return state.at >= last;
  if (by === -1) return state.at <= 0;
  const places = placesOnPage(state);
  const row = places[state.at]?.row ?? Number.POSITIVE_INFINITY;
  return by > 0 ? row >= (places[last]?.row ?? 0) : row === 0;
}
