import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { found, offered } from "./labels";
import { card } from "./test/made";

const find = (typed: string, ...labels: string[]) => found(labels, (label) => label, typed);

describe("finding a label", () => {
  it("takes its words in any order", () => {
    expect(find("retriever golden", "golden retriever", "golden eagle")).toEqual(["golden retriever"]);
    expect(find("retr gold", "golden retriever", "golden eagle")).toEqual(["golden retriever"]);
  });

  it("ignores case, and takes _, - and spaces for the same", () => {
    expect(find("great WHITE", "Great_white", "great-white shark", "great")).toEqual([
      "Great_white",
      "great-white shark",
    ]);
    expect(find("great_white", "great white shark", "great-white")).toEqual(["great-white", "great white shark"]);
  });

  it("puts the same name first, then those that begin so, then those that hold it, then those with its words", () => {
    const labels = ["dog big red", "hotdog red", "dog red", "dog redder"];
    expect(find("dog red", ...labels)).toEqual(["dog red", "dog redder", "hotdog red", "dog big red"]);
  });

  it("leaves equally good ones in their order", () => {
    expect(find("a", "ab", "ac", "aa")).toEqual(["ab", "ac", "aa"]);
  });

  it("finds everything when nothing is typed, and nothing that lacks a word", () => {
    expect(find(" _ ", "b", "a")).toEqual(["b", "a"]);
    expect(find("cat dog", "cat", "dog")).toEqual([]);
  });

  it("finds every label by its own name, whatever the order and case of its words", () => {
    const word = fc.string({ unit: fc.constantFrom(..."abcXYZ1"), minLength: 1, maxLength: 5 });
    const words = fc
      .array(word, { minLength: 1, maxLength: 4 })
      .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    fc.assert(
      fc.property(words, fc.constantFrom(" ", "_", "-"), ([given, shuffled], between) => {
        expect(find(shuffled.join(" ").toUpperCase(), given.join(between))).toHaveLength(1);
      }),
    );
  });
});

describe("the labels that are offered", () => {
  const vocab = ["b10", "b9", "cat", "dog", "elk", "fox"];

  it("are the probable ones, then those chosen lately, then the rest by name and number", () => {
    const alternatives: [string, number][] = [
      ["dog", 0.6],
      ["elk", 0.3],
    ];
    expect(offered(card("0.png", { alternatives }), vocab, ["fox", "elk"])).toEqual(["dog", "elk", "fox", "b9", "b10"]);
  });

  it("come from a vocabulary that is sorted once", () => {
    const many = Array.from({ length: 1000 }, (_, number) => `label ${999 - number}`);
    offered(card("0.png"), many, []);
    const compare = vi.spyOn(Intl.Collator.prototype, "compare", "get");
    const sort = vi.spyOn(Array.prototype, "sort");
    expect(offered(card("0.png"), many, ["label 7"]).slice(0, 4)).toEqual(["label 7", "label 0", "label 1", "label 2"]);
    const calls = [compare.mock.calls.length, sort.mock.calls.length];
    vi.restoreAllMocks();
    expect(calls).toEqual([0, 0]);
  });

  it("are not the label that the image has, unless it can have several", () => {
    expect(offered(card("0.png"), vocab, ["cat"])).not.toContain("cat");
    expect(offered(card("0.png", { given: ["cat"] }), vocab, [])).toContain("cat");
  });

  it("are labels of the scan only, each once", () => {
    const shown = offered(card("0.png", { predicted: "gone", given: [] }), vocab, ["lost", "cat", "cat"]);
    expect(shown).toEqual(["cat", "b9", "b10", "dog", "elk", "fox"]);
  });
});
