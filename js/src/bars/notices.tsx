// What went wrong, over the images: were they pushed down, the next click would hit another one.

import type { JSX } from "preact";
import type { App } from "../app";
import { OURS } from "../dom";
import type { State } from "../state";

export function Notices({ app, state }: { app: App; state: State }): JSX.Element {
  const { status } = state;
  const warnings = (status?.warnings ?? []).slice(state.closedWarnings);
  return (
    <div {...OURS} class="cleaner-notices">
      <Unconfirmed state={state} />
      {state.isSilent && state.unconfirmed.size === 0 && (
        <div {...OURS} tabIndex={-1} class="cleaner-alert" role="alert">
          The kernel has not answered for a while: it is busy, or the connection is lost.
          <Reload />
        </div>
      )}
      {state.notice && (
        <div {...OURS} tabIndex={-1} class="cleaner-alert" role="alert">
          {state.notice}
          <Close app={app} change={{ notice: "" }} />
        </div>
      )}
      {status?.edited && (
        <div {...OURS} tabIndex={-1} class="cleaner-alert cleaner-edited" role="alert">
          <p>{status.edited}</p>
          <button {...OURS} type="button" onClick={() => settle(app, "restore")}>
            Restore the decisions
          </button>
          <button {...OURS} type="button" onClick={() => settle(app, "accept")}>
            Accept the file as it is
          </button>
        </div>
      )}
      {warnings.length > 0 && (
        <div {...OURS} tabIndex={-1} class="cleaner-alert cleaner-warnings" role="status">
          {warnings.map((text) => (
            <p key={text}>{text}</p>
          ))}
          <Close app={app} change={{ closedWarnings: status?.warnings.length ?? 0 }} />
        </div>
      )}
    </div>
  );
}

function settle(app: App, kind: "restore" | "accept"): void {
  app.channel.ask(kind, {});
  app.focus();
}

function Unconfirmed({ state }: { state: State }): JSX.Element | null {
  const count = state.unconfirmed.size;
  if (count === 0) return null;
  const decisions = count === 1 ? "1 decision is" : `${count} decisions are`;
  return (
    <div {...OURS} tabIndex={-1} class="cleaner-alert" role="alert">
      {decisions} not confirmed: the kernel did not answer. What arrives there late is refused. The page asks again as
      soon as the kernel answers.
      <Reload />
    </div>
  );
}

function Reload(): JSX.Element {
  return (
    <button {...OURS} type="button" onClick={() => location.reload()}>
      Reload the page
    </button>
  );
}

/** The keys go back to the images: a notebook would take them, as the button is gone. */
function Close({ app, change }: { app: App; change: Partial<State> }): JSX.Element {
  const close = () => {
    app.set(change);
    app.focus();
  };
  return (
    <button {...OURS} type="button" class="cleaner-close" aria-label="Close" onClick={close}>
      ✕
    </button>
  );
}
