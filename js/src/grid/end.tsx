// What stands below the images when the cursor is behind the last one, and in place of images where there are none.

import { Component, createRef, type JSX } from "preact";
import type { App } from "../app";
import { OURS } from "../dom";
import { filter, openNext, turn } from "../moving";
import type { Page } from "../protocol";
import { isAtEnd, isLastPage, nextList, type State } from "../state";

export function End({ app, state }: { app: App; state: State }): JSX.Element | null {
  return isAtEnd(state) ? <Panel app={app} state={state} /> : null;
}

/** It takes its height from the images, whose last row, just decided, stays in sight. */
class Panel extends Component<{ app: App; state: State }> {
  override componentDidMount(): void {
    this.showLastRow();
  }

  override componentDidUpdate(before: { state: State }): void {
    if (before.state.summary !== this.props.state.summary) this.showLastRow(); // it arrives later
  }

  private showLastRow(): void {
    const images = this.props.app.el.querySelector(".cleaner-images");
    if (images) images.scrollTop = images.scrollHeight;
  }

  render({ app, state }: { app: App; state: State }): JSX.Element {
    const next = nextList(state, 1);
    const isLast = isLastPage(state);
    const isOpen = state.rows.some((row) => row.label === state.page?.label && row.decided < row.kept);
    return (
      <section {...OURS} class="cleaner-end" tabIndex={-1} aria-label={isLast ? "End of the list" : "End of the page"}>
        {isLast && <Summary lines={state.summary} />}
        <p>
          {!isLast && <span class="cleaner-end-name">End of the page.</span>}
          {!isLast && (
            <button {...OURS} type="button" onClick={() => turn(app, 1)}>
              <kbd>→</kbd> next page
            </button>
          )}
          {isLast && next && (
            <button {...OURS} type="button" onClick={() => openNext(app, 1)}>
              <kbd>]</kbd> {next.name}
            </button>
          )}
          {isLast && !next && <span>Every {isOpen ? "other list" : "image"} of this split is decided.</span>}
          <span class="cleaner-faint">
            <kbd>←</kbd> back to the last image
          </span>
        </p>
      </section>
    );
  }
}

function Summary({ lines }: { lines: readonly string[] | null }): JSX.Element {
  return (
    <>
      {(lines ?? ["…"]).map((line) => {
        const [before, command] = line.split(/(?=cleaner apply )/);
        return (
          <p key={line}>
            {before}
            {command && <Command text={command} />}
          </p>
        );
      })}
    </>
  );
}

/** What is to be typed in a terminal, and a button that copies it. */
class Command extends Component<{ text: string }, { isCopied: boolean }> {
  override state = { isCopied: false };
  private readonly code = createRef<HTMLElement>();

  private readonly copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(this.props.text);
      this.setState({ isCopied: true });
    } catch {
      // Without https, or where it is forbidden: it is marked, and Ctrl+C copies it.
      if (this.code.current) getSelection()?.selectAllChildren(this.code.current);
    }
  };

  render({ text }: { text: string }): JSX.Element {
    return (
      <>
        <code ref={this.code}>{text}</code>{" "}
        <button {...OURS} type="button" class="cleaner-copy" onClick={this.copy}>
          {this.state.isCopied ? "Copied" : "Copy"}
        </button>
      </>
    );
  }
}

const EMPTY: Record<Page["list"], string> = {
  class: "No image was kept of this class.",
  all: "No image was kept of this split.",
  unsure: "No image is decided as unsure.",
  disagreements: "There is no image about which reviewers decided differently.",
  audit: "This split has no audit sample.",
  unreadable: "Every file could be read.",
  issue: "No image has this issue.",
  groups: "There are no copies of this kind.",
};

export function Empty({ app, state, page }: { app: App; state: State; page: Page }): JSX.Element | null {
  if (state.cards.size > 0) return null;
  const isFiltered = (state.status?.counts.kept ?? 0) > 0;
  const everything = { show: "all", predicted: "", text: "" };
  return (
    <section {...OURS} class="cleaner-empty" tabIndex={-1} aria-label="No images">
      <p>{isFiltered ? "No image of this list fits the filter." : EMPTY[page.list]}</p>
      {isFiltered && (
        <button {...OURS} type="button" onClick={() => filter(app, everything)}>
          Show all
        </button>
      )}
    </section>
  );
}
