// The state of the page, and the pure functions that change it. What the kernel said is kept apart from what is on its
// way there, and the screen shows the second on top of the first.

import { decidedCard, type Task } from "./cards";
import { type Layout, SIZES } from "./layout";
import type { Card, Figures, Page, PageReply, Row, Status } from "./protocol";

/** A decision that the kernel has not answered yet. */
export interface Underway {
  id: number;
  paths: readonly string[];
  action: string;
  newLabel: string;
}

/** An image beside the large one. */
export interface ComparedImage {
  path: string;
  title: string;
  caption: string;
  url: string;
}

export interface Large {
  path: string;
  url: string;
  error: string;
  compared: ComparedImage[];
}

export interface Choosing {
  /** The card that the chooser stands at. */
  path: string;
  typed: string;
  marked: number;
}

export interface State {
  task: Task;
  rankedBy: string;
  vocab: readonly string[];
  page: Page | null;
  /** The cards as the kernel says, in the order of the page. */
  cards: ReadonlyMap<string, Card>;
  /** When the kernel said so, by its clock. */
  saidAt: ReadonlyMap<string, number>;
  urls: ReadonlyMap<string, string>;
  status: Status | null;
  rows: readonly Row[];
  /** When the kernel said the numbers of a list, by its clock. */
  rowsSaidAt: ReadonlyMap<string, number>;
  /** Position of the cursor; the number of cards where it is behind the last one. */
  at: number;
  anchor: number;
  selected: ReadonlySet<string>;
  /** The card under the pointer. */
  pointed: string;
  underway: readonly Underway[];
  /** Cards whose decision the kernel did not confirm. */
  unconfirmed: ReadonlySet<string>;
  /** What the reviewer is told; an error stays until the next action that succeeds. */
  notice: string;
  /** Whether an answer is missing for longer than usual. */
  isSilent: boolean;
  closedWarnings: number;
  choosing: Choosing | null;
  recent: readonly string[];
  large: Large | null;
  figures: Figures | null;
  summary: readonly string[] | null;
  tab: "images" | "figures";
  search: string;
  hasDrawer: boolean;
  isFolded: boolean;
  hasFilters: boolean;
  hasHelp: boolean;
  size: number;
  layout: Layout;
  /** The layout of lists of issues. */
  issueLayout: Layout;
  /** What was decided last, in words; empty after an undo. */
  last: string;
  /** Read out by a screen reader. */
  announced: string;
}

const NO_LAYOUT: Layout = { columns: 1, rows: 1, width: SIZES.usual, height: SIZES.usual, text: 0 };

/** The state before the first page. */
export function emptyState(task: Task): State {
  return {
    task,
    rankedBy: "loss",
    vocab: [],
    page: null,
    cards: new Map(),
    saidAt: new Map(),
    urls: new Map(),
    status: null,
    rows: [],
    rowsSaidAt: new Map(),
    at: 0,
    anchor: 0,
    selected: new Set(),
    pointed: "",
    underway: [],
    unconfirmed: new Set(),
    notice: "",
    isSilent: false,
    closedWarnings: 0,
    choosing: null,
    recent: [],
    large: null,
    figures: null,
    summary: null,
    tab: "images",
    search: "",
    hasDrawer: false,
    isFolded: false,
    hasFilters: false,
    hasHelp: false,
    size: SIZES.usual,
    layout: NO_LAYOUT,
    issueLayout: NO_LAYOUT,
    last: "",
    announced: "",
  };
}

export function pathsOf(state: State): string[] {
  return [...state.cards.keys()];
}

/** The path of the cursor's card; empty behind the last one. */
export function cursorPath(state: State): string {
  return pathsOf(state)[state.at] ?? "";
}

/** Whether the cursor is behind the last card of the page. */
export function isAtEnd(state: State): boolean {
  return state.page !== null && state.cards.size > 0 && state.at >= state.cards.size;
}

export function isLastPage(state: State): boolean {
  return state.page !== null && state.page.page + 1 >= state.page.pages;
}

/** A card as the screen shows it: with the decisions that are on their way. */
export function shownCard(state: State, path: string): Card | undefined {
  const card = state.cards.get(path);
  if (!card) return undefined;
  const reviewer = state.status?.reviewer ?? "";
  return state.underway
    .filter((each) => each.paths.includes(path))
    .reduce((shown, each) => decidedCard(shown, each.action, each.newLabel, reviewer), card);
}

export function isUnderway(state: State, path: string): boolean {
  return state.underway.some((each) => each.paths.includes(path));
}

/** What a decision is about: the selected cards in their order, else the cursor's card. */
export function targets(state: State): string[] {
  if (state.selected.size > 0) return pathsOf(state).filter((path) => state.selected.has(path));
  const path = cursorPath(state);
  return path ? [path] : [];
}

/** The next list with undecided images in the order of the sidebar, around its end; undefined for none. */
export function nextList(state: State, by: 1 | -1): Row | undefined {
  const at = state.rows.findIndex((row) => row.label === state.page?.label);
  const around = [...state.rows.slice(at + 1), ...state.rows.slice(0, Math.max(at, 0))];
  if (by < 0) around.reverse();
  return around.find((row) => row.decided < row.kept);
}

// The cursor and the selection.

