// The whole logic of the page against a kernel that holds decisions, over a network that delays, loses, repeats and
// reorders messages both ways.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { press } from "./actions";
import { shownCard, targets } from "./state";
import { Kernel, type Message } from "./test/kernel";
import { row } from "./test/made";
import { type FakePage, fakeBrowser, keyEvent, openPage, PATIENCE, realBrowser } from "./test/page";

beforeEach(fakeBrowser);
afterEach(realBrowser);

const KEYS = ["u", "x", "a", "n", "p", "]", "[", "K", "ArrowLeft", "ArrowRight", "ArrowDown", "Escape"];
const DECIDING = new Map([
  ["k", "keep"],
  ["d", "delete"],
  ["s", "unsure"],
]);

type Step = { key: string } | { wait: number } | { other: number } | { news: true };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ key: fc.constantFrom(...DECIDING.keys()) }) },
    { weight: 5, arbitrary: fc.record({ key: fc.constantFrom(...KEYS) }) },
    { weight: 6, arbitrary: fc.record({ wait: fc.oneof(fc.nat(300), fc.nat(300), fc.nat(15_000)) }) },
    { weight: 1, arbitrary: fc.record({ other: fc.nat(7) }) },
    { weight: 1, arbitrary: fc.constant({ news: true } as const) },
  ),
  { minLength: 1, maxLength: 60, size: "max" },
);

/** When the copies of a message arrive, in milliseconds; none: it is lost. */
const ways = fc.oneof(
  { weight: 10, arbitrary: fc.tuple(fc.nat(100)) },
  { weight: 2, arbitrary: fc.tuple(fc.nat(3000)) },
  { weight: 2, arbitrary: fc.tuple(fc.nat(2 * PATIENCE)) },
  { weight: 1, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(3000), fc.nat(2 * PATIENCE)) },
);

interface World {
  page: FakePage;
  kernel: Kernel;
  /** What was the target on the screen when the message was sent. */
  meant: Map<number, { paths: readonly string[]; action: string }>;
  /** Messages that the page had given up when the kernel saved them. */
  savedLate: number[];
  /** Let the network carry everything at once, or no longer. */
  calm(isCalm: boolean): void;
}

interface Network {
  ways: readonly (readonly number[])[];
  /** Whether messages arrive in the order they were sent, and once, as a WebSocket promises. */
  isOrdered: boolean;
}

/** Both sides, joined by a network whose ways are those given, over and over. */
function world({ ways, isOrdered }: Network, offset: number): World {
  let count = 0;
  let isCalm = true;
  const carrier = () => {
    let last = 0;
    return (deliver: () => void) => {
      const way = isCalm ? [1] : (ways[count++ % ways.length] ?? []);
      for (const delay of isOrdered ? way.slice(0, 1) : way) {
        last = isOrdered ? Math.max(last, performance.now() + delay) : performance.now() + delay;
        setTimeout(deliver, last - performance.now());
      }
    };
  };
  const [there, back] = [carrier(), carrier()];
  const meant: World["meant"] = new Map();
  const savedLate: number[] = [];
  let lastTick = 0;
  // Of two answers in one millisecond nobody could tell the later one; the real kernel writes a file between them.
  const clock = () => Math.floor(performance.now() + offset);
  const kernel = new Kernel(3, clock, (answer) => back(() => page.hear(structuredClone(answer))));
  const toKernel = (message: Message) => {
    if (performance.now() === lastTick) {
      setTimeout(() => toKernel(message), 1);
      return;
    }
    lastTick = performance.now();
    const before = kernel.saved.length;
    kernel.take(message);
    if (kernel.saved.length > before && page.givenUp.some((asked) => asked.id === message.id))
      savedLate.push(message.id);
  };
  const page = openPage((message) => there(() => toKernel(structuredClone(message) as Message)));
  page.app.set({ rows: [row("cat", 0, 8), row("dog", 0, 5)] });
  return {
    page,
    kernel,
    meant,
    savedLate,
    calm: (next) => {
      isCalm = next;
    },
  };
}

/** Press a key, and note what a decision would be about. */
function pressKey({ page, meant }: World, key: string): void {
  const { app } = page;
  const [seen, before] = [app.state, new Set(app.channel.waiting().map((asked) => asked.id))];
  press(app, keyEvent(key, { shiftKey: key === "K" }));
  const undecided = [...seen.cards.keys()].filter((path) => shownCard(seen, path)?.action === "");
  const [paths, action] = key === "K" ? [undecided, "keep"] : [targets(seen), DECIDING.get(key) ?? ""];
  for (const { id, kind } of app.channel.waiting()) {
    if (kind === "decide" && !before.has(id)) meant.set(id, { paths, action });
  }
}

function live(steps: readonly Step[], there: World): void {
  there.page.app.channel.ask("ready", { page_size: 3, columns: 2, rows: 2, pixels: 160 });
  vi.advanceTimersByTime(200);
  there.calm(false);
  for (const step of steps) {
    if ("key" in step) pressKey(there, step.key);
    else if ("wait" in step) vi.advanceTimersByTime(step.wait);
    else if ("other" in step) there.kernel.otherDecides(`cat${step.other}.png`, "unsure");
    else there.page.askNews();
  }
}

/** Let all that is on its way arrive or be given up. */
function rest({ page, calm }: World): void {
  vi.advanceTimersByTime(4 * PATIENCE);
  calm(true);
  for (let second = 0; second < 30; second += 2) {
    page.askNews();
    vi.advanceTimersByTime(2000);
  }
}

function expectTruth({ page, kernel }: World): void {
  const { state } = page.app;
  expect([...state.cards.keys()]).toEqual(kernel.openPaths);
  expect([state.underway, state.isSilent, page.app.held]).toEqual([[], false, []]);
  for (const path of state.cards.keys()) {
    expect(shownCard(state, path)?.action).toBe(kernel.decisions.get(path) ?? "");
  }
}

const network = fc.array(ways, { minLength: 1, maxLength: 60, size: "max" });
const offsets = fc.double({ min: -1e5, max: 1e9, noNaN: true });

/** Check something of a world after any keys over any network. */
function always(check: (there: World) => void, some = steps, isOrdered = false): void {
  fc.assert(
    fc.property(some, network, offsets, (taken, ways, offset) => {
      const there = world({ ways, isOrdered }, offset);
      live(taken, there);
      rest(there);
      check(there);
      vi.clearAllTimers();
    }),
    { numRuns: 300, interruptAfterTimeLimit: 20_000 }, // smaller examples of a failure are sought for so long
  );
}

describe("over a network that delays, loses, repeats and reorders", () => {
  it("every card shows what the kernel holds, once all is quiet and the page was asked for again", () => {
    always((there) => {
      there.page.app.channel.ask("fit", { page_size: 3, columns: 2, rows: 2, pixels: 160, at: "" });
      vi.advanceTimersByTime(PATIENCE);
      expectTruth(there);
    });
  });

  it("the kernel saves only what was the target on the screen when the key was pressed", () => {
    always(({ kernel, meant }) => {
      for (const { id, paths, action } of kernel.saved) {
        if (action !== "undo") expect({ paths, action }).toEqual(meant.get(id));
      }
    });
  });

  it("the kernel saves nothing that arrives after the page gave it up", () => {
    always(({ savedLate }) => expect(savedLate).toEqual([]));
  });
});

describe("over a network that delays and loses", () => {
  it("the page asks again by itself after a decision or a page was lost", () => {
    const alone = steps.map((all) => all.filter((step) => !("other" in step)));
    always(expectTruth, alone, true);
  });
});
