// The app: its state, its channel to the kernel, and what is drawn when one of them changes.

import type { Channel } from "./channel";
import { cursorPath, isAtEnd, isLastPage, type State } from "./state";

/** What anywidget gives to `render`. */
export interface Model {
  get(name: string): unknown;
  send(message: unknown): void;
  on(event: string, take: (message: never, buffers: never) => void): void;
  off(event: string, take: (message: never, buffers: never) => void): void;
}

export interface App {
  readonly state: State;
  readonly channel: Channel;
  /** The element that the app is drawn in. */
  readonly el: HTMLElement;
  /** Change the state and draw it at once. */
  set(change: Partial<State>): void;
  /** Put the focus on the cursor's card, or on what stands at the end. */
  focus(): void;
  /** Keys that were pressed while a page is on its way. */
  held: (() => void)[];
  /** Where the cursor belongs on a page that was asked for. */
  readonly toLast: Set<number>;
  /** Whether decisions or a page were given up, so that the page must be asked for again once the kernel answers. */
  isLost: boolean;
  /** Where the cursor was behind the last card when a page of another size was asked for: the path of that card. */
  readonly behind: Map<number, string>;
  /** Until when keys are ignored, in the time of `performance.now()`. */
  deafUntil: number;
}

/** Say visibly why a key did nothing. */
export function refuse(app: App, notice: string): void {
  app.set({ notice, announced: notice });
}

const PLACE_AFTER = 500;

/** What follows from a change of the state: requests that keep the kernel and the large view with the cursor. */
export function follow(app: App, before: State): void {
  const { state } = app;
  const path = cursorPath(state);
  if (state.large && state.large.path !== path) followLarge(app, path);
  if (isAtEnd(state) && isLastPage(state) && !isAtEnd(before)) app.channel.ask("summary", {});
  if (path && path !== cursorPath(before)) placeSoon(app);
}

/** Show another image large; its thumbnail stands in its place until it is here. */
export function followLarge(app: App, path: string): void {
  if (app.state.large?.url) URL.revokeObjectURL(app.state.large.url);
  app.set({ large: { path, url: "", error: "", compared: [] } });
  if (!path) return; // the end of the page
  app.channel.ask("large", { path });
  app.channel.ask("typical", { path });
}

const timers = new WeakMap<App, ReturnType<typeof setTimeout>>();

/** Tell the kernel where the cursor is, once it rests, so that a reload opens there. */
function placeSoon(app: App): void {
  clearTimeout(timers.get(app));
  const place = () => {
    const at = cursorPath(app.state);
    if (at && !app.channel.isTurning() && app.el.isConnected) app.channel.ask("place", { at });
  };
  timers.set(app, setTimeout(place, PLACE_AFTER));
}
