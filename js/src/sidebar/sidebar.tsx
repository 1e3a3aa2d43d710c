// Beside the images: the splits, the lists of images, and the overview.

import type { JSX } from "preact";
import type { App } from "../app";
import { OURS } from "../dom";
import { openList } from "../moving";
import type { State } from "../state";
import { Rows } from "./rows";

export function Sidebar({ app, state }: { app: App; state: State }): JSX.Element {
  const splits = state.page?.splits ?? [];
  const isFigures = state.tab === "figures";
  return (
    <>
      {state.hasDrawer && <div class="cleaner-beside" onClick={() => closeDrawer(app)} />}
      <nav
        {...OURS}
        class={`cleaner-sidebar${state.hasDrawer ? " cleaner-drawer" : ""}${state.isFolded ? " cleaner-folded" : ""}`}
        aria-label="Lists of images"
      >
        {splits.length > 1 && (
          <label class="cleaner-split">
            Split
            <select {...OURS} value={state.page?.split} onChange={(event) => openSplit(app, event.currentTarget)}>
              {splits.map((split) => (
                <option key={split} value={split}>
                  {split}
                </option>
              ))}
            </select>
          </label>
        )}
        <Rows app={app} state={state} />
        {state.status?.history && <p class="cleaner-history">{state.status.history}</p>}
        {hasOverview(state) && (
          <button
            {...OURS}
            type="button"
            class="cleaner-tab"
            aria-pressed={isFigures}
            onClick={() => showFigures(app, !isFigures)}
          >
            Overview
          </button>
        )}
      </nav>
    </>
  );
}

/** Whether a model scored images of the split; else there is nothing to count. */
function hasOverview({ rows, tab }: State): boolean {
  return tab === "figures" || rows.length === 0 || rows.some(({ scored }) => scored !== null);
}

function openSplit(app: App, select: HTMLSelectElement): void {
  openList(app, { label: app.state.page?.label ?? "", split: select.value });
}

function showFigures(app: App, isShown: boolean): void {
  app.set({ tab: isShown ? "figures" : "images", figures: null, hasDrawer: false });
  if (isShown) app.channel.ask("figures", {});
  else app.focus();
}

function closeDrawer(app: App): void {
  app.set({ hasDrawer: false });
  app.focus();
}
