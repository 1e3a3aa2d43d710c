import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Asked, openChannel } from "./channel";

const PATIENCE = 10_000;
const decision = { version: 1, paths: ["0.png"], action: "keep" };

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function open(send: (message: Record<string, unknown>) => void = () => {}) {
  const givenUp: Asked[] = [];
  const onGiveUp = (asked: Asked) => givenUp.push(asked);
  const channel = openChannel({ send, onGiveUp, patience: PATIENCE, now: () => performance.now() });
  return { channel, givenUp };
}

describe("a message", () => {
  it("waits until its answer arrives, and is then no longer given up", () => {
    const { channel, givenUp } = open();
    const id = channel.ask("news", {});
    expect(channel.waiting().map((asked) => asked.id)).toEqual([id]);
    vi.advanceTimersByTime(PATIENCE - 1);
    expect(channel.settle(id, 5)).toMatchObject({ id, kind: "news" });
    vi.advanceTimersByTime(PATIENCE);
    expect([channel.waiting(), givenUp]).toEqual([[], []]);
  });

  it("is given up once when its answer is lost", () => {
    const { channel, givenUp } = open();
    const id = channel.ask("news", {});
    vi.advanceTimersByTime(5 * PATIENCE);
    expect(givenUp).toMatchObject([{ id, kind: "news" }]);
    expect(channel.waiting()).toEqual([]);
  });

  it("is settled once, however often and late its answer comes", () => {
    const { channel, givenUp } = open();
    const id = channel.ask("news", {});
    expect(channel.settle(id)).toBeDefined();
    expect(channel.settle(id)).toBeUndefined();
    const late = channel.ask("news", {});
    vi.advanceTimersByTime(PATIENCE);
    expect(channel.settle(late)).toBeUndefined();
    expect(givenUp).toHaveLength(1);
  });

  it("is found by its answer in whatever order they come; others are not ours", () => {
    const { channel } = open();
    const [first, second] = [channel.ask("news", {}), channel.ask("figures", {})];
    expect(channel.settle(second)?.kind).toBe("figures");
    expect(channel.settle(first)?.kind).toBe("news");
    expect(channel.settle(null)).toBeUndefined();
    expect(channel.settle(-1)).toBeUndefined();
  });

  it("is given up at once, but not while it is asked, when it cannot be sent", () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { channel, givenUp } = open(() => {
      throw new Error("the comm is closed");
    });
    const id = channel.ask("news", {});
    expect(givenUp).toEqual([]);
    vi.advanceTimersByTime(0);
    expect(givenUp).toMatchObject([{ id }]);
    vi.advanceTimersByTime(PATIENCE);
    expect(givenUp).toHaveLength(1);
  });

  it("is not given up any more once the channel is closed", () => {
    const { channel, givenUp } = open();
    channel.ask("news", {});
    channel.close();
    vi.advanceTimersByTime(PATIENCE);
    expect(givenUp).toEqual([]);
  });

  it("has an id that other views of the widget do not use", () => {
    const ids = Array.from({ length: 50 }, () => open().channel.ask("news", {}));
    expect(new Set(ids).size).toBe(50);
  });

  it("says whether another page may come", () => {
    const { channel } = open();
    const news = channel.ask("news", {});
    expect(channel.isTurning()).toBe(false);
    const turn = channel.ask("turn", { page: 1 });
    expect(channel.isTurning()).toBe(true);
    channel.settle(turn);
    channel.settle(news);
    expect(channel.isTurning()).toBe(false);
  });

  it("says until when it counts if it decides, and else not", () => {
    const sent: Record<string, unknown>[] = [];
    const { channel } = open((message) => sent.push(message));
    channel.settle(null, performance.now() + 500);
    channel.ask("decide", decision);
    channel.ask("undo", {});
    channel.ask("news", {});
    expect(sent.map((message) => Number.isInteger(message.until))).toEqual([true, true, false]);
  });
});

describe("until", () => {
  /** How long until the next answer is sent, and how long its way is. */
  const answers = fc.array(fc.record({ wait: fc.nat(5000), way: fc.oneof(fc.nat(3), fc.nat(30_000)) }), {
    minLength: 1,
    maxLength: 10,
  });
  const offsets = fc.double({ min: -1e6, max: 1e9, noNaN: true });

  it("is over for the kernel when the page gives up, whatever the ways of the answers and the clocks", () => {
    fc.assert(
      fc.property(answers, offsets, (ways, offset) => {
        const sent: number[] = [];
        let gaveUpAt = Number.NaN;
        const clock = () => Math.floor(performance.now() + offset);
        const channel = openChannel({
          send: (message) => sent.push(message.until as number),
          onGiveUp: () => {
            gaveUpAt = clock();
          },
          patience: PATIENCE,
          now: () => performance.now(),
        });
        for (const { wait, way } of ways) {
          vi.advanceTimersByTime(wait);
          const said = clock();
          setTimeout(() => channel.settle(null, said), way);
        }
        channel.settle(null, clock() - 40_000);
        channel.ask("decide", decision);
        vi.advanceTimersByTime(PATIENCE);
        expect(sent[0]).toBeLessThan(gaveUpAt);
        channel.close();
        vi.clearAllTimers();
      }),
    );
  });

  it("leaves nearly all of the patience once an answer came fast", () => {
    fc.assert(
      fc.property(offsets, fc.nat(30), (offset, way) => {
        const sent: number[] = [];
        const { channel } = open((message) => sent.push(message.until as number));
        const clock = () => Math.floor(performance.now() + offset);
        const said = clock();
        vi.advanceTimersByTime(way);
        channel.settle(null, said);
        channel.settle(null, said - 20_000); // a slow one does not spoil it
        channel.ask("decide", decision);
        expect((sent[0] ?? 0) - clock()).toBeGreaterThan(PATIENCE - way - 4);
        channel.close();
      }),
    );
  });
});
