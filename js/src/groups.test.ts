import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { press } from "./actions";
import { groupName, membersOf, otherLabel } from "./groups";
import { keysOf, offers } from "./keys";
import type { Answer, Card } from "./protocol";
import { pathsOf, type State, shownCard } from "./state";
import { card, done, row, stateOf } from "./test/made";
import { fakeBrowser, keyEvent, openPage, realBrowser } from "./test/page";

beforeEach(fakeBrowser);
afterEach(realBrowser);

/** An image of a group; without prediction, as in the lists of issues. */
function copy(path: string, group: number, members: number, change: Partial<Card> = {}): Card {
  return card(path, { predicted: "", confidence: null, loss: "", group, members, score: 1, ...change });
}

const SHOWN = [
  copy("a.png", 1, 3, { is_first: true }),
  copy("b.png", 1, 3, { label: "dog", reason: "mirrored" }),
  copy("c.png", 1, 3),
  copy("d.png", 2, 2, { is_first: true }),
  copy("e.png", 2, 2),
];

function open(shown = SHOWN, change: Partial<State> = {}) {
  const sent: Record<string, unknown>[] = [];
  const first = stateOf(shown, { rows: [row("cat", 0, 9)], ...change }, { list: "groups" });
  const { app, hear } = openPage((message) => sent.push(message), first);
  const key = (name: string, held: Partial<KeyboardEvent> = {}) => press(app, keyEvent(name, held));
  const answer = (change: object = {}) =>
    hear({ ...done(performance.now(), change), id: sent.at(-1)?.id as number } as Answer);
  const actions = () => pathsOf(app.state).map((path) => shownCard(app.state, path)?.action);
  return { app, sent, key, answer, actions };
}

describe("G", () => {
  it("keeps this one and deletes the rest of its group, in one message", () => {
    const { app, sent, key, actions } = open();
    key("ArrowRight");
    key("g");
    expect(sent).toMatchObject([
      { kind: "resolve", version: 1, paths: ["a.png", "b.png", "c.png"], kept: ["b.png"], until: expect.anything() },
    ]);
    expect(actions()).toEqual(["delete", "keep", "delete", "", ""]);
    expect([app.state.at, app.state.last]).toEqual([3, "1 kept, 2 deleted"]);
  });

  it("keeps those that are selected", () => {
    const { sent, key } = open();
    key("ArrowRight", { shiftKey: true });
    key("g");
    expect(sent).toMatchObject([{ kind: "resolve", kept: ["a.png", "b.png"] }]);
  });

  it("decides nothing about images of several groups", () => {
    const { app, sent, key } = open();
    key("a");
    key("g");
    expect(app.state.notice).toContain("several groups");
    expect(sent).toEqual([]);
  });

  it("decides nothing about a group that the page shows in part", () => {
    const { app, sent, key } = open([copy("a.png", 1, 9), copy("b.png", 1, 9)]);
    key("g");
    expect(app.state.notice).toContain("shows 2 of the 9 images");
    expect(sent).toEqual([]);
  });

  it("is taken back as a whole when the kernel refuses it", () => {
    const { app, key, answer, actions } = open();
    key("g");
    answer({ kind: "error", message: "Not saved: the disk is full" });
    expect(actions()).toEqual(["", "", "", "", ""]);
    expect([app.state.at, app.state.notice]).toEqual([0, "Not saved: the disk is full"]);
  });

  it("leaves the new label of the image that is kept", () => {
    const { key, actions } = open([copy("a.png", 1, 2, { action: "relabel", new_label: "dog" }), copy("b.png", 1, 2)]);
    key("g");
    expect(actions()).toEqual(["relabel", "delete"]);
  });

  it("is no key of other lists", () => {
    const { app } = open();
    app.set({ page: { ...(app.state.page as NonNullable<State["page"]>), list: "issue" } });
    expect(press(app, keyEvent("g"))).toBe(false);
  });
});

describe("F", () => {
  it("keeps the whole group, whichever of its images the cursor is on", () => {
    const { app, sent, key, actions } = open();
    key("ArrowRight");
    key("f");
    const paths = ["a.png", "b.png", "c.png"];
    expect(sent).toMatchObject([{ kind: "resolve", paths, kept: paths }]);
    expect(actions()).toEqual(["keep", "keep", "keep", "", ""]);
    expect(app.state.last).toBe("3 images: all are fine");
  });
});

describe("L", () => {
  it("takes the label of the other image of the group: that of the first one, else the next that differs", () => {
    const { app, sent, key } = open();
    expect(["a.png", "b.png", "c.png", "d.png"].map((path) => otherLabel(app.state, path))).toEqual([
      ...["dog", "cat", "dog", undefined],
    ]);
    key("ArrowRight");
    key("l");
    expect(sent).toMatchObject([{ kind: "decide", paths: ["b.png"], action: "relabel", new_label: "cat" }]);
  });

  it("says why it takes none where the labels are the same", () => {
    const { app, sent, key } = open(SHOWN.slice(3));
    key("l");
    expect(app.state.notice).toContain("same label");
    expect(sent).toEqual([]);
  });

  it("takes no label where images carry none or several", () => {
    for (const task of ["other", "multi-label"] as const) {
      expect(otherLabel(open(SHOWN, { task }).app.state, "a.png")).toBeUndefined();
      expect(keysOf(task, "groups").map(({ command }) => command)).not.toContain("otherLabel");
    }
  });
});

describe("the bar at the bottom and the list of keys", () => {
  const texts = (state: State) => offers(state).map(({ key, text }) => `${key} ${text}`);

  it("offer what can be done with the group", () => {
    const { app, key } = open();
    expect(texts(app.state).slice(0, 3)).toEqual(["G Keep, delete rest", "F All fine", "L ⇒ dog"]);
    key("End");
    expect(texts(app.state).slice(0, 3)).toEqual(["G Keep, delete rest", "F All fine", "K Keep"]);
    key("ArrowRight");
    expect(texts(app.state)[0]).toBe("U Nothing to undo");
  });

  it("have these keys in lists of groups only", () => {
    const commands = (list?: "groups" | "issue") => keysOf("single-label", list).map(({ command }) => command);
    expect(commands("groups").filter((each) => !commands().includes(each))).toEqual([
      ...["keepOnly", "allFine", "otherLabel"],
    ]);
    expect(commands("issue")).toEqual(commands());
    const names = keysOf("single-label", "groups").flatMap((key) => key.keys);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("a group", () => {
  it("has its members in the order of the page, and a name", () => {
    const { app } = open();
    expect(membersOf(app.state, "c.png")).toEqual(["a.png", "b.png", "c.png"]);
    expect(SHOWN.slice(2, 4).map(groupName)).toEqual(["Group 1 · 3 images", "Group 2 · 2 images"]);
  });

  it("is there in lists of groups only", () => {
    expect(membersOf(stateOf(SHOWN, {}, { list: "issue" }), "a.png")).toEqual([]);
  });
});
