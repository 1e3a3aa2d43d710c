// The whole page, drawn from the state.

import type { JSX } from "preact";
import { press } from "./actions";
import type { App } from "./app";
import { Footer } from "./bars/footer";
import { Header } from "./bars/header";
import { Help } from "./bars/help";
import { Notices } from "./bars/notices";
import { Chooser } from "./chooser/chooser";
import { OURS } from "./dom";
import { Empty, End } from "./grid/end";
import { Grid } from "./grid/grid";
import { LargeView } from "./large/large";
import { FiguresView } from "./sidebar/figures";
import { Sidebar } from "./sidebar/sidebar";
import { isAtEnd, type State } from "./state";

// No card can be reached by Tab there, and the images are to be scrolled by keys all the same.
const AT_END = { role: "group", tabIndex: 0, "aria-label": "Images of the page" } as const;

export function View({ app, state }: { app: App; state: State }): JSX.Element {
  const { page } = state;
  return (
    <>
      {page ? <Header app={app} state={state} page={page} /> : <div class="cleaner-header" />}
      <div class="cleaner-body">
        <Sidebar app={app} state={state} />
        <div class="cleaner-main" onKeyDown={(event) => onKey(app, event)}>
          <div {...OURS} class="cleaner-images" aria-busy={page === null} {...(isAtEnd(state) && AT_END)}>
            {page && state.tab === "images" && state.cards.size > 0 && <Grid app={app} state={state} page={page} />}
            {page && state.tab === "images" && <Empty app={app} state={state} page={page} />}
            {state.tab === "figures" && <FiguresView app={app} state={state} />}
          </div>
          {state.tab === "images" && !state.large && <End app={app} state={state} />}
          {!state.large && <Notices app={app} state={state} />}
        </div>
      </div>
      <Footer app={app} state={state} />
      <p class="cleaner-hidden" role="status" aria-live="polite">
        {state.announced}
      </p>
      {state.large && <LargeView app={app} state={state} />}
      {!state.large && <Chooser app={app} state={state} />}
      {state.hasHelp && <Help app={app} state={state} />}
    </>
  );
}

function onKey(app: App, event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (target.closest("input, select, textarea")) return;
  // A button takes these keys itself.
  if (target.closest("button") && ["Enter", " "].includes(event.key)) return;
  if (!press(app, event)) return;
  event.preventDefault();
  event.stopPropagation();
  // In a notebook the app may be partly out of sight; a click must not move it, as a second one would hit another card.
  if (!app.state.large) app.el.scrollIntoView({ block: "nearest" });
}
