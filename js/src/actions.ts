// What the reviewer does: each function is one action, by key, click or button.

import { type App, refuse } from "./app";
import { probable, said, toggledLabel } from "./cards";
import { membersOf, otherLabel } from "./groups";
import { type Command, commandOf, IN_FIGURES, keyName } from "./keys";
import { offered } from "./labels";
import { move, moveOnly, openNext, turn } from "./moving";
import { rowStep } from "./places";
import { DECIDING } from "./protocol";
import {
  cursorPath,
  isAtEnd,
  isLastPage,
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

/** Why no decision can be taken now, about whatever image; empty if one can. */
function delay({ state, channel, held }: App): string {
  if (state.tab === "figures") return "The overview is shown, so nothing was done: Escape goes back to the images.";
  if (channel.isTurning() || held.length > 0)
    return "The page is still opening, so nothing was decided. Look at it and press the key again.";
  const waiting = channel.waiting().filter((asked) => DECIDING.has(asked.kind));
  if (waiting[0] && performance.now() - waiting[0].since > HOLD_AFTER) {
    const decisions = waiting.length === 1 ? "1 decision is" : `${waiting.length} decisions are`;
    return `Nothing was decided: ${decisions} still waiting for the kernel's answer.`;
  }
  return "";
}

/** Why no decision can be taken now; empty if one can. */
function refusal(app: App): string {
  const { state } = app;
  const why = delay(app);
  if (why) return why;
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
  const last = paths.length > 1 ? `${paths.length} images: ${what}` : `${card?.name}: ${what}`;
  app.set({ last, announced: last });
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

/** Decide about the whole group of the cursor's card or of the selected ones: keep these or all, delete the others. */
function resolve(app: App, keepsAll: boolean): void {
  const { state, channel } = app;
  const [chosen, why] = [targets(state), refusal(app) || groupRefusal(app)];
  if (why) return refuse(app, why);
  if (!state.status || chosen.length === 0) return;
  const paths = membersOf(state, chosen[0] ?? "");
  const kept = keepsAll ? paths : chosen;
  const rest = paths.filter((path) => !kept.includes(path));
  const id = channel.ask("resolve", { version: state.status.version, paths, kept });
  // What gets another label keeps it.
  const same = kept.filter((path) => shownCard(state, path)?.action !== "relabel");
  let next = state;
  for (const [action, about] of [["keep", same] as const, ["delete", rest] as const])
    if (about.length > 0) next = started(next, { id, paths: about, action, newLabel: "" }, false);
  const last =
    rest.length === 0 ? `${kept.length} images: all are fine` : `${kept.length} kept, ${rest.length} deleted`;
  app.set({ ...placed(next, pathsOf(state).indexOf(paths.at(-1) ?? "") + 1, false), last, announced: last });
  app.focus();
}

/** Why nothing can be decided about the whole group; empty if it can. */
function groupRefusal({ state }: App): string {
  const [first = "", ...others] = targets(state);
  const paths = membersOf(state, first);
  const { members = 0 } = state.cards.get(first) ?? {};
  if (others.some((path) => !paths.includes(path)))
    return "Images of several groups are selected, so nothing was decided.";
  if (paths.length === members) return "";
  return `The page shows ${paths.length} of the ${members} images of this group, so decide about them one by one.`;
}

function takeOtherLabel(app: App): void {
  const label = otherLabel(app.state, targets(app.state)[0] ?? "");
  if (label === undefined) refuse(app, "The images of this group have the same label: R finds another one.");
  else giveLabel(app, label);
}

function takePredicted(app: App): void {
  const { state } = app;
  if (!state.page) return;
  const paths = targets(state);
  const card = shownCard(state, paths[0] ?? "");
  if (!card?.given) {
    const isBlind = paths.some((path) => state.cards.get(path)?.predicted === "");
    if (!isBlind) return decide(app, "predicted");
    const why =
      state.page.list === "audit"
        ? "The audit sample is judged without the model's prediction"
        : "There is no prediction to take";
    return refuse(app, `${why}: R finds a label.`);
  }
  const label = toggledLabel(card, state.page);
  const isSame = paths.every((path) => state.page && label === toggledLabel(state.cards.get(path) ?? card, state.page));
  if (label === undefined || !isSame)
    refuse(app, "These images have no label in common to add or remove: R finds one.");
  else decide(app, "toggle", label);
}

function takeAlternative(app: App, number: number): void {
  const card = shownCard(app.state, targets(app.state)[0] ?? "");
  const label = card && probable(card)[number]?.[0];
  if (targets(app.state).length > 1) refuse(app, "1 to 5 are about one image. Enter gives each its predicted label.");
  else if (label === undefined) refuse(app, `This image has no ${number + 1}. probable label: R finds any label.`);
  else giveLabel(app, label);
}

/** Keep what is undecided on the page, and go on: to the next page, or to the next list. */
function keepRest(app: App): void {
  const { state } = app;
  const why = delay(app);
  if (why) return refuse(app, why);
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
  const { status } = app.state;
  const isPending = app.state.underway.length > 0;
  if (kind === "undo" ? !status?.can_undo && !isPending : !status?.can_redo) return refuse(app, `Nothing to ${kind}`);
  app.set({ notice: "", last: "" });
  app.channel.ask(kind, {});
}

// What is open.

export function openLarge(app: App): void {
  const path = cursorPath(app.state);
  if (!path) return;
  // One image is to be seen, so one is to be decided about.
  app.set({
    ...placed(app.state, app.state.at, false),
    choosing: null,
    large: { path: "", url: "", error: "", compared: [] },
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
  else if (state.tab === "figures") app.set({ tab: "images" });
  else if (state.large) closeLarge(app);
  else app.set({ ...placed(state, state.at, false), hasDrawer: false, notice: "" });
  app.focus();
}

const COMMANDS: Record<Command, (app: App, key: string) => void> = {
  keep: (app) => decide(app, "keep"),
  delete: (app) => decide(app, "delete"),
  unsure: (app) => decide(app, "unsure"),
  keepOnly: (app) => resolve(app, false),
  allFine: (app) => resolve(app, true),
  otherLabel: takeOtherLabel,
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

/** What waits for a page that is on its way; decisions do not, as nobody has seen what they would be about. */
const HELD: ReadonlySet<Command> = new Set(["relabel", "large", "select", "selectPage", "undo", "redo"]);

export function run(app: App, command: Command, key = ""): void {
  if (app.state.tab === "figures" && !IN_FIGURES.has(command)) refuse(app, delay(app));
  else if (HELD.has(command) && app.channel.isTurning()) app.held.push(() => run(app, command, key));
  else COMMANDS[command](app, key);
}

/** Milliseconds without a key after which somebody has noticed that the chooser is gone. */
const PAUSE = 1000;

/** The chooser was closed by a page that came: what is still typed for it is no command. */
export function listenAfterPause(app: App): true {
  app.deafUntil = performance.now() + PAUSE;
  refuse(app, "Another page came while you were choosing a label, so nothing was decided.");
  return true;
}

/** A key, while the images or the large view have the focus. Returns whether it was one of ours. */
export function press(app: App, event: KeyboardEvent): boolean {
  const isAltGraph = event.getModifierState("AltGraph"); // writes brackets on many keyboards
  const hasModifier = event.metaKey || ((event.ctrlKey || event.altKey) && !isAltGraph);
  if (event.isComposing || (hasModifier && !event.key.startsWith("Arrow"))) return false;
  if (performance.now() < app.deafUntil) return listenAfterPause(app);
  const [up, down] = app.state.large ? [-1, 1] : [rowStep(app.state, -1), rowStep(app.state, 1)];
  const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: up, ArrowDown: down };
  const ends: Record<string, number> = { Home: -app.state.cards.size, End: app.state.cards.size };
  const by = steps[event.key] ?? ends[event.key];
  if (by !== undefined && app.state.tab === "figures") return false;
  if (by !== undefined) {
    if (event.altKey) return false;
    if (hasModifier) moveOnly(app, by);
    else move(app, by, event.shiftKey, event.key in steps);
    return true;
  }
  const command = commandOf(keyName(event), app.state.task, app.state.page?.list);
  // A key that is held down decides once.
  if (command && !event.repeat) run(app, command, event.key);
  return command !== undefined;
}
