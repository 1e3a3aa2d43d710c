import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HOLD_AFTER, press } from "./actions";
import { askToFit } from "./answers";
import type { Answer, Card, Page } from "./protocol";
import { shownCard } from "./state";
import { card, cards, done, pageReply, row, stateOf, status } from "./test/made";
import { fakeBrowser, keyEvent, openPage, PATIENCE, realBrowser } from "./test/page";

beforeEach(fakeBrowser);
afterEach(realBrowser);

/** A page with some cards, and what it sends. */
function open(shown: Card[], page: Partial<Page> = {}) {
  const sent: Record<string, unknown>[] = [];
  const first = stateOf(shown, { rows: [row("cat", 0, 9), row("dog", 0, 9)] }, page);
  const { app, hear } = openPage((message) => sent.push(message), first);
  const key = (name: string, change: Partial<KeyboardEvent> = {}) => press(app, keyEvent(name, change));
  const answer = (change: object = {}) =>
    hear({ ...done(performance.now(), change), id: sent.at(-1)?.id as number } as Answer);
  const last = () => sent.at(-1) ?? {};
  return { app, sent, key, answer, hear, last };
}

/** The same, with something to undo. */
function openUndoable(shown: Card[]) {
  const page = open(shown);
  page.app.set({ status: status(0, { can_undo: true, can_redo: true }) });
  return page;
}

describe("a decision", () => {
  it("is sent about the cursor's card, with the version that was looked at", () => {
    const { key, sent } = open(cards(3));
    key("ArrowRight");
    key("d");
    expect(sent).toMatchObject([{ kind: "decide", paths: ["1.png"], action: "delete", version: 1 }]);
  });

  it("is taken once while a key is held down", () => {
    const { key, sent } = open(cards(3));
    key("d");
    expect(key("d", { repeat: true })).toBe(true);
    expect(sent).toHaveLength(1);
  });

  it("is refused while another page may come, and behind the last card", () => {
    const { app, key, sent, answer } = open(cards(1));
    app.channel.ask("turn", { page: 0 });
    key("k");
    expect(app.state.notice).toContain("still opening");
    answer();
    key("End");
    key("ArrowRight");
    key("k");
    expect(app.state.notice).toContain("end of the page");
    expect(sent.map((message) => message.kind)).toEqual(["turn", "summary"]);
  });

  it("is refused while the kernel has not answered one for long", () => {
    const { app, key, sent } = open(cards(3));
    key("k");
    vi.advanceTimersByTime(HOLD_AFTER + 1);
    key("k");
    expect(app.state.notice).toBe("Nothing was decided: 1 decision is still waiting for the kernel's answer.");
    expect(sent.filter((message) => message.kind === "decide")).toHaveLength(1);
  });

  it("that is refused by the kernel is taken off, and the cursor goes back to it", () => {
    const { app, key, answer } = open(cards(3));
    key("k");
    answer({ kind: "error", message: "Not saved: the disk is full" });
    expect(shownCard(app.state, "0.png")?.action).toBe("");
    expect([app.state.at, app.state.notice]).toEqual([0, "Not saved: the disk is full"]);
  });

  it("that is not answered is marked, and the page is asked for again with the next answer", () => {
    const { app, key, answer, last } = open(cards(3));
    key("k");
    vi.advanceTimersByTime(PATIENCE);
    expect([...app.state.unconfirmed]).toEqual(["0.png"]);
    app.channel.ask("news", {});
    answer();
    expect(last()).toMatchObject({ kind: "fit", at: "1.png" });
  });

  it("of the rest keeps what is undecided and then opens the next list", () => {
    const { key, sent, answer } = open([...cards(2, { action: "delete" }), ...cards(4).slice(2)]);
    key("K", { shiftKey: true });
    answer();
    expect(sent).toMatchObject([
      { kind: "decide", paths: ["2.png", "3.png"], action: "keep" },
      { kind: "open", label: "dog" },
    ]);
  });

  it("of the rest stays on the page if it is refused", () => {
    const { app, key, sent, answer } = open(cards(2));
    key("K", { shiftKey: true });
    answer({ kind: "error", message: "Not saved: the disk is full" });
    expect([app.state.at, app.held, sent.length]).toEqual([0, [], 1]);
  });
});

