// The bar at the bottom: the keys that work now, and whether everything is saved.

import type { JSX } from "preact";
import { run } from "../actions";
import type { App } from "../app";
import { OURS } from "../dom";
import { offers } from "../keys";
import { turn } from "../moving";
import type { State } from "../state";

export function Footer({ app, state }: { app: App; state: State }): JSX.Element {
  const count = state.selected.size;
  return (
    <div class="cleaner-footer">
      <div
        {...OURS}
        class="cleaner-keys"
        role="toolbar"
        aria-label="Actions"
        onWheel={(event) => {
          event.currentTarget.scrollLeft += event.deltaY; // it has no scroll bar
        }}
      >
        {offers(state).map(({ command, key, text, isOff }) => (
          <button
            {...OURS}
            type="button"
            key={command}
            data-tool={command}
            aria-disabled={isOff}
            onMouseDown={keepFocus}
            onClick={() => run(app, command)}
          >
            <kbd>{key}</kbd> {text}
          </button>
        ))}
      </div>
      {count > 0 && <strong class="cleaner-selected">{count} selected</strong>}
      <Pages app={app} state={state} />
      <span class="cleaner-saved">{saved(state)}</span>
    </div>
  );
}

/** The images keep the focus, so that keys and mouse can take turns. */
function keepFocus(event: Event): void {
  event.preventDefault();
}

function Pages({ app, state: { page, tab } }: { app: App; state: State }): JSX.Element | null {
  if (!page || page.pages < 2) return null;
  const isHidden = tab === "figures";
  return (
    <span class="cleaner-pages">
      <Turn app={app} by={-1} text="‹" name="Previous page" isOff={isHidden || page.page === 0} />
      <span class="cleaner-place">
        page {page.page + 1} of {page.pages}
      </span>
      <Turn app={app} by={1} text="›" name="Next page" isOff={isHidden || page.page + 1 >= page.pages} />
    </span>
  );
}

interface TurnProps {
  app: App;
  by: 1 | -1;
  text: string;
  name: string;
  isOff: boolean;
}

function Turn({ app, by, text, name, isOff }: TurnProps): JSX.Element {
  return (
    <button
      {...OURS}
      type="button"
      aria-label={name}
      title={name}
      aria-disabled={isOff}
      onMouseDown={keepFocus}
      onClick={() => !isOff && turn(app, by)}
    >
      {text}
    </button>
  );
}

function saved(state: State): string {
  const [lost, underway] = [state.unconfirmed.size, new Set(state.underway.map(({ id }) => id)).size];
  if (lost > 0) return `${lost} not confirmed`;
  return underway > 0 ? `saving ${underway} …` : "saved ✓";
}
