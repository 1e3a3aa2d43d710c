// What the kernel says.

import { listenAfterPause } from "./actions";
import type { App } from "./app";
import type { Asked } from "./channel";
import { wanted } from "./dom";
import { type Answer, type Kind, type PageReply, SHOWN_AT_ONCE, TURNING } from "./protocol";
import {
  cursorPath,
  givenUp,
  hasMissed,
  isAtEnd,
  pathsOf,
  placed,
  type State,
  settled,
  withPage,
  withStatus,
} from "./state";

/** Take a message of the kernel; those of other widgets or kinds are not for us. */
export function take(app: App, answer: Answer, buffers: readonly DataView[]): void {
  const asked = app.channel.settle(answer.id, "clock" in answer ? answer.clock : undefined);
  if (asked && app.state.isSilent) app.set({ isSilent: false });
  if ("since" in answer && answer.kind !== "page" && hasMissed(app.state, answer)) app.isLost = true;
  switch (answer.kind) {
    case "lists":
      return app.set({ rows: answer.rows });
    case "figures":
      return app.set({ figures: answer });
    case "page":
      return takePage(app, answer, buffers, asked);
    case "done":
    case "error":
      return takeDone(app, answer, asked);
    case "summary":
      app.set({ ...withStatus(app.state, answer), summary: answer.lines });
      break;
    case "large":
    case "typical":
      takeLarge(app, answer, buffers);
      break;
    default:
      return;
  }
  resync(app);
}

function takePage(app: App, page: PageReply, buffers: readonly DataView[], asked: Asked | undefined): void {
  // An earlier page that arrives late, or twice.
  if (app.state.status && page.version <= app.state.status.version && app.state.page) {
    if (!asked) return;
    // What came in between spoke of cards that are not here yet.
    if (page.clock < app.state.status.clock) return loseTrack(app);
  }
  const urls = new Map<string, string>();
  for (const card of page.cards) {
    const buffer = card.buffer === undefined ? undefined : buffers[card.buffer];
    if (buffer) urls.set(card.path, dataUrl(buffer));
  }
  const isOurs = asked !== undefined && app.toLast.delete(asked.id);
  const state = asked ? settled(app.state, asked.id) : app.state;
  const { unconfirmed, choosing } = app.state;
  const behind = asked && app.behind.get(asked.id);
  const next = withPage(state, page, urls, isOurs);
  app.set({ ...(behind ? behindCard(next, behind) : next), isSilent: false });
  if (choosing && !app.state.choosing) listenAfterPause(app);
  if (unconfirmed.size > 0) showUnsaved(app, unconfirmed);
  if (hasFocus(app)) app.focus();
  runHeld(app);
}

/** The cursor behind the card that was the last one of the page before. */
function behindCard(state: State, path: string): State {
  const at = pathsOf(state).indexOf(path);
  return at < 0 ? state : placed(state, at + 1, false);
}

/** Do what was pressed while a page could come; what comes too early again is held again. */
function runHeld(app: App): void {
  if (!app.channel.isTurning()) for (const key of app.held.splice(0)) key();
}

/** After a loss of the connection, show the images that are still undecided. */
function showUnsaved(app: App, unconfirmed: ReadonlySet<string>): void {
  const unsaved = pathsOf(app.state).filter(
    (path) => unconfirmed.has(path) && app.state.cards.get(path)?.action === "",
  );
  const first = pathsOf(app.state).indexOf(unsaved[0] ?? "");
  const count = unsaved.length === 1 ? "1 decision was not saved." : `${unsaved.length} decisions were not saved.`;
  const outcome = unsaved.length === 0 ? "Every decision was saved." : count;
  const notice = `The kernel answers again, and the page shows what is saved. ${outcome}`;
  app.set({ ...(first >= 0 ? placed(app.state, first, false) : {}), notice, announced: notice });
}

/** Whether the focus is in the app or nowhere, so that it may be put on a card. */
function hasFocus({ el }: App): boolean {
  const focused = document.activeElement;
  return focused === document.body || (el.contains(focused) && !focused?.closest("input, dialog"));
}

