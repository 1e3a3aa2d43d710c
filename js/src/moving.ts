// Where the reviewer goes: from card to card, from page to page, from list to list. Keys that are pressed while a page is
// on its way wait for it.

import { type App, refuse } from "./app";
import { leavesPage } from "./places";
import type { Fields } from "./protocol";
import { isAtEnd, isLastPage, moved, nextList, pathsOf, placed, toggled } from "./state";

/** Move the cursor alone; what is selected stays. */
export function moveOnly(app: App, by: number): void {
  const { at } = moved(app.state, by, false);
  app.set({ at, anchor: at });
  app.focus();
}

/** Move the cursor; at an end of the page it goes on to the next one, unless it was sent to that end. */
export function move(app: App, by: number, extend = false, crosses = true): void {
  const { state } = app;
  if (app.channel.isTurning()) {
    app.held.push(() => move(app, by, extend, crosses));
    return;
  }
  const mayCross = crosses && !extend && !(by < 0 && isAtEnd(state)) && leavesPage(state, by);
  if (mayCross && by > 0) {
    if (!isLastPage(state)) return turn(app, 1);
    if (by === 1) app.set(placed(state, state.cards.size, false));
  } else if (mayCross && (state.page?.page ?? 0) > 0) {
    return turn(app, -1, true);
  } else app.set(moved(state, isAtEnd(state) && by < 0 && crosses ? -1 : by, extend && !state.large));
  app.set({ notice: "" });
  app.focus();
}

/** Turn to another page. */
export function turn(app: App, by: number, toLast = false): void {
  if (app.channel.isTurning()) {
    app.held.push(() => turn(app, by, toLast));
    return;
  }
  const page = (app.state.page?.page ?? 0) + by;
  if (page < 0 || page >= (app.state.page?.pages ?? 0)) return;
  const id = app.channel.ask("turn", { page });
  if (toLast) app.toLast.add(id);
}

/** Open a list of the sidebar. */
export function openList(app: App, fields: Fields<"open">): void {
  app.set({ tab: "images", hasDrawer: false });
  app.channel.ask("open", fields);
  app.focus();
}

/** Open the next list that has undecided images, around the end of the sidebar. */
export function openNext(app: App, by: 1 | -1): void {
  if (app.channel.isTurning()) {
    app.held.push(() => openNext(app, by));
    return;
  }
  const next = nextList(app.state, by);
  if (next) openList(app, { label: next.label });
  else refuse(app, "Every image of the other lists is decided.");
}

export function filter(app: App, fields: Fields<"filter">): void {
  app.channel.ask("filter", fields);
  app.focus();
}

/** Put the cursor on a card. */
export function point(app: App, path: string, extend: boolean, toggle: boolean): void {
  const at = pathsOf(app.state).indexOf(path);
  app.set({ ...(toggle ? toggled(app.state, path) : placed(app.state, at, extend)), notice: "", choosing: null });
  app.focus();
}
