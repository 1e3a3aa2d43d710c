// The bar at the bottom: the keys that work now, and whether everything is saved.

import type { JSX } from "preact";
import { run } from "../actions";
import type { App } from "../app";
import { OURS } from "../dom";
import { offers } from "../keys";
import type { State } from "../state";

export function Footer({ app, state }: { app: App; state: State }): JSX.Element {
  const count = state.selected.size;
  return (
    <div class="cleaner-footer">
      <div class="cleaner-keys" role="toolbar" aria-label="Actions">
        {offers(state).map(({ command, key, text, isOff }) => (
          <button
            {...OURS}
            type="button"
            key={command}
            data-tool={command}
            aria-disabled={isOff}
            // The images keep the focus, so that keys and mouse can take turns.
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => run(app, command)}
          >
            <kbd>{key}</kbd> {text}
          </button>
        ))}
      </div>
      {count > 0 && <strong class="cleaner-selected">{count} selected</strong>}
      <Pages state={state} />
      <span class="cleaner-saved">{saved(state)}</span>
    </div>
  );
}

function Pages({ state: { page } }: { state: State }): JSX.Element | null {
  if (!page || page.pages < 2) return null;
  return (
    <span class="cleaner-place">
      page {page.page + 1} of {page.pages}
    </span>
  );
}

function saved(state: State): string {
  const [lost, underway] = [state.unconfirmed.size, state.underway.length];
  if (lost > 0) return `${lost} not confirmed`;
  return underway > 0 ? `saving ${underway} …` : "saved ✓";
}
