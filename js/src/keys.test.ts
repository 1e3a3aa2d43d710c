import { describe, expect, it } from "vitest";
import { commandOf, keyName, keysOf, offers } from "./keys";
import type { Card } from "./protocol";
import { placed, type State, started, toggled, toggledAll } from "./state";
import { card, cards, row, stateOf } from "./test/made";

const name = (key: string, shiftKey = false) => keyName({ key, shiftKey });

describe("the name of a key", () => {
  it("is the capital of a letter, with Shift where that is held and not where caps lock is on", () => {
    expect([name("k"), name("K", true), name("K"), name("k", true)]).toEqual(["K", "Shift+K", "K", "Shift+K"]);
  });

  it("is what the key writes if that is no letter, whatever is held to write it", () => {
    expect([name("?", true), name("["), name("]"), name("1"), name("Enter", true)]).toEqual([
      "?",
      "[",
      "]",
      "1",
      "Enter",
    ]);
  });

  it("is a word for the space bar", () => {
    expect(name(" ")).toBe("Space");
  });
});

describe("a command", () => {
  it("has its keys in each task that has it", () => {
    for (const task of ["single-label", "multi-label", "other"] as const) {
      expect(["K", "D", "S", "U", "Shift+U", "Shift+K", "Space", "Z"].map((key) => commandOf(key, task))).toEqual([
        ...["keep", "delete", "unsure", "undo", "redo", "keepRest", "large", "large"],
      ]);
      expect(["]", "[", "?", "Escape"].map((key) => commandOf(key, task))).toEqual([
        ...["nextList", "previousList", "help", "none"],
      ]);
    }
  });

  it("that needs labels has no key where images carry none", () => {
    for (const key of ["Enter", "R", "1", "5"]) {
      expect(commandOf(key, "single-label")).toBeDefined();
      expect(commandOf(key, "multi-label")).toBe(commandOf(key, "single-label"));
      expect(commandOf(key, "other")).toBeUndefined();
    }
  });

  it("is no command for other keys", () => {
    expect(["6", "0", "Shift+D", "Q", "Tab", "F5"].map((key) => commandOf(key, "single-label"))).toEqual(
      Array(6).fill(undefined),
    );
  });

  it("has one meaning a key, and a help that fits the task", () => {
    const names = keysOf("single-label").flatMap((key) => key.keys);
    expect(new Set(names).size).toBe(names.length);
    const help = (task: State["task"]) => keysOf(task).find((key) => key.command === "predicted")?.help;
    expect(help("single-label")).toBe("take the predicted label");
    expect(help("multi-label")).toBe("add the label of this class, or remove it");
    expect(help("other")).toBeUndefined();
  });
});

describe("the bar at the bottom", () => {
  const enter = (state: State) => offers(state).find(({ command }) => command === "predicted")?.text;
  const commands = (state: State) => offers(state).map(({ command }) => command);
  const one = (change: Partial<Card>) => stateOf([card("0.png", change)]);

  it("says what Enter would do: the predicted label, or Keep where that is the given one", () => {
    expect(enter(one({}))).toBe("dog");
    expect(enter(one({ predicted: "cat" }))).toBe("Keep");
  });

  it("offers no Enter where nothing is predicted, or at the end", () => {
    expect(enter(one({ predicted: "" }))).toBeUndefined();
    expect(enter(placed(one({}), 1, false))).toBeUndefined();
    expect(enter({ ...one({}), task: "other" })).toBeUndefined();
  });

  it("says which label Enter adds or removes where images carry several", () => {
    const several = one({ given: ["cat"], asked: [], predicted: "" });
    expect(enter({ ...several, task: "multi-label" })).toBe("± cat");
    const audited = stateOf([card("0.png", { given: ["cat"], asked: ["fox"] })], {}, { list: "audit" });
    expect(enter(audited)).toBe("± fox");
    expect(enter(stateOf([card("0.png", { given: [], asked: [] })], {}, { list: "audit" }))).toBeUndefined();
  });

  it("says of what is selected, not of the cursor's card, what Enter would do", () => {
    const two = stateOf([card("0.png", { predicted: "fox" }), card("1.png")]);
    const first = toggled(toggled(toggled(two, "0.png"), "1.png"), "1.png");
    expect(first.at).toBe(1);
    expect(enter(first)).toBe("fox");
    expect(enter(toggledAll(two))).toBe("Predicted");
  });

  it("offers only what can be done here", () => {
    expect(commands(one({}))).toEqual([
      ...["predicted", "keep", "relabel", "delete", "unsure", "undo", "large", "keepRest", "help"],
    ]);
    expect(commands(placed(one({}), 1, false))).toEqual(["undo", "help"]);
    expect(commands(stateOf(cards(2), {}, { pages: 2 }))).toContain("nextPage");
    const large = { path: "0.png", url: "", error: "", compared: [] };
    expect(commands({ ...one({}), large })).toEqual([
      ...["predicted", "keep", "relabel", "delete", "unsure", "undo", "large"],
    ]);
  });

  it("shows that nothing can be undone", () => {
    const undo = (can_undo: boolean) =>
      offers(stateOf(cards(1), {}, { can_undo })).find(({ command }) => command === "undo");
    expect(undo(false)).toMatchObject({ text: "Nothing to undo", isOff: true });
    expect(undo(true)).toMatchObject({ text: "Undo", isOff: false, key: "U" });
  });

  it("names the next list", () => {
    const state = { ...one({}), rows: [row("cat", 0, 1), row("dog", 0, 1)] };
    expect(offers(state).find(({ command }) => command === "nextList")).toMatchObject({ text: "dog", key: "]" });
  });

  it("follows decisions that are on their way", () => {
    const toggle = { id: 1, paths: ["0.png"], action: "toggle", newLabel: "fox" };
    const state = started(one({ given: ["cat"] }), toggle, false);
    expect(enter(state)).toBe("± cat");
  });
});
