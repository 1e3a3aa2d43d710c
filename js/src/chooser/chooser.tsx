// The label chooser: it floats at its card, so that nothing else moves.

import { Component, createRef, type JSX } from "preact";
import { choices, giveLabel } from "../actions";
import type { App } from "../app";
import { labelsOf, percent } from "../cards";
import { OURS } from "../dom";
import { found } from "../labels";
import type { Card } from "../protocol";
import { cursorPath, type State, shownCard, targets } from "../state";

const SHOWN = 100; // more labels than this are found by typing
const WIDTH = 260;
const HEIGHT = 320;

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

  /** Below its card, or above where there is no room; in the large view its place is fixed. */
  private place(): void {
    const { app, card, state } = this.props;
    const box = this.box.current;
    const at = app.el.querySelector(`.cleaner-card[data-path="${CSS.escape(card.path)}"]`)?.getBoundingClientRect();
    if (!box || !at || state.large) return;
    const frame = app.el.getBoundingClientRect();
    const below = at.top + at.width * 0.6;
    const top = below + HEIGHT < frame.bottom ? below : Math.max(frame.top, frame.bottom - HEIGHT - 8);
    const left = Math.min(Math.max(at.left, frame.left + 4), Math.max(frame.left, frame.right - WIDTH - 8));
    box.style.top = `${top - frame.top}px`;
    box.style.left = `${left - frame.left}px`;
  }

  private shown(): string[] {
    const { app, state } = this.props;
    return found(choices(app), (label) => label, state.choosing?.typed ?? "").slice(0, SHOWN);
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
    const shown = this.shown();
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const { marked } = state.choosing;
    if (by) app.set({ choosing: { ...state.choosing, marked: Math.min(Math.max(marked + by, 0), shown.length - 1) } });
    else if (event.key === "Escape") {
      app.set({ choosing: null });
      app.focus();
    } else if (event.key !== "Enter") return;
    else if (shown[marked] !== undefined) this.take(shown[marked]);
    event.preventDefault();
  };

  private readonly onInput = (event: Event): void => {
    const typed = (event.target as HTMLInputElement).value;
    const { app, state } = this.props;
    if (state.choosing) app.set({ choosing: { ...state.choosing, typed, marked: 0 } });
  };

  render({ app, state, card }: OpenProps): JSX.Element {
    const shown = this.shown();
    const left = found(choices(app), (label) => label, state.choosing?.typed ?? "").length - shown.length;
    const marked = state.choosing?.marked ?? -1;
    const count = card.path === cursorPath(state) ? state.selected.size : 0;
    const what = card.given ? "Label to add or remove" : "New label";
    return (
      <div class="cleaner-chooser" ref={this.box} {...OURS}>
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
            onKeyDown={this.onKey}
          />
        </form>
        <div id="cleaner-choices" role="listbox" aria-label="Labels" class="cleaner-choices">
          {shown.map((label, number) => (
            <Choice
              key={label}
              card={card}
              label={label}
              number={number}
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

interface ChoiceProps {
  card: Card;
  label: string;
  number: number;
  isMarked: boolean;
  take(): void;
}

function Choice({ card, label, number, isMarked, take }: ChoiceProps): JSX.Element {
  const probable = card.alternatives.findIndex(([name]) => name === label);
  const sign = card.given ? `${labelsOf(card).includes(label) ? "−" : "+"} ` : "";
  const probability = card.alternatives[probable]?.[1] ?? (label === card.predicted ? card.confidence : null);
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the input has the focus and names the marked one
    <div
      role="option"
      id={`cleaner-choice-${number}`}
      class="cleaner-choice"
      data-label={label}
      aria-selected={isMarked}
      onClick={take}
    >
      <span class="cleaner-choice-label">
        {sign}
        {label}
      </span>
      <span class="cleaner-faint">{percent(probability)}</span>
      {probable >= 0 && <kbd>{probable + 1}</kbd>}
    </div>
  );
}