describe("the arrows", () => {
  it("go on to the next page and back to the last card of the one before", () => {
    const { app, key, last, hear } = open(cards(5), { page: 1, pages: 3 });
    key("ArrowLeft");
    expect(last()).toMatchObject({ kind: "turn", page: 0 });
    hear({ ...pageReply(cards(5), { version: 2, page: 0, pages: 3 }), id: last().id as number });
    expect(app.state.at).toBe(4);
    key("ArrowRight");
    expect(last()).toMatchObject({ kind: "turn", page: 1 });
  });

  it("leave a page that has one card", () => {
    const { key, last } = open(cards(1), { page: 2, pages: 3 });
    key("ArrowLeft");
    expect(last()).toMatchObject({ kind: "turn", page: 1 });
  });

  it("go by rows, and in the large view by cards", () => {
    const { app, key } = open(cards(9));
    key("ArrowDown");
    expect(app.state.at).toBe(4);
    key("z");
    key("ArrowUp");
    expect(app.state.at).toBe(3);
  });

  it("go from the end to the last card; Home and End stay on the page", () => {
    const { app, key } = open(cards(3), { page: 1, pages: 2 });
    key("End");
    expect(app.state.at).toBe(2);
    key("ArrowRight");
    expect(app.state.at).toBe(3);
    key("ArrowUp");
    expect(app.state.at).toBe(2);
    key("ArrowRight");
    key("Home");
    expect(app.state.at).toBe(0);
    expect(app.channel.isTurning()).toBe(false);
  });

  it("wait while a page may come, and are done when the answer is none", () => {
    const { app, key, answer } = openUndoable(cards(3));
    key("u");
    key("ArrowRight");
    expect(app.state.at).toBe(0);
    answer({ at: "1.png" });
    expect([app.state.at, app.held]).toEqual([2, []]);
  });
});

describe("a page", () => {
  const next = (clock: number, version: number) => pageReply(cards(5), { clock, version, page: 1, pages: 2 });

  it("does what was pressed while it was on its way", () => {
    const { app, key, last, hear } = open(cards(5), { pages: 2 });
    key("n");
    key("ArrowRight");
    hear({ ...next(0, 2), id: last().id as number });
    expect([app.state.page?.page, app.state.at]).toEqual([1, 1]);
  });

  it("that comes twice moves no cursor", () => {
    const { app, key, last, hear } = open(cards(5), { pages: 2 });
    key("n");
    const page = { ...next(0, 2), id: last().id as number };
    hear(page);
    key("ArrowRight");
    hear(page);
    expect(app.state.at).toBe(1);
  });

  it("that a later answer overtook is asked for again, as that one spoke of its cards", () => {
    const { app, key, last, hear } = open(cards(5), { pages: 2 });
    key("n");
    const page = { ...next(10, 2), id: last().id as number };
    hear({ ...done(20, { version: 2 }), id: null });
    hear(page);
    expect(last()).toMatchObject({ kind: "fit" });
    hear({ ...next(30, 3), id: last().id as number });
    expect(app.state.page?.page).toBe(1);
  });
});

describe("an answer", () => {
  it("of an undo moves the cursor to what it restored, once", () => {
    const { app, key, answer } = openUndoable(cards(5));
    key("u");
    answer({ at: "3.png", can_undo: true });
    expect(app.state.at).toBe(3);
    key("ArrowLeft");
    answer({ at: "3.png" });
    expect(app.state.at).toBe(2);
  });
});

describe("the keys of the page", () => {
  it("are those without Ctrl, Alt or Meta, but with AltGraph, which writes brackets", () => {
    const { key, last, sent } = open(cards(3));
    expect(key("]", { ctrlKey: true })).toBe(false);
    expect(key("k", { metaKey: true })).toBe(false);
    expect(key("k", { altKey: true })).toBe(false);
    expect(key("k", { isComposing: true })).toBe(false);
    expect(sent).toEqual([]);
    expect(key("]", { ctrlKey: true, altKey: true, getModifierState: (name) => name === "AltGraph" })).toBe(true);
    expect(last()).toMatchObject({ kind: "open", label: "dog" });
  });

  it("leave the others to the browser", () => {
    const { key } = open(cards(3));
    expect([key("Tab"), key("q"), key("F5")]).toEqual([false, false, false]);
  });
});

