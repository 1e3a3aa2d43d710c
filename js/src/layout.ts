// How many cards fit: a page fills whole rows, and the screen.

export interface Layout {
  columns: number;
  rows: number;
  /** Pixels of the picture of a card. */
  width: number;
  height: number;
  /** Pixels of the text below it. */
  text: number;
}

export const GAP = 4;
export const LINE = 19;
/** Pixels between the frame of a group and its cards. */
export const FRAME = 6;
/** Lines of text of a card in groups, the heading among them; cards of other issues have one less. */
export const ISSUE_LINES = 4;
export const SIZES = { least: 80, usual: 160, most: 400, step: 20 };
const TWO_FROM = 240;
const MOST_CARDS = 200;
// A picture may be this much lower than wide, so that one more row fits.
const LOWEST = 0.86;

/**
 * The layout of the cards in an area.
 *
 * @param area pixels of the area
 * @param size least width of a picture in pixels
 * @param lines lines of text below a picture
 */
export function layoutOf(area: { width: number; height: number }, size: number, lines: number): Layout {
  const text = lines > 0 ? lines * LINE + 2 : 0;
  const columns = Math.max(area.width >= TWO_FROM ? 2 : 1, Math.floor((area.width + GAP) / (size + GAP)));
  const width = Math.floor((area.width - GAP * (columns - 1)) / columns);
  const fitting = Math.max(1, Math.floor((area.height + GAP) / (LOWEST * width + text + GAP)));
  const stretched = Math.floor((area.height - GAP * (fitting - 1)) / fitting) - text;
  const rows = Math.max(1, Math.min(fitting, Math.floor(MOST_CARDS / columns)));
  const height = Math.round(Math.min(Math.max(stretched, LOWEST * width), 1.25 * width));
  return { columns, rows, width, height, text };
}
