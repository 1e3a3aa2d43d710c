// What the browser is asked: sizes, the theme, and whether the app has the page to itself.

import type { App } from "./app";
import { ISSUE_LINES, type Layout, layoutOf, SIZES } from "./layout";
import type { Fields } from "./protocol";

const MARGIN = 12;
// Pixels of a letter of a label on average, and of a probability.
const [LETTER, PROBABILITY] = [7, 40];
const SIZE_KEY = "cleaner-picture-size";

/** The size of pictures that was chosen in this browser. */
export function savedSize(): number {
  try {
    const size = Number(localStorage.getItem(SIZE_KEY));
    return size >= SIZES.least && size <= SIZES.most ? size : SIZES.usual;
  } catch {
    return SIZES.usual; // the browser keeps nothing for this page
  }
}

export function saveSize(size: number): void {
  try {
    localStorage.setItem(SIZE_KEY, String(size));
  } catch {
    // It is chosen anew next time.
  }
}

/** The layouts for the area that the images have now: of most lists, and of lists of issues. */
export function measuredLayouts(app: App): { layout: Layout; issueLayout: Layout } {
  const area = app.el.querySelector<HTMLElement>(".cleaner-images");
  const { vocab, task, size } = app.state;
  const isLong = vocab.some((label) => label.length * LETTER > size - PROBABILITY);
  const lines = task === "other" ? 0 : isLong || task === "multi-label" ? 2 : 1;
  const style = area ? getComputedStyle(area) : null;
  const padding = (one: string, other: string) => Number.parseFloat(one) + Number.parseFloat(other);
  const width = (area?.clientWidth ?? 0) - (style ? padding(style.paddingLeft, style.paddingRight) : 0);
  const height = (area?.clientHeight ?? 0) - (style ? padding(style.paddingTop, style.paddingBottom) : 0);
  return {
    layout: layoutOf({ width, height }, size * (task === "other" ? 2 : 1), lines),
    issueLayout: layoutOf({ width, height }, size, ISSUE_LINES),
  };
}

/** Pixels of the screen that a length takes. */
export function pixels(length: number): number {
  return Math.ceil(length * devicePixelRatio);
}

/** How many cards the page takes, and how large their thumbnails are. */
export function wanted({ state: { layout, issueLayout } }: App): Omit<Fields<"fit">, "at"> {
  const { columns, rows } = issueLayout;
  const longest = Math.max(...[layout, issueLayout].flatMap(({ width, height }) => [width, height]));
  return { page_size: layout.columns * layout.rows, columns, rows, pixels: pixels(longest) };
}

/** Follow the light or dark theme of the host, for what the browser draws itself, such as the arrows of lists. */
export function followTheme(el: HTMLElement): () => void {
  const update = () => {
    const [red = 255, green = 255, blue = 255] = (getComputedStyle(el).backgroundColor.match(/[\d.]+/g) ?? []).map(
      Number,
    );
    el.style.colorScheme = 0.3 * red + 0.6 * green + 0.1 * blue < 128 ? "dark" : "light";
  };
  update();
  const observer = new MutationObserver(update);
  const attributeFilter = ["class", "data-jp-theme-light", "data-jp-theme-name", "style"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  return () => observer.disconnect();
}

/** Be as high as what scrolls around the app, such as the panel of a notebook, so that the whole app can be in sight. */
export function followRoom(el: HTMLElement): () => void {
  // The outermost: those inside, such as the output of a cell, are as high as the app makes them.
  let scroller: HTMLElement | null = null;
  for (let around = el.parentElement; around && around !== document.body; around = around.parentElement)
    if (/auto|scroll/.test(getComputedStyle(around).overflowY)) scroller = around;
  if (!scroller) return () => {};
  const panel = scroller;
  const update = () => el.style.setProperty("--room", `${panel.clientHeight - 2 * MARGIN}px`);
  const observer = new ResizeObserver(update);
  observer.observe(panel);
  update();
  return () => observer.disconnect();
}

/** Whether the sidebar lies over the images while it is open; the style sheet asks the same. */
export function isNarrow({ el }: App): boolean {
  return el.clientWidth < 700;
}

/** Whether this is the page of `cleaner serve`, which shows nothing else. */
export function isOwnPage(): boolean {
  return document.getElementById("rendered_cells") !== null && document.title === "cleaner";
}

/** Keep the keys of a notebook from acting on what has the focus here: two D would delete its cell. */
export const OURS = { "data-lm-suppress-shortcuts": "true" } as const;
