import { describe, expect, it } from "vitest";
import type { Row, Status } from "./protocol";
import {
  cursorPath,
  givenUp,
  hasMissed,
  isAtEnd,
  moved,
  nextList,
  placed,
  type State,
  settled,
  shownCard,
  started,
  targets,
  toggled,
  toggledAll,
  withPage,
  withStatus,
} from "./state";
import { card, cards, emptyState, pageReply, row, stateOf, status } from "./test/made";

const five = stateOf(cards(5));
const keep = (id: number, ...paths: string[]) => ({ id, paths, action: "keep", newLabel: "" });

describe("the cursor", () => {
  it("stays on the page when it is moved beyond an end", () => {
    expect(moved(five, -3, false).at).toBe(0);
    expect(moved(five, 99, false).at).toBe(4);
    expect(moved(five, Number.POSITIVE_INFINITY, false).at).toBe(4);
    expect(moved(emptyState(), 1, false).at).toBe(0);
  });

  it("is at the end behind the last card, where it has no card", () => {
    const end = placed(five, 5, false);
    expect([isAtEnd(end), cursorPath(end), targets(end)]).toEqual([true, "", []]);
    expect(isAtEnd(placed(five, 4, false))).toBe(false);
    expect(isAtEnd(stateOf([]))).toBe(false);
  });
});

describe("the selection", () => {
  it("is what Shift passed since the cursor was placed, in both directions", () => {
    const at2 = placed(five, 2, false);
    expect([...moved(moved(at2, 1, true), 1, true).selected]).toEqual(["2.png", "3.png", "4.png"]);
    expect([...moved(moved(at2, 1, true), -2, true).selected]).toEqual(["1.png", "2.png"]);
  });

  it("ends when the cursor moves without Shift", () => {
    expect(moved(moved(five, 2, true), 1, false).selected.size).toBe(0);
  });

  it("takes single cards in and out, with the cursor on them", () => {
    const two = toggled(toggled(five, "3.png"), "1.png");
    expect(two.at).toBe(1);
    expect(targets(two)).toEqual(["1.png", "3.png"]); // in the order of the page
    expect(targets(toggled(two, "3.png"))).toEqual(["1.png"]);
  });

  it("takes the whole page, and nothing when it had the whole page", () => {
    const all = toggledAll(toggled(five, "3.png"));
    expect(targets(all)).toHaveLength(5);
    expect(toggledAll(all).selected.size).toBe(0);
  });

  it("is what a decision is about, else the cursor's card is", () => {
    expect(targets(placed(five, 3, false))).toEqual(["3.png"]);
    expect(targets({ ...placed(five, 3, false), selected: new Set(["0.png"]) })).toEqual(["0.png"]);
  });
});

describe("a decision on its way", () => {
  it("is shown at once, and the cursor moves behind what it is about", () => {
    const state = started(five, keep(7, "1.png", "2.png"), true);
    expect(shownCard(state, "1.png")?.action).toBe("keep");
    expect(state.cards.get("1.png")?.action).toBe("");
    expect(state.at).toBe(3);
  });

  it("leaves cursor and selection where they are if it shall not move", () => {
    const before = toggled(five, "2.png");
    const state = started(before, keep(7, "2.png"), false);
    expect([state.at, state.selected]).toEqual([2, before.selected]);
  });

  it("lies on top of those before it, in the order of the keys", () => {
    const remove = { id: 8, paths: ["0.png"], action: "delete", newLabel: "" };
    const both = started(started(five, keep(7, "0.png"), false), remove, false);
    expect(shownCard(both, "0.png")?.action).toBe("delete");
    expect(shownCard(settled(both, 8), "0.png")?.action).toBe("keep");
    expect(shownCard(settled(both, 7), "0.png")?.action).toBe("delete");
  });

  it("is taken away once it is answered, and the card is as the kernel says", () => {
    const waiting = started(five, keep(7, "0.png"), false);
    const refused = settled(withStatus(waiting, status(5)), 7);
    expect(shownCard(refused, "0.png")?.action).toBe("");
    const saved = settled(withStatus(waiting, status(5, { changed: [card("0.png", { action: "keep" })] })), 7);
    expect(shownCard(saved, "0.png")?.action).toBe("keep");
  });

  it("marks its cards when it is given up, and only those", () => {
    const state = givenUp(started(started(five, keep(7, "0.png"), false), keep(8, "1.png"), false), 7);
    expect(shownCard(state, "0.png")?.action).toBe("");
    expect(shownCard(state, "1.png")?.action).toBe("keep");
    expect([...state.unconfirmed]).toEqual(["0.png"]);
  });

  it("takes the mark of an earlier one away", () => {
    const lost = givenUp(started(five, keep(7, "0.png", "1.png"), false), 7);
    expect([...started(lost, keep(8, "0.png"), false).unconfirmed]).toEqual(["1.png"]);
  });
});