export function moved(state: State, by: number, extend: boolean): State {
  const at = Math.min(Math.max(state.at + by, 0), Math.max(0, state.cards.size - 1));
  return placed(state, at, extend);
}

export function placed(state: State, at: number, extend: boolean): State {
  if (!extend) return { ...state, at, anchor: at, selected: new Set() };
  const [first, last] = [Math.min(state.anchor, at), Math.max(state.anchor, at)];
  return { ...state, at, selected: new Set(pathsOf(state).slice(first, last + 1)) };
}

export function toggled(state: State, path: string): State {
  const selected = new Set(state.selected);
  if (!selected.delete(path)) selected.add(path);
  const at = pathsOf(state).indexOf(path);
  return { ...state, at, anchor: at, selected };
}

export function toggledAll(state: State): State {
  const everything = pathsOf(state);
  return { ...state, selected: new Set(state.selected.size === everything.length ? [] : everything) };
}

// Decisions.

/** A decision is on its way; the cursor moves behind what it is about. */
export function started(state: State, decision: Underway, moves: boolean): State {
  const last = pathsOf(state).indexOf(decision.paths.at(-1) ?? "");
  const next = moves ? placed(state, last + 1, false) : state;
  const unconfirmed = without(state.unconfirmed, decision.paths);
  return { ...next, underway: [...state.underway, decision], unconfirmed, notice: "", choosing: null };
}

/** The kernel answered a decision; its cards are as it says. */
export function settled(state: State, id: number): State {
  return { ...state, underway: state.underway.filter((each) => each.id !== id) };
}

/** The kernel did not answer a decision: its cards are put back, and say so. */
export function givenUp(state: State, id: number): State {
  const paths = state.underway.filter((each) => each.id === id).flatMap((each) => each.paths);
  return { ...settled(state, id), unconfirmed: new Set([...state.unconfirmed, ...paths]) };
}

function without(paths: ReadonlySet<string>, gone: readonly string[]): ReadonlySet<string> {
  return paths.size === 0 ? paths : new Set([...paths].filter((path) => !gone.includes(path)));
}

// What the kernel says.

/** Take a page; the cursor is where the kernel says, or on the last card, or on the first. */
export function withPage(state: State, reply: PageReply, urls: ReadonlyMap<string, string>, toLast = false): State {
  const cards = new Map(reply.cards.map((card) => [card.path, card]));
  const asked = toLast ? cards.size - 1 : reply.cards.findIndex((card) => card.path === reply.at);
  const at = Math.max(0, asked);
  return {
    ...withStatus(state, reply),
    status: reply, // a page brings every card, whatever was missed before
    page: reply,
    cards,
    saidAt: new Map(reply.cards.map((card) => [card.path, reply.clock])),
    urls,
    at,
    anchor: at,
    selected: new Set(),
    pointed: "",
    unconfirmed: new Set(),
    choosing: state.choosing && cards.has(state.choosing.path) ? state.choosing : null,
    summary: null,
    notice: reply.note,
  };
}

/** Whether a reply before this one is missing, which may have brought a decision of somebody else. */
export function hasMissed(state: State, reply: Status): boolean {
  return state.status !== null && reply.since > state.status.version;
}

/** The version that the screen shows: that of a reply only if nothing before it is missing. */
function seenVersion(state: State, reply: Status): number {
  const seen = state.status?.version ?? reply.version;
  return hasMissed(state, reply) ? seen : Math.max(seen, reply.version);
}

/** Take what each reply carries. Replies may arrive in another order than the kernel sent them. */
export function withStatus(state: State, reply: Status): State {
  const [cards, saidAt] = [new Map(state.cards), new Map(state.saidAt)];
  const news = reply.changed.filter(({ path }) => cards.has(path) && reply.clock >= (saidAt.get(path) ?? 0));
  for (const card of news) {
    // What only a page says stays.
    const { error, size } = cards.get(card.path) ?? {};
    cards.set(card.path, { ...card, ...(error ? { error } : {}), ...(size ? { size } : {}) });
    saidAt.set(card.path, reply.clock);
  }
  const isLatest = reply.clock >= (state.status?.clock ?? 0);
  const unconfirmed = without(
    state.unconfirmed,
    news.map((card) => card.path),
  );
  return {
    ...state,
    ...(news.length > 0 ? { cards, saidAt, unconfirmed } : {}),
    ...withProgress(state, reply),
    status: { ...(isLatest || !state.status ? reply : state.status), version: seenVersion(state, reply) },
  };
}

/** The sidebar's rows with changed numbers; rows without news stay the same objects. */
function withProgress(state: State, { clock, decided }: Status): Pick<State, "rows" | "rowsSaidAt"> {
  const rowsSaidAt = new Map(state.rowsSaidAt);
  const news = Object.entries(decided).filter(([label]) => clock >= (rowsSaidAt.get(label) ?? 0));
  if (news.length === 0) return { rows: state.rows, rowsSaidAt };
  for (const [label] of news) rowsSaidAt.set(label, clock);
  const numbers = new Map(news);
  const rows = state.rows.map((row) => {
    const [decided = row.decided, kept = row.kept] = numbers.get(row.label) ?? [];
    return numbers.has(row.label) ? { ...row, decided, kept } : row;
  });
  return { rows, rowsSaidAt };
}
