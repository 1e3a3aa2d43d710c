// That `decidedCard` agrees with cleaner/review/decisions.py for every decision is checked by tests/test_front_end.py.

import { describe, expect, it } from "vitest";
import {
  decidedCard,
  described,
  labelsOf,
  percent,
  predictionOf,
  reasonOf,
  said,
  scoreOf,
  toggledLabel,
} from "./cards";
import { card, pageReply, stateOf } from "./test/made";

const decide = (shown = card("0.png"), action = "", label = "") => {
  const { new_label, labels, reviewer, ...after } = decidedCard(shown, action, label, "anna");
  return [after.action, new_label, labels, reviewer];
};
const set = (given: string[], labels: string[] | null = null) =>
  card("0.png", { given, labels, action: labels ? "relabel" : "" });

describe("a card after a decision", () => {
  it("takes the predicted label, or is kept if it has that", () => {
    expect(decide(card("0.png"), "predicted")).toEqual(["relabel", "dog", null, "anna"]);
    expect(decide(card("0.png", { predicted: "cat" }), "predicted")).toEqual(["keep", "", null, "anna"]);
  });

  it("forgets the new label of the decision before", () => {
    const relabelled = card("0.png", { action: "relabel", new_label: "fox", reviewer: "ben", note: "moved" });
    expect(decide(relabelled, "keep")).toEqual(["keep", "", null, "anna"]);
    expect(decide(relabelled, "delete")).toEqual(["delete", "", null, "anna"]);
    expect(decidedCard(relabelled, "delete", "", "anna").note).toBe("");
    expect(decide(relabelled, "undo")).toEqual(["", "", null, ""]);
  });

  it("gets a label of its set removed, or one added", () => {
    expect(decide(set(["cat", "dog"]), "toggle", "dog")).toEqual(["relabel", "cat", ["cat"], "anna"]);
    expect(decide(set(["cat"], ["cat", "dog"]), "toggle", "fox")[2]).toEqual(["cat", "dog", "fox"]);
  });

  it("is undecided once it has its given labels again, in whatever order", () => {
    expect(decide(set(["cat", "dog"], ["dog"]), "toggle", "cat")).toEqual(["", "", null, ""]);
    expect(decide(set(["cat"], ["cat", "dog"]), "toggle", "cat")).toEqual(["relabel", "dog", ["dog"], "anna"]);
  });

  it("keeps the changed set that it shows", () => {
    expect(decide(set(["cat"], ["dog"]), "keep")).toEqual(["relabel", "", ["dog"], "anna"]);
    expect(decide(set(["cat"], []), "keep")[2]).toEqual([]);
    expect(decide(set(["cat"]), "keep")).toEqual(["keep", "", null, "anna"]);
  });
});

describe("the words of a card", () => {
  it("say what was decided", () => {
    expect(said(card("0.png"))).toBe("");
    expect(said(card("0.png", { action: "keep" }))).toBe("✓ Keep");
    expect(said(card("0.png", { action: "relabel", new_label: "fox" }))).toBe("⇒ fox");
    expect(said(set(["cat"], ["dog"]), ["cat"])).toBe("− cat, + dog");
  });

  it("say what the model says, for one label and for several", () => {
    expect(predictionOf(card("0.png"))).toBe("dog");
    expect(predictionOf(card("0.png", { predicted: "", given: ["cat"] }))).toBe("no cat");
    expect(predictionOf(card("0.png", { predicted: "", confidence: null, given: ["cat"] }))).toBe("");
  });

  it("say nothing of the model in the audit sample", () => {
    const page = pageReply([]);
    expect(described(card("0.png"), page, "loss")).toBe("0.png, given cat, predicted dog 90 %; undecided");
    expect(described(card("0.png"), { ...page, list: "audit" }, "loss")).toBe("0.png, given cat; undecided");
  });

  it("give percent with a decimal where that says more", () => {
    expect([0.9, 0.1, 0.0996, 0.099, 0.0004, 1, null].map(percent)).toEqual([
      ...["90 %", "10 %", "10 %", "9.9 %", "0.0 %", "100 %", ""],
    ]);
  });
});

describe("the labels of a card", () => {
  it("are those after the decision, else the given ones, else none", () => {
    expect(labelsOf(set(["cat"], ["dog"]))).toEqual(["dog"]);
    expect(labelsOf(set(["cat"], []))).toEqual([]);
    expect(labelsOf(set(["cat"]))).toEqual(["cat"]);
    expect(labelsOf(card("0.png"))).toEqual([]);
  });

  it("are toggled by that of the list, and in the audit sample by the one it asks about", () => {
    const page = pageReply([]);
    const asked = card("0.png", { given: ["cat"], asked: ["fox"] });
    expect(toggledLabel(asked, page)).toBe("cat");
    expect(toggledLabel(asked, { ...page, list: "audit" })).toBe("fox");
    expect(toggledLabel(card("0.png"), page)).toBeUndefined();
  });
});

describe("the reason of an issue", () => {
  const copy = (reason: string, is_first: boolean) =>
    reasonOf(card("a.png", { group: 1, score: 0.981, reason, is_first }));

  it("says once which copy is suggested to be kept", () => {
    expect(copy("mirrored", false)).toBe("mirrored");
    expect(copy("", true)).toBe("suggested to keep");
    expect(copy("the first", true)).toBe("suggested to keep, the first");
    expect(copy("the largest, suggested to be kept", true)).toBe("the largest, suggested to be kept");
  });

  it("has a score, of copies how alike they are, and none of the one to keep", () => {
    expect(scoreOf(card("a.png", { score: 0.981, group: 0 }))).toBe("score 0.98");
    expect(scoreOf(card("a.png", { score: 0.981, group: 1 }))).toBe("likeness 0.98");
    expect(scoreOf(card("a.png", { score: 1, group: 1, is_first: true }))).toBe("");
    expect(scoreOf(card("a.png"))).toBe("");
  });

  it("is read out in place of a prediction", () => {
    const { page } = stateOf([], {}, { list: "issue" });
    const text =
      page && described(card("a.png", { split: "train", reason: "99 % is black", score: 0.9 }), page, "loss");
    expect(text).toBe("a.png, given cat, train, 99 % is black; undecided");
  });
});