describe("while a page is on its way", () => {
  const page = (version: number) => pageReply(cards(3), { clock: 0, version, page: 1, pages: 2 });

  it("R and X wait for it, and what is typed decides nothing", () => {
    const { app, key, last, hear, sent } = open(cards(3), { pages: 2 });
    key("n");
    for (const name of ["r", "d"]) key(name);
    expect([app.state.choosing, sent.length]).toEqual([null, 1]);
    hear({ ...page(2), id: last().id as number });
    expect([app.state.choosing?.path, app.state.underway]).toEqual(["0.png", []]);
  });

  it("each undo waits for the one before", () => {
    const { key, sent, answer } = openUndoable(cards(3));
    for (const _ of [1, 2, 3]) key("u");
    for (const count of [1, 2, 3]) {
      expect(sent.filter(({ kind }) => kind === "undo")).toHaveLength(count);
      answer({ can_undo: true });
    }
  });

  it("keeping the rest twice goes on once", () => {
    const { app, key, sent, answer } = open(cards(3), { pages: 3 });
    key("K", { shiftKey: true });
    key("K", { shiftKey: true });
    answer();
    expect(sent.map(({ kind }) => kind)).toEqual(["decide", "turn"]);
    expect(app.held).toEqual([]);
  });
});

describe("the chooser", () => {
  it("stays open when the page comes again with its card", () => {
    const { app, key, hear } = open(cards(3));
    key("r");
    hear({ ...pageReply(cards(3), { version: 2 }), id: null });
    expect(app.state.choosing?.path).toBe("0.png");
  });

  it("that a page closes leaves the keys deaf until nobody types", () => {
    const { app, key, hear, sent } = open(cards(3));
    key("r");
    hear({ ...pageReply([card("other.png")], { version: 2 }), id: null });
    vi.advanceTimersByTime(900);
    expect(key("d")).toBe(true);
    vi.advanceTimersByTime(900);
    expect(key("d")).toBe(true);
    const decided = () => sent.filter(({ kind }) => kind === "decide");
    expect([app.state.underway, decided()]).toEqual([[], []]);
    vi.advanceTimersByTime(1100);
    key("d");
    expect(decided()).toMatchObject([{ paths: ["other.png"] }]);
  });
});

describe("the overview", () => {
  it("takes no decision about images that it hides, and no arrow", () => {
    const { app, key, sent } = open(cards(3));
    app.set({ tab: "figures" });
    for (const name of ["d", "Enter", "1", "x", "a", "z", "r"]) key(name);
    key("K", { shiftKey: true });
    expect(key("ArrowRight")).toBe(false);
    expect([sent, app.state.at, app.state.selected.size, app.state.large]).toEqual([[], 0, 0, null]);
    key("Escape");
    expect(app.state.tab).toBe("images");
  });
});

describe("several selected images", () => {
  it("get no n-th label of one of them", () => {
    const { key, sent, app } = open(cards(3));
    key("ArrowRight", { shiftKey: true });
    key("2");
    expect(sent).toEqual([]);
    expect(app.state.notice).toContain("one image");
  });

  it("stay selected while Ctrl with an arrow moves the cursor", () => {
    const { app, key } = open(cards(5));
    key("x");
    key("ArrowRight", { ctrlKey: true });
    key("ArrowRight", { ctrlKey: true });
    key("x");
    expect([...app.state.selected]).toEqual(["0.png", "2.png"]);
    key("ArrowRight");
    expect(app.state.selected.size).toBe(0);
  });
});

describe("the end of a page", () => {
  it("stays the end when another number of cards fits", () => {
    const { app, key, last, hear } = open(cards(3), { pages: 2 });
    key("ArrowRight");
    key("ArrowRight");
    key("d");
    expect(app.state.at).toBe(3);
    askToFit(app);
    expect(last()).toMatchObject({ kind: "fit", at: "2.png" });
    hear({ ...pageReply(cards(4), { version: 2, at: "2.png" }), id: last().id as number });
    expect(app.state.at).toBe(3); // behind the card that was the last one
  });
});
