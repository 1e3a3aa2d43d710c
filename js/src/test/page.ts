// The page as review.tsx joins it, without a browser: nothing is drawn.

import { vi } from "vitest";
import { giveUp, take } from "../answers";
import { type App, follow } from "../app";
import { type Asked, openChannel } from "../channel";
import type { Answer } from "../protocol";
import type { State } from "../state";
import { emptyState } from "./made";

export const PATIENCE = 10_000;

export interface FakePage {
  app: App;
  hear(answer: Answer): void;
  /** What the timer of `askNews` does. */
  askNews(): void;
  givenUp: Asked[];
}

/** Use vitest's timers and clock, and say that the focus is nowhere. */
export function fakeBrowser(): void {
  vi.useFakeTimers();
  const body = {};
  vi.stubGlobal("document", { body, activeElement: body });
  vi.stubGlobal("devicePixelRatio", 1);
}

export function realBrowser(): void {
  vi.useRealTimers();
  vi.unstubAllGlobals();
}

export function openPage(send: (message: Record<string, unknown>) => void, first: State = emptyState()): FakePage {
  let state = first;
  let isFollowing = false;
  const givenUp: Asked[] = [];
  const app: App = {
    el: { isConnected: true, contains: () => false } as unknown as HTMLElement,
    held: [],
    toLast: new Set(),
    isLost: false,
    behind: new Map(),
    deafUntil: 0,
    get state() {
      return state;
    },
    channel: openChannel({
      send,
      onGiveUp: (asked) => {
        givenUp.push(asked);
        giveUp(app, asked);
      },
      patience: PATIENCE,
      now: () => performance.now(),
    }),
    set(change) {
      let before = state;
      state = { ...state, ...change };
      if (isFollowing) return;
      isFollowing = true;
      while (before !== state) {
        const next = state;
        follow(app, before);
        before = next;
      }
      isFollowing = false;
    },
    focus: () => {},
  };
  return {
    app,
    givenUp,
    hear: (answer) => take(app, answer, []),
    askNews: () => {
      if (app.state.page && app.channel.waiting().length === 0) app.channel.ask("news", {});
    },
  };
}

/** A key as the browser tells of it. */
export function keyEvent(key: string, change: Partial<KeyboardEvent> = {}): KeyboardEvent {
  const none = { shiftKey: false, ctrlKey: false, altKey: false, metaKey: false, repeat: false, isComposing: false };
  return { key, ...none, getModifierState: () => false, ...change } as KeyboardEvent;
}
