// Requests to the kernel and their answers. A dead kernel may refuse a message at once or never answer it; a bad network
// delays, repeats, reorders and loses answers.

import { DECIDING, type Fields, type Kind, TURNING } from "./protocol";

/** A message that is not answered yet. */
export interface Asked {
  id: number;
  kind: Kind;
  since: number;
}

export interface ChannelOptions {
  send(message: Record<string, unknown>): void;
  /** Called when a message stays unanswered for `patience` milliseconds. */
  onGiveUp(asked: Asked): void;
  patience: number;
  /** Milliseconds that never go back. */
  now(): number;
}

export interface Channel {
  ask<K extends Kind>(kind: K, fields: Fields<K>): number;
  /** Note that an answer arrived; returns what it answers, if somebody here asked and still waits. */
  settle(id: number | null, clock?: number): Asked | undefined;
  /** The messages without an answer, oldest first. */
  waiting(): Asked[];
  /** Whether another page may come: nobody may decide on it before they have seen it. */
  isTurning(): boolean;
  close(): void;
}

export function openChannel({ send, onGiveUp, patience, now }: ChannelOptions): Channel {
  const pending = new Map<number, Asked & { timer: ReturnType<typeof setTimeout> }>();
  // Several views of one widget hear each other's answers, so their ids must differ.
  let lastId = Math.floor(Math.random() * 2 ** 40);
  // The kernel's clock minus ours. The answer's way here makes it too small, never too large: what the kernel takes in
  // time arrives before we give up.
  let offset = Number.NEGATIVE_INFINITY;

  function giveUp(id: number): void {
    const asked = take(id);
    if (asked) onGiveUp(asked);
  }

  function take(id: number): Asked | undefined {
    const asked = pending.get(id);
    if (!asked) return undefined;
    clearTimeout(asked.timer);
    pending.delete(id);
    return asked;
  }

  return {
    ask(kind, fields) {
      lastId += 1;
      const id = lastId;
      pending.set(id, { id, kind, since: now(), timer: setTimeout(() => giveUp(id), patience) });
      // The kernel counts whole milliseconds, so that its last one would end after ours.
      const until = DECIDING.has(kind) ? { until: Math.floor(now() + offset + patience) - 1 } : {};
      try {
        send({ kind, id, ...fields, ...until });
      } catch (error) {
        console.error(error);
        setTimeout(() => giveUp(id), 0);
      }
      return id;
    },
    settle(id, clock) {
      if (clock !== undefined) offset = Math.max(offset, clock - now());
      return id === null ? undefined : take(id);
    },
    waiting: () => [...pending.values()],
    isTurning: () => [...pending.values()].some((asked) => TURNING.has(asked.kind)),
    close() {
      for (const asked of pending.values()) clearTimeout(asked.timer);
      pending.clear();
    },
  };
}
