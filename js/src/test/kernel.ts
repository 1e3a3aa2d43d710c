// A kernel that holds decisions, as cleaner/review/app.py and cards.py do: it decides about images of the open page only,
// and only what the page has seen and still waits for.

import type { Answer, Card, Status } from "../protocol";
import { card, pageReply, status } from "./made";

export type Message = Record<string, unknown> & { kind: string; id: number };

interface Saved {
  id: number;
  paths: readonly string[];
  action: string;
}

export class Kernel {
  readonly decisions = new Map<string, string>();
  readonly saved: Saved[] = [];
  /** Paths of the lists by name. */
  readonly lists: Record<string, string[]>;
  private label: string;
  private page = 0;
  private version = 0;
  private pageVersion = 0;
  private sent = new Map<string, string>();
  private changedIn = new Map<string, number>();
  private done: [string, string][][] = [];

  /**
   * @param pageSize cards on a page
   * @param clock whole milliseconds, as Python's `int(1000 * time.monotonic())`
   */
  constructor(
    readonly pageSize: number,
    private readonly clock: () => number,
    private readonly send: (answer: Answer) => void,
  ) {
    const paths = (label: string, count: number) => Array.from({ length: count }, (_, at) => `${label}${at}.png`);
    // Some images are in two lists.
    this.lists = { cat: paths("cat", 8), dog: [...paths("dog", 3), "cat1.png", "cat6.png"] };
    this.label = "cat";
  }

  /** What the card of an image says now. */
  cardOf(path: string): Card {
    return card(path, { action: this.decisions.get(path) ?? "" });
  }

  get openPaths(): string[] {
    const at = this.page * this.pageSize;
    return (this.lists[this.label] ?? []).slice(at, at + this.pageSize);
  }

  /** Another reviewer decides. */
  otherDecides(path: string, action: string): void {
    this.decisions.set(path, action);
  }

  take(message: Message): void {
    try {
      this.answer(message);
    } catch (error) {
      this.send({ kind: "error", id: message.id, message: String(error), ...this.state() });
    }
  }

  private answer(message: Message): void {
    switch (message.kind) {
      case "ready":
      case "fit":
        return this.show(message.id, String(message.at ?? ""));
      case "turn":
        return this.turn(message.id, Number(message.page));
      case "open":
        this.label = String(message.label);
        return this.turn(message.id, 0);
      case "decide":
        return this.decide(message);
      case "undo":
        return this.undo(message);
      case "figures":
      case "large":
      case "typical":
        return; // what these show is no decision
      case "summary":
        return this.send({ kind: "summary", id: message.id, lines: [], ...this.state() });
      default:
        this.send({ kind: "done", id: message.id, at: "", ...this.state() });
    }
  }

  private turn(id: number, page: number): void {
    const pages = this.pages();
    if (page < 0 || page >= pages) throw `there is no page ${page}`;
    this.page = page;
    this.show(id, "");
  }

  private pages(): number {
    return Math.ceil((this.lists[this.label]?.length ?? 0) / this.pageSize);
  }

  private show(id: number, at: string): void {
    this.sent = new Map(this.openPaths.map((path) => [path, this.decisions.get(path) ?? ""]));
    this.changedIn = new Map();
    this.version += 1;
    this.pageVersion = this.version;
    const shown = this.openPaths.map((path) => this.cardOf(path));
    const view = { label: this.label, page: this.page, pages: this.pages(), page_size: this.pageSize };
    this.send({ ...pageReply(shown, { ...view, at, ...this.state() }), id });
  }

  private decide({ id, ...message }: Message): void {
    const { version, until, paths, action } = message as unknown as {
      version: number;
      until: number;
      paths: string[];
      action: string;
    };
    this.checkInTime(until);
    if (!(this.pageVersion <= version && version <= this.version)) throw "another page was opened";
    for (const path of paths) {
      const sent = this.sent.get(path);
      if (sent === undefined) throw `the open page has no image ${path}`;
      const changed = sent !== (this.decisions.get(path) ?? "") || (this.changedIn.get(path) ?? 0) > version;
      if (changed) throw `somebody decided about ${path} since`;
    }
    this.done.push(paths.map((path) => [path, this.decisions.get(path) ?? ""]));
    for (const path of paths) this.decisions.set(path, action);
    this.saved.push({ id, paths, action });
    this.send({ kind: "done", id, at: "", ...this.state(paths) });
  }

  private undo({ id, until }: Message): void {
    this.checkInTime(Number(until));
    const step = this.done.pop();
    if (!step) throw "there is nothing to undo";
    for (const [path, before] of step) this.decisions.set(path, before);
    this.saved.push({ id, paths: step.map(([path]) => path), action: "undo" });
    this.send({ kind: "done", id, at: step[0]?.[0] ?? "", ...this.state() });
  }

  private checkInTime(until: number): void {
    if (!(this.clock() <= until)) throw "this arrived too late";
  }

  /** What each reply carries; its changed cards count as sent, whether it arrives or not. */
  private state(own: readonly string[] = []): Status {
    const changed = [...this.sent].filter(([path, sent]) => sent !== (this.decisions.get(path) ?? ""));
    const since = this.version;
    const byOthers = changed.map(([path]) => path).filter((path) => !own.includes(path));
    if (byOthers.length > 0) this.version += 1;
    for (const path of byOthers) this.changedIn.set(path, this.version);
    for (const [path] of changed) this.sent.set(path, this.decisions.get(path) ?? "");
    const news = changed.map(([path]) => this.cardOf(path));
    return status(this.clock(), { version: this.version, since, can_undo: this.done.length > 0, changed: news });
  }
}
