// The label chooser: it floats at its card, so that nothing else moves.

import { Component, createRef, type JSX } from "preact";
import { choices, giveLabel } from "../actions";
import type { App } from "../app";
import { labelsOf, percent, probable } from "../cards";
import { OURS } from "../dom";
import { found } from "../labels";
import type { Card } from "../protocol";
import { cursorPath, type State, shownCard, targets } from "../state";
import { placeAt } from "./place";

const SHOWN = 100; // more labels than this are found by typing

export function Chooser({ app, state }: { app: App; state: State }): JSX.Element | null {
  const card = shownCard(state, state.choosing?.path ?? "");
  if (!state.choosing || !card) return null;
  return <Open app={app} state={state} card={card} key={card.path} />;
}

interface OpenProps {
  app: App;
  state: State;
  card: Card;
}

class Open extends Component<OpenProps> {
  private readonly box = createRef<HTMLDivElement>();
  private readonly input = createRef<HTMLInputElement>();

  override componentDidMount(): void {
    this.place();
    this.input.current?.focus({ preventScroll: true });
    document.addEventListener("pointerdown", this.closeOutside, true);
  }

  override componentWillUnmount(): void {
    document.removeEventListener("pointerdown", this.closeOutside, true);
  }

  override componentDidUpdate(): void {
    this.box.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  private readonly closeOutside = (event: Event): void => {
    if (!this.box.current?.contains(event.target as Node)) this.props.app.set({ choosing: null });
  };

  /** At the picture of its card; in the large view its place is fixed. */
  private place(): void {
    const { app, card, state } = this.props;
    const box = this.box.current;
    const picture = app.el.querySelector(`.cleaner-card[data-path="${CSS.escape(card.path)}"] .cleaner-picture`);
    if (!box || !picture || state.large) return;
    const frame = app.el.getBoundingClientRect();
    // In a notebook the app may be partly out of sight.
    const [top, bottom] = [Math.max(frame.top, 0), Math.min(frame.bottom, innerHeight)];
    const place = placeAt(picture.getBoundingClientRect(), { left: frame.left, right: frame.right, top, bottom });
    box.style.top = `${place.top - frame.top - app.el.clientTop}px`;
    box.style.left = `${place.left - frame.left - app.el.clientLeft}px`;
    box.style.height = `${place.height}px`;
  }

  private found(): string[] {
    const { app, state } = this.props;
    return found(choices(app), (label) => label, state.choosing?.typed ?? "");
  }

  /** The probable label that a digit takes while nothing is typed; none where labels themselves begin with digits. */
  private numbered(key: string): string | undefined {
    const { app, card, state } = this.props;
    if (state.choosing?.typed || !/^[1-5]$/.test(key) || hasDigits(state)) return undefined;
    const label = probable(card)[Number(key) - 1]?.[0];
    return label !== undefined && choices(app).includes(label) ? label : undefined;
  }

  private take(label: string): void {
    const { app, card, state } = this.props;
    const isCursor = card.path === cursorPath(state);
    giveLabel(app, label, isCursor ? targets(state) : [card.path], isCursor);
    app.focus();
  }

  private readonly onKey = (event: KeyboardEvent): void => {
    const { app, state } = this.props;
    // The Enter that ends the composing of a word with an input method is no choice.
    if (event.isComposing || event.keyCode === 229 || !state.choosing) return;
    event.stopPropagation();
    const shown = this.found().slice(0, SHOWN);
    const numbered = event.ctrlKey || event.altKey || event.metaKey ? undefined : this.numbered(event.key);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const { marked } = state.choosing;
    if (by) app.set({ choosing: { ...state.choosing, marked: Math.min(Math.max(marked + by, 0), shown.length - 1) } });
    else if (event.key === "Escape") {
      app.set({ choosing: null });
      app.focus();
    } else if (numbered !== undefined) {
      if (!event.repeat) this.take(numbered);
    } else if (event.key !== "Enter") return;
    else if (shown[marked] !== undefined) this.take(shown[marked]);
    event.preventDefault();
  };

  private digitOf(label: string): number {
    return hasDigits(this.props.state) ? 0 : probable(this.props.card).findIndex(([name]) => name === label) + 1;
  }

  private readonly onInput = (event: Event): void => {
    const typed = (event.target as HTMLInputElement).value;
    const { app, state } = this.props;
    if (state.choosing) app.set({ choosing: { ...state.choosing, typed, marked: 0 } });
  };

  render({ state, card }: OpenProps): JSX.Element {
    const all = this.found();
    const shown = all.slice(0, SHOWN);
    const left = all.length - shown.length;
    const marked = state.choosing?.marked ?? -1;
    const count = card.path === cursorPath(state) ? state.selected.size : 0;
    const what = card.given ? "Label to add or remove" : "New label";
    return (
      <div class="cleaner-chooser" ref={this.box} onKeyDown={this.onKey} {...OURS}>
        <form action="/search" onSubmit={(event) => event.preventDefault()}>
          <input
            {...OURS}
            ref={this.input}
            type="text"
            role="combobox"
            autocomplete="off"
            placeholder="type to find a label"
            aria-label={`${what} of ${count > 1 ? `${count} images` : card.name}`}
            aria-expanded="true"
            aria-controls="cleaner-choices"
            aria-activedescendant={shown[marked] === undefined ? undefined : `cleaner-choice-${marked}`}
            value={state.choosing?.typed}
            onInput={this.onInput}
          />
        </form>
        <div {...OURS} id="cleaner-choices" role="listbox" aria-label="Labels" class="cleaner-choices">
          {shown.map((label, number) => (
            <Choice
              key={label}
              card={card}
              label={label}
              number={number}
              digit={this.digitOf(label)}
              isMarked={number === marked}
              take={() => this.take(label)}
            />
          ))}
          {left > 0 && <p role="presentation">and {left} more: type to find them</p>}
          {shown.length === 0 && <p role="presentation">no such label</p>}
        </div>
      </div>
    );
  }
}

/** Whether the labels themselves begin with digits, so that a digit is typed to find one. */
function hasDigits({ vocab }: State): boolean {
  return vocab.some((label) => /^\d/.test(label));
}

interface ChoiceProps {
  card: Card;
  label: string;
  number: number;
  /** The key that takes it while nothing is typed; 0 for none. */
  digit: number;
  isMarked: boolean;
  take(): void;
}

function Choice({ card, label, number, digit, isMarked, take }: ChoiceProps): JSX.Element {
  const sign = card.given ? `${labelsOf(card).includes(label) ? "−" : "+"} ` : "";
  const probability =
    probable(card).find(([name]) => name === label)?.[1] ?? (label === card.predicted ? card.confidence : null);
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the input has the focus and names the marked one
    <div
      role="option"
      id={`cleaner-choice-${number}`}
      class="cleaner-choice"
      data-label={label}
      aria-selected={isMarked}
      // The second click of two that opened the chooser is none on what it brought under the pointer.
      onClick={(event) => event.detail <= 1 && take()}
    >
      <span class="cleaner-choice-label">
        {sign}
        {label}
      </span>
      <span class="cleaner-faint">{percent(probability)}</span>
      {digit > 0 && <kbd>{digit}</kbd>}
    </div>
  );
}