describe("a page", () => {
  it("puts the cursor where the kernel says, else on the first card, or on the last one if asked", () => {
    const at = (where: string, toLast = false) =>
      withPage(five, pageReply(cards(3), { at: where }), new Map(), toLast).at;
    expect([at("1.png"), at(""), at("gone.png"), at("", true)]).toEqual([1, 0, 0, 2]);
    expect(withPage(five, pageReply([]), new Map(), true).at).toBe(0);
  });

  it("ends what belonged to the page before", () => {
    const before = { ...givenUp(started(toggledAll(five), keep(7, "0.png"), false), 7), summary: ["all done"] };
    const state = withPage(before, pageReply(cards(3)), new Map());
    expect([state.selected.size, state.unconfirmed.size, state.summary, state.anchor]).toEqual([0, 0, null, 0]);
  });

  it("shows decisions that are still on their way on top", () => {
    const state = withPage(started(five, keep(7, "0.png"), false), pageReply(cards(3)), new Map());
    expect(shownCard(state, "0.png")?.action).toBe("keep");
  });
});

describe("answers in another order", () => {
  const said = (action: string, clock: number) =>
    status(clock, { version: clock, changed: [card("0.png", { action })] });

  it("never let an older one overwrite a card or the status", () => {
    const state = withStatus(withStatus(five, said("delete", 20)), said("keep", 10));
    expect(state.cards.get("0.png")?.action).toBe("delete");
    expect([state.status?.clock, state.status?.version]).toEqual([20, 20]);
  });

  it("take from an older one the cards that no newer one spoke of", () => {
    const newer = status(20, { changed: [card("1.png", { action: "keep" })] });
    const state = withStatus(withStatus(five, newer), said("keep", 10));
    expect(state.cards.get("0.png")?.action).toBe("keep");
    expect(state.status?.clock).toBe(20);
  });

  it("never let one that is older than the page change its cards", () => {
    const page = pageReply([card("0.png", { action: "unsure" })], { clock: 20 });
    expect(withStatus(withPage(five, page, new Map()), said("keep", 10)).cards.get("0.png")?.action).toBe("unsure");
  });

  it("take the mark of an unconfirmed card away with a newer card only", () => {
    const marked = givenUp(started(withStatus(five, said("delete", 20)), keep(7, "0.png"), false), 7);
    expect(withStatus(marked, said("keep", 10)).unconfirmed.size).toBe(1);
    expect(withStatus(marked, said("keep", 30)).unconfirmed.size).toBe(0);
  });

  it("never let an older one take the numbers of a list back", () => {
    const state = { ...five, rows: [row("cat", 0, 9), row("dog", 0, 9)] };
    const newer = withStatus(state, status(20, { decided: { cat: [2, 9] } }));
    const older = withStatus(newer, status(10, { decided: { cat: [1, 9], dog: [1, 9] } }));
    expect(older.rows.map((each) => each.decided)).toEqual([2, 1]);
  });

  it("leave a card alone that is not on the page", () => {
    expect(withStatus(five, status(9, { changed: [card("other.png")] })).cards.has("other.png")).toBe(false);
  });

  it("keep why a thumbnail is missing, which only a page says", () => {
    const broken = stateOf([card("0.png", { error: "cut off" })]);
    expect(withStatus(broken, said("delete", 9)).cards.get("0.png")).toMatchObject({
      error: "cut off",
      action: "delete",
    });
  });
});

describe("the version that a decision names", () => {
  const versionAfter = (...replies: Partial<Status>[]) =>
    replies.reduce((state, reply, at) => withStatus(state, status(10 + at, reply)), five).status?.version;

  it("is that of the last reply, where none is missing", () => {
    expect(versionAfter({ since: 1, version: 2 }, { since: 2, version: 2 }, { since: 2, version: 3 })).toBe(3);
  });

  it("stays behind a reply that is missing, which may have brought a decision of somebody else", () => {
    expect(versionAfter({ since: 2, version: 2 })).toBe(1);
    expect(versionAfter({ since: 1, version: 2 }, { since: 3, version: 4 })).toBe(2);
    expect(hasMissed(five, status(10, { since: 2, version: 2 }))).toBe(true);
    expect(hasMissed(five, status(10, { since: 1, version: 2 }))).toBe(false);
  });

  it("is that of a page, which brings every card", () => {
    expect(withPage(five, pageReply(cards(2), { version: 7, since: 7 }), new Map()).status?.version).toBe(7);
  });
});

describe("the next list", () => {
  const rows = [row("ant", 1, 2), row("bee", 2, 2), row("cat", 0, 2), row("dog", 2, 2), row("elk", 0, 2)];
  const from = (label: string, change: readonly Row[] = rows): State => ({
    ...stateOf(cards(1), {}, { label }),
    rows: change,
  });

  it("is the next one with undecided images, around the end of the sidebar", () => {
    expect(nextList(from("ant"), 1)?.label).toBe("cat");
    expect(nextList(from("cat"), 1)?.label).toBe("elk");
    expect(nextList(from("elk"), 1)?.label).toBe("ant");
  });

  it("goes the other way, too", () => {
    expect(nextList(from("cat"), -1)?.label).toBe("ant");
    expect(nextList(from("ant"), -1)?.label).toBe("elk");
    expect(nextList(from("elk"), -1)?.label).toBe("cat");
  });

  it("is never the open one, and none if the others are decided", () => {
    expect(nextList(from("cat", [row("bee", 2, 2), row("cat", 0, 2)]), 1)).toBeUndefined();
  });

  it("begins at the first one if the open list is not in the sidebar", () => {
    expect(nextList(from("gone"), 1)?.label).toBe("ant");
  });
});
