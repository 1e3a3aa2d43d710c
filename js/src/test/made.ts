// Cards, states and answers for the tests.

import type { Card, DoneReply, Page, PageReply, Row, Status } from "../protocol";
import { emptyState as before, type State, withPage } from "../state";

export function card(path: string, change: Partial<Card> = {}): Card {
  return {
    path,
    name: path,
    label: "cat",
    predicted: "dog",
    confidence: 0.9,
    alternatives: [],
    loss: "1.000",
    action: "",
    new_label: "",
    reviewer: "",
    decided_at: "",
    others: [],
    note: "",
    ...change,
  };
}

export function cards(count: number, change: Partial<Card> = {}): Card[] {
  return Array.from({ length: count }, (_, number) => card(`${number}.png`, change));
}

export function status(clock: number, change: Partial<Status> = {}): Status {
  return {
    clock,
    version: 1,
    since: 1,
    can_undo: false,
    can_redo: false,
    reviewer: "anna",
    counts: { decided: 0, changed: 0, kept: 0, scan_decided: 0, scan_kept: 0 },
    seconds: null,
    changed: [],
    decided: {},
    note: "",
    warnings: [],
    edited: "",
    history: "",
    ...change,
  };
}

export function pageReply(shown: Card[], change: Partial<Page & Status> = {}): PageReply {
  return {
    kind: "page",
    id: 1,
    ...status(0),
    split: "train",
    splits: ["train"],
    label: "cat",
    list: "class",
    page: 0,
    pages: 1,
    page_size: shown.length,
    show: "all",
    predicted: "",
    text: "",
    order: "loss",
    predictions: [],
    shown: shown.length,
    first: 0,
    at: "",
    cards: shown,
    ...change,
  };
}

export function done(clock: number, change: Partial<DoneReply> = {}): DoneReply {
  return { kind: "done", id: 1, at: "", ...status(clock), ...change };
}

export function row(label: string, decided: number, kept: number): Row {
  return { label, name: label, scored: null, otherwise: null, mean: null, kept, decided };
}

/** A state before the first page. */
export function emptyState(change: Partial<State> = {}): State {
  const layout = { columns: 4, rows: 3, width: 160, height: 160, text: 0 };
  return { ...before("single-label"), vocab: ["cat", "dog", "fox"], layout, issueLayout: layout, ...change };
}

/** A state that shows a page. */
export function stateOf(shown: Card[], change: Partial<State> = {}, page: Partial<Page & Status> = {}): State {
  return { ...withPage(emptyState(), pageReply(shown, page), new Map()), ...change };
}
