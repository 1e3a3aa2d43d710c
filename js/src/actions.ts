// What the reviewer does: each function is one action, by key, click or button.

import type { App } from "./app";
import { said, toggledLabel } from "./cards";
import { type Command, commandOf, keyName } from "./keys";
import { offered } from "./labels";
import { DECIDING, type Fields } from "./protocol";
import {
  cursorPath,
  isAtEnd,
  isLastPage,
  moved,
  nextList,
  pathsOf,
  placed,
  shownCard,
  started,
  targets,
  toggled,
  toggledAll,
} from "./state";

/** Milliseconds after which further decisions wait until the kernel has answered. */
export const HOLD_AFTER = 2000;

/** Say visibly why a key did nothing. */
function refuse(app: App, notice: string): void {
  app.set({ notice, announced: notice });
}

/** Why no decision can be taken now; empty if one can. */
function refusal(app: App): string {
  const { state, channel } = app;
  if (channel.isTurning() || app.held.length > 0)
    return "The page is still opening, so nothing was decided. Look at it and press the key again.";
  const waiting = channel.waiting().filter((asked) => DECIDING.has(asked.kind));
  if (waiting[0] && performance.now() - waiting[0].since > HOLD_AFTER) {
    const decisions = waiting.length === 1 ? "1 decision is" : `${waiting.length} decisions are`;
    return `Nothing was decided: ${decisions} still waiting for the kernel's answer.`;
  }
  if (isAtEnd(state) && state.selected.size === 0) {
    const next = isLastPage(state) ? "] opens the next list" : "→ opens the next page";
    return `This is the end of the page, so nothing was decided: ${next}, ← goes back to the last image.`;
  }
  return "";
}

/** Decide about some images: the selected ones, or the cursor's; the cursor then moves behind them. */
export function decide(app: App, action: string, newLabel = "", paths = targets(app.state), moves = true): void {
  const { state, channel } = app;
  if (!state.page || !state.status) return;
  const why = refusal(app);
  if (why) return refuse(app, why);
  if (paths.length === 0) return;
  const fields = { version: state.status.version, paths, action, ...(newLabel ? { new_label: newLabel } : {}) };
  const id = channel.ask("decide", fields);
  app.set(started(state, { id, paths, action, newLabel }, moves));
  const card = shownCard(app.state, paths[0] ?? "");
  const what = card ? said(card, card.given) || "undecided" : "";
  app.set({ announced: paths.length > 1 ? `${paths.length} images: ${what}` : `${card?.name}: ${what}` });
  app.focus();
}

/** Give the images a label, or where they carry several, add or remove it. */
export function giveLabel(app: App, label: string, paths = targets(app.state), moves = true): void {
  const { state } = app;
  const card = shownCard(state, paths[0] ?? "");
  app.set({ recent: [label, ...state.recent.filter((each) => each !== label)].slice(0, 5), choosing: null });
  if (card?.given) decide(app, "toggle", label, paths, false);
  else {
    // An image that has the label already keeps it.
    const has = (path: string) => state.cards.get(path)?.label === label;
    const [same, others] = [paths.filter(has), paths.filter((path) => !has(path))];
    if (same.length > 0) decide(app, "keep", "", same, moves && others.length === 0);
    if (others.length > 0) decide(app, "relabel", label, others, moves);
  }
}

function takePredicted(app: App): void {
  const { state } = app;
  if (!state.page) return;
  const paths = targets(state);
  const card = shownCard(state, paths[0] ?? "");
  if (!card?.given) return decide(app, "predicted");
  const label = toggledLabel(card, state.page);
  const isSame = paths.every((path) => state.page && label === toggledLabel(state.cards.get(path) ?? card, state.page));
  if (label === undefined || !isSame)
    refuse(app, "These images have no label in common to add or remove: R finds one.");
  else decide(app, "toggle", label);
}

function takeAlternative(app: App, number: number): void {
  const card = shownCard(app.state, cursorPath(app.state));
  const label = card?.alternatives[number]?.[0];
  if (label === undefined) refuse(app, `This image has no ${number + 1}. probable label: R finds any label.`);
  else giveLabel(app, label);
}

/** Keep what is undecided on the page, and go on: to the next page, or to the next list. */
function keepRest(app: App): void {
  const { state } = app;
  const undecided = pathsOf(state).filter((path) => shownCard(state, path)?.action === "");
  if (undecided.length > 0) {
    app.set({ selected: new Set(), at: state.cards.size - 1 });
    decide(app, "keep", "", undecided, false);
    if (app.state.underway.at(-1)?.paths !== undecided) return; // it was refused
  }
  goOnOnceSaved(app);
}