function takeDone(app: App, answer: Extract<Answer, { kind: "done" | "error" }>, asked: Asked | undefined): void {
  const refused = answer.kind === "error" ? app.state.underway.find((each) => each.id === asked?.id) : undefined;
  if (refused) app.held = []; // the reviewer is to see what was not saved, where the cursor goes back to it
  const before = cursorPath(app.state);
  let state = withStatus(asked ? settled(app.state, asked.id) : app.state, answer);
  // An answer that comes twice, or to another view, moves no cursor.
  const at = answer.kind === "done" ? (asked ? answer.at : "") : (refused?.paths[0] ?? "");
  const position = pathsOf(state).indexOf(at);
  if (at && position >= 0) state = placed(state, position, false);
  // What was asked cleared the notice; what was said since may be why the next key was refused.
  const notice = answer.kind === "error" ? answer.message : answer.note || state.notice;
  app.set({ ...state, isSilent: false, notice, ...(notice ? { announced: notice } : {}) });
  if (cursorPath(app.state) !== before && hasFocus(app)) app.focus();
  resync(app);
  runHeld(app);
}

function takeLarge(
  app: App,
  answer: Extract<Answer, { kind: "large" | "typical" }>,
  buffers: readonly DataView[],
): void {
  app.set(withStatus(app.state, answer));
  const { large } = app.state;
  if (large?.path !== answer.path) return;
  if (answer.kind === "typical") {
    const compared = answer.images.flatMap(({ buffer, ...image }) => {
      const data = buffers[buffer];
      return data ? [{ ...image, url: dataUrl(data) }] : [];
    });
    app.set({ large: { ...large, compared } });
  } else {
    const data = buffers[0] ? new Blob([buffers[0] as DataView<ArrayBuffer>], { type: "image/jpeg" }) : null;
    app.set({ large: { ...large, url: data ? URL.createObjectURL(data) : "", error: answer.error } });
  }
}

/** The kernel did not answer in time. */
export function giveUp(app: App, asked: Asked): void {
  app.toLast.delete(asked.id);
  app.behind.delete(asked.id);
  app.held = [];
  if (SHOWN_AT_ONCE.has(asked.kind) || TURNING.has(asked.kind)) app.isLost = true;
  if (SHOWN_AT_ONCE.has(asked.kind)) app.set({ ...givenUp(app.state, asked.id), isSilent: true });
  else if (BESIDES.has(asked.kind)) app.set({ isSilent: true });
  else {
    const safe = app.state.unconfirmed.size === 0 ? " Every saved decision is safe." : "";
    app.set({ isSilent: true, notice: `No answer from the kernel to “${asked.kind}”.${safe}` });
  }
}

/** What is asked besides, without the reviewer. */
const BESIDES: ReadonlySet<Kind> = new Set(["news", "place", "large", "typical", "summary", "figures"]);

/** Once the kernel answers again, ask for the page: only it says which is open, and which decisions were saved. */
function resync(app: App): void {
  if (!app.isLost || !app.state.page || app.channel.isTurning()) return;
  app.isLost = false;
  askToFit(app);
}

/** Ask for the page with as many cards as fit; the cursor stays where it is. */
export function askToFit(app: App): void {
  const { state } = app;
  const last = isAtEnd(state) ? (pathsOf(state).at(-1) ?? "") : "";
  const id = app.channel.ask("fit", { ...wanted(app), at: last || cursorPath(state) });
  if (last) app.behind.set(id, last);
}

function loseTrack(app: App): void {
  app.isLost = true;
  resync(app);
}

/** Thumbnails are small and many: an object URL for each would take two round trips to the browser's own process. */
function dataUrl(view: DataView): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if ("toBase64" in bytes) return `data:image/jpeg;base64,${(bytes.toBase64 as () => string)()}`;
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return `data:image/jpeg;base64,${btoa(text)}`;
}
