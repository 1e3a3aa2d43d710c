// The widget: joins the state, the channel to the kernel and the page. cleaner/review/app.py is its other half.

import { render } from "preact";
import { HOLD_AFTER } from "./actions";
import { askToFit, giveUp, take } from "./answers";
import { type App, follow, type Model } from "./app";
import type { Task } from "./cards";
import { openChannel } from "./channel";
import { followRoom, followTheme, isOwnPage, measuredLayouts, savedSize, wanted } from "./dom";
import type { Answer } from "./protocol";
import { emptyState, type State } from "./state";
import "./style.css";
import { View } from "./view";

const NEWS_EVERY = 2000;
const LOOK_EVERY = 500;
const RESIZED_AFTER = 150;
// What a click may be meant for; the rest of the app is the space between.
const CONTROLS =
  "a, button, dialog, input, label, select, summary, textarea, [role=alert], [role=gridcell], [role=option], " +
  "code, .cleaner-end p, .cleaner-large-name, .cleaner-alert p"; // text that can be selected

function firstState(model: Model): State {
  return {
    ...emptyState(model.get("task") as Task),
    rankedBy: model.get("ranked_by") as string,
    vocab: model.get("vocab") as string[],
    size: savedSize(),
  };
}

function openApp(model: Model, el: HTMLElement): App {
  let state = firstState(model);
  let isDrawing = false;
  const app: App = {
    el,
    held: [],
    toLast: new Set(),
    isLost: false,
    behind: new Map(),
    deafUntil: 0,
    get state() {
      return state;
    },
    channel: openChannel({
      send: (message) => model.send(message),
      onGiveUp: (asked) => giveUp(app, asked),
      patience: model.get("patience_ms") as number,
      now: () => performance.now(),
    }),
    set(change) {
      let before = state;
      state = { ...state, ...change };
      if (isDrawing) return; // the loop below draws it in its turn
      isDrawing = true;
      try {
        while (before !== state) {
          const next = state;
          follow(app, before);
          if (next.size !== before.size || next.isFolded !== before.isFolded) fitSoon(app);
          before = next;
          if (next === state) render(<View app={app} state={next} />, el);
        }
      } finally {
        isDrawing = false;
      }
    },
    focus: () => focusCursor(app),
  };
  return app;
}

/** Put the focus on the cursor's card, or on what stands at the end, and bring it into sight. */
function focusCursor({ el, state }: App): void {
  if (state.choosing || state.hasHelp) return;
  const node = el.querySelector<HTMLElement>(
    state.large ? ".cleaner-large" : ".cleaner-at, .cleaner-end, .cleaner-empty",
  );
  if (!node || node.contains(document.activeElement)) {
    if (document.activeElement !== node && !document.activeElement?.closest(".cleaner-tools, .cleaner-select")) return;
  }
  node?.focus({ preventScroll: true });
  if (!state.large) node?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

const waiting = new WeakMap<App, ReturnType<typeof setTimeout>>();

/** Ask for another number of cards once the size of the window or of the pictures rests. */
function fitSoon(app: App): void {
  clearTimeout(waiting.get(app));
  waiting.set(
    app,
    setTimeout(() => refit(app), RESIZED_AFTER),
  );
}

function refit(app: App): void {
  const { layout, issueLayout, page } = app.state;
  const [before, next] = [wanted(app), measuredLayouts(app)];
  if (next.layout.width <= 0 || JSON.stringify(next) === JSON.stringify({ layout, issueLayout })) return;
  app.set(next);
  if (!page) return;
  const { page_size, columns, rows, pixels } = wanted(app);
  const isSame = page_size === page.page_size && columns === before.columns && rows === before.rows;
  if (!isSame || pixels > before.pixels) askToFit(app);
}

/** A click between the controls keeps the keys: a notebook would take them, and delete its cell on two D. */
function keepKeys(app: App, event: MouseEvent): void {
  const target = event.target as HTMLElement;
  const control = target.closest(CONTROLS);
  if (!app.el.contains(target) || (control && app.el.contains(control))) return;
  if (target.scrollHeight > target.clientHeight && event.offsetX > target.clientWidth) return; // its scroll bar
  event.preventDefault();
  event.stopPropagation();
  app.focus();
}

/** Say when an answer is missing, and look for decisions of others. */
function look(app: App): void {
  const oldest = app.channel.waiting()[0];
  const isSilent = oldest !== undefined && performance.now() - oldest.since > HOLD_AFTER;
  if (isSilent && !app.state.isSilent) app.set({ isSilent });
}

function askNews(app: App): void {
  const isSeen = document.visibilityState === "visible" && app.el.isConnected;
  if (isSeen && app.state.page && app.channel.waiting().length === 0) app.channel.ask("news", {});
}

export default {
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    el.classList.add("cleaner", "cleaner-review");
    el.classList.toggle("cleaner-own-page", isOwnPage());
    if (isOwnPage() && !document.querySelector("main, [role=main]")) el.setAttribute("role", "main");
    const app = openApp(model, el);
    const onMessage = (answer: Answer, buffers: readonly DataView[]) => take(app, answer, buffers);
    const onPointer = (event: MouseEvent) => keepKeys(app, event);
    const onSeen = () => askNews(app);
    model.on("msg:custom", onMessage as never);
    document.addEventListener("mousedown", onPointer, { capture: true });
    document.addEventListener("visibilitychange", onSeen);
    app.set({});
    const stops: (() => void)[] = [];
    const resized = new ResizeObserver(() => {
      // The host puts the element into its page only after this function has returned.
      if (stops.length === 0 && el.isConnected) stops.push(followTheme(el), followRoom(el));
      if (app.state.page) fitSoon(app);
      else begin(app);
    });
    resized.observe(el);
    const timers = [setInterval(onSeen, NEWS_EVERY), setInterval(() => look(app), LOOK_EVERY)];
    return () => {
      for (const timer of timers) clearInterval(timer);
      resized.disconnect();
      for (const stop of stops) stop();
      document.removeEventListener("mousedown", onPointer, { capture: true });
      document.removeEventListener("visibilitychange", onSeen);
      model.off("msg:custom", onMessage as never);
      app.channel.close();
      render(null, el);
    };
  },
};

/** Ask for the first page once the app has a size. */
function begin(app: App): void {
  const next = measuredLayouts(app);
  if (next.layout.width <= 0 || app.channel.isTurning()) return;
  app.set(next);
  app.channel.ask("ready", wanted(app));
}
