// The keys, and what each does now. One table serves the keyboard, the bar at the bottom, the large view and the help.

import { toggledLabel } from "./cards";
import { membersOf, otherLabel } from "./groups";
import type { Page } from "./protocol";
import { cursorPath, isAtEnd, isLastPage, nextList, type State, shownCard, targets } from "./state";

export type Command =
  | "keep"
  | "predicted"
  | "alternative"
  | "relabel"
  | "delete"
  | "unsure"
  | "keepOnly"
  | "allFine"
  | "otherLabel"
  | "undo"
  | "redo"
  | "select"
  | "selectPage"
  | "keepRest"
  | "nextPage"
  | "previousPage"
  | "nextList"
  | "previousList"
  | "large"
  | "none"
  | "help";

interface Key {
  command: Command;
  /** As `keyName` says it; the first one is shown. */
  keys: readonly string[];
  /** As a person reads it, where that differs. */
  shown?: string;
  help: string;
}

const KEYS: readonly Key[] = [
  { command: "predicted", keys: ["Enter"], shown: "⏎", help: "take the predicted label" },
  { command: "keep", keys: ["K"], help: "keep: the label is right" },
  { command: "relabel", keys: ["R"], help: "another label: type to find it" },
  {
    command: "alternative",
    keys: ["1", "2", "3", "4", "5"],
    shown: "1–5",
    help: "take the first to fifth probable label",
  },
  { command: "delete", keys: ["D"], help: "delete" },
  { command: "unsure", keys: ["S"], help: "unsure" },
  { command: "keepOnly", keys: ["G"], help: "keep this one, or those selected, and delete the rest of the group" },
  { command: "allFine", keys: ["F"], help: "all are fine: keep every image of the group, and do not ask again" },
  { command: "otherLabel", keys: ["L"], help: "take the label of the other image of the group" },
  { command: "undo", keys: ["U"], help: "undo your last action" },
  { command: "redo", keys: ["Shift+U"], help: "redo it" },
  { command: "large", keys: ["Z", "Space"], help: "open or close the large view" },
  {
    command: "select",
    keys: ["X"],
    help: "select, or no longer; Shift with an arrow selects what is passed, Ctrl with an arrow only moves",
  },
  { command: "selectPage", keys: ["A"], help: "select the page" },
  { command: "keepRest", keys: ["Shift+K"], help: "keep what is undecided on the page, and go on" },
  { command: "nextPage", keys: ["N"], help: "next page; → on the last image, too" },
  { command: "previousPage", keys: ["P"], help: "previous page; ← on the first image, too" },
  { command: "nextList", keys: ["]"], help: "next list with undecided images" },
  { command: "previousList", keys: ["["], help: "previous one" },
  { command: "none", keys: ["Escape"], shown: "Esc", help: "select nothing; close what is open" },
  { command: "help", keys: ["?"], help: "this list" },
];

/** The keys that need labels; where images carry several, some mean something else. */
const NEED_LABELS: ReadonlySet<Command> = new Set(["predicted", "relabel", "alternative"]);
/** The keys that only lists of groups have. */
const OF_GROUPS: ReadonlySet<Command> = new Set(["keepOnly", "allFine", "otherLabel"]);
const WITH_SETS: Partial<Record<Command, string>> = {
  keep: "keep: the labels are right as the card shows them",
  predicted: "add the label of this class, or remove it",
  relabel: "add or remove another label: type to find it",
  alternative: "add or remove the first to fifth probable label",
};

/** The name of a key: of a letter its capital, with `Shift+` where that is held. */
export function keyName(event: Pick<KeyboardEvent, "key" | "shiftKey">): string {
  if (event.key === " ") return "Space";
  if (!/^[a-z]$/i.test(event.key)) return event.key;
  return `${event.shiftKey ? "Shift+" : ""}${event.key.toUpperCase()}`;
}

export function commandOf(name: string, task: State["task"], list?: Page["list"]): Command | undefined {
  return keysOf(task, list).find((each) => each.keys.includes(name))?.command;
}

/** The keys of a task and of a kind of list, with their help. */
export function keysOf(task: State["task"], list?: Page["list"]): Key[] {
  const known = KEYS.filter(({ command }) => list === "groups" || !OF_GROUPS.has(command)).filter(
    ({ command }) => command !== "otherLabel" || task === "single-label",
  );
  if (task === "other") return known.filter(({ command }) => !NEED_LABELS.has(command));
  return known.map((key) => ({ ...key, help: (task === "multi-label" && WITH_SETS[key.command]) || key.help }));
}

export interface Offer {
  command: Command;
  key: string;
  text: string;
  isOff: boolean;
}

/** What works while the overview is shown in place of the images. */
export const IN_FIGURES: ReadonlySet<Command> = new Set(["undo", "redo", "nextList", "previousList", "none", "help"]);

/** What the bar at the bottom offers now. */
export function offers(state: State): Offer[] {
  const all = offersOfImages(state);
  if (state.tab === "images") return all;
  const back = { command: "none", key: "Esc", text: "Back to the images", isOff: false } as const;
  return [back, ...all.filter(({ command }) => IN_FIGURES.has(command))];
}

function offersOfImages(state: State): Offer[] {
  const card = shownCard(state, cursorPath(state));
  const hasGroups = state.page?.list === "groups"; // there F keeps a whole group
  const texts: [Command, string | null, boolean?][] = [
    ...groupTexts(state),
    ["predicted", enterText(state)],
    ["keep", card || state.selected.size ? "Keep" : null],
    ["relabel", card ? (card.given ? "Other label ±" : "Other label") : null],
    ["delete", card ? "Delete" : null],
    ["unsure", card ? "Unsure" : null],
    ["undo", state.status?.can_undo ? "Undo" : "Nothing to undo", !state.status?.can_undo],
    ["large", card ? (state.large ? "Close" : "Large") : null],
    ["keepRest", state.large || isAtEnd(state) || hasGroups ? null : "Keep rest & next"],
    ["nextPage", state.large || isLastPage(state) ? null : "Next page"],
    ["nextList", nextListText(state)],
    ["help", state.large ? null : "Keys"],
  ];
  const known = keysOf(state.task, state.page?.list);
  return texts.flatMap(([command, text, isOff = false]) => {
    const key = known.find((each) => each.command === command);
    return key && text !== null ? [{ command, key: key.shown ?? key.keys[0] ?? "", text, isOff }] : [];
  });
}

/** What can be done with the group that a decision is about. */
function groupTexts(state: State): [Command, string | null][] {
  const path = targets(state)[0] ?? "";
  if (membersOf(state, path).length === 0) return [];
  const label = otherLabel(state, path);
  return [
    ["keepOnly", "Keep, delete rest"],
    ["allFine", "All fine"],
    ["otherLabel", label ? `⇒ ${label}` : null],
  ];
}

/** What `Enter` would do. */
function enterText(state: State): string | null {
  const card = shownCard(state, targets(state)[0] ?? "");
  if (!card || !state.page) return null;
  if (state.selected.size > 1) return card.given ? "Add or remove" : "Predicted";
  const label = toggledLabel(card, state.page);
  if (card.given) return label === undefined ? null : `± ${label}`;
  if (card.predicted === "") return null;
  return card.predicted === card.label ? "Keep" : card.predicted;
}

function nextListText(state: State): string | null {
  const next = state.large ? undefined : nextList(state, 1);
  return next ? next.name : null;
}