/** What is refused is to be seen; and which list is the next one, only the answer says: an image may be in several. */
function goOnOnceSaved(app: App): void {
  if (app.state.underway.length > 0) app.held.push(() => goOnOnceSaved(app));
  else if (!isLastPage(app.state)) turn(app, 1);
  else if (nextList(app.state, 1)) openNext(app, 1);
  else {
    app.set(placed(app.state, app.state.cards.size, false));
    app.focus();
  }
}

function undo(app: App, kind: "undo" | "redo"): void {
  if (app.channel.isTurning()) return refuse(app, "The page is still opening: press the key again.");
  app.channel.ask(kind, {});
}

// Moving.

/** Move the cursor; at an end of the page it goes on to the next one, unless it was sent to that end. */
export function move(app: App, by: number, extend = false, crosses = true): void {
  const { state } = app;
  if (app.channel.isTurning()) {
    app.held.push(() => move(app, by, extend, crosses));
    return;
  }
  const last = state.cards.size - 1;
  const step = Math.abs(by);
  const mayCross = crosses && !extend;
  const isOnLastRow = by > 0 && Math.floor(state.at / step) >= Math.floor(last / step);
  const isOnFirstRow = by < 0 && state.at < step && !isAtEnd(state);
  if (mayCross && isOnLastRow) {
    if (!isLastPage(state)) return turn(app, 1);
    if (step === 1) app.set(placed(state, state.cards.size, false));
  } else if (mayCross && isOnFirstRow && (state.page?.page ?? 0) > 0) {
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

// What is open.

export function openLarge(app: App): void {
  const path = cursorPath(app.state);
  if (!path) return;
  // One image is to be seen, so one is to be decided about.
  app.set({
    ...placed(app.state, app.state.at, false),
    choosing: null,
    large: { path: "", url: "", error: "", typical: [] },
  });
}

export function closeLarge(app: App): void {
  if (app.state.large?.url) URL.revokeObjectURL(app.state.large.url);
  app.set({ large: null, choosing: null });
  app.focus();
}

export function choose(app: App, path = cursorPath(app.state)): void {
  const card = shownCard(app.state, path);
  if (!card) return;
  // Where nothing is suggested, Enter takes nothing.
  const marked = card.predicted && card.predicted !== card.label ? 0 : -1;
  app.set({ choosing: app.state.choosing?.path === path ? null : { path, typed: "", marked } });
}

/** The labels of the open chooser. */
export function choices(app: App): string[] {
  const card = shownCard(app.state, app.state.choosing?.path ?? "");
  return card ? offered(card, app.state.vocab, app.state.recent) : [];
}

function closeOne(app: App): void {
  const { state } = app;
  if (state.choosing) app.set({ choosing: null });
  else if (state.large) closeLarge(app);
  else app.set({ ...placed(state, state.at, false), hasDrawer: false, notice: "" });
  app.focus();
}

const COMMANDS: Record<Command, (app: App, key: string) => void> = {
  keep: (app) => decide(app, "keep"),
  delete: (app) => decide(app, "delete"),
  unsure: (app) => decide(app, "unsure"),
  predicted: takePredicted,
  alternative: (app, key) => takeAlternative(app, Number(key) - 1),
  relabel: (app) => choose(app),
  undo: (app) => undo(app, "undo"),
  redo: (app) => undo(app, "redo"),
  select: (app) => !app.state.large && cursorPath(app.state) && app.set(toggled(app.state, cursorPath(app.state))),
  selectPage: (app) => !app.state.large && app.set(toggledAll(app.state)),
  keepRest: (app) => !app.state.large && keepRest(app),
  nextPage: (app) => turn(app, 1),
  previousPage: (app) => turn(app, -1),
  nextList: (app) => !app.state.large && openNext(app, 1),
  previousList: (app) => !app.state.large && openNext(app, -1),
  large: (app) => (app.state.large ? closeLarge(app) : openLarge(app)),
  none: closeOne,
  help: (app) => app.set({ hasHelp: true }),
};

export function run(app: App, command: Command, key = ""): void {
  COMMANDS[command](app, key);
}

/** A key, while the images or the large view have the focus. Returns whether it was one of ours. */
export function press(app: App, event: KeyboardEvent): boolean {
  const isAltGraph = event.getModifierState("AltGraph"); // writes brackets on many keyboards
  if (event.isComposing || event.metaKey || ((event.ctrlKey || event.altKey) && !isAltGraph)) return false;
  const columns = app.state.large ? 1 : app.state.layout.columns;
  const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const ends: Record<string, number> = { Home: -app.state.cards.size, End: app.state.cards.size };
  const by = steps[event.key] ?? ends[event.key];
  if (by !== undefined) {
    move(app, by, event.shiftKey, event.key in steps);
    return true;
  }
  const command = commandOf(keyName(event), app.state.task);
  // A key that is held down decides once.
  if (command && !event.repeat) run(app, command, event.key);
  return command !== undefined;
}
