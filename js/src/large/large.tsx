// The large view: a dialog over everything, which follows the cursor.

import { Component, createRef, type JSX } from "preact";
import { closeLarge, giveLabel, press, run } from "../actions";
import type { App } from "../app";
import { Notices } from "../bars/notices";
import { labelsOf, percent, predictionOf, probable, reasonOf, said, scoreOf } from "../cards";
import { Chooser } from "../chooser/chooser";
import { OURS } from "../dom";
import { End } from "../grid/end";
import { offers } from "../keys";
import { move } from "../moving";
import type { Card } from "../protocol";
import { type ComparedImage, isUnderway, type State, shownCard } from "../state";
import { Picture } from "./picture";

interface LargeProps {
  app: App;
  state: State;
}

export class LargeView extends Component<LargeProps> {
  private readonly dialog = createRef<HTMLDialogElement>();

  override componentDidMount(): void {
    this.dialog.current?.showModal();
    this.dialog.current?.focus();
  }

  private readonly onKey = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (target.closest("input") || (target.closest("button") && ["Enter", " "].includes(event.key))) return;
    if (!press(this.props.app, event)) return;
    event.preventDefault();
    event.stopPropagation();
  };

  render({ app, state }: LargeProps): JSX.Element | null {
    const { large } = state;
    if (!large) return null;
    const card = shownCard(state, large.path);
    return (
      <dialog
        {...OURS}
        class="cleaner-large"
        ref={this.dialog}
        tabIndex={-1}
        aria-label="Large view"
        onKeyDown={this.onKey}
        // The dialog keeps the focus: Enter after a click is a key of its own, not the same button again.
        onMouseDown={(event) => (event.target as HTMLElement).closest("button") && event.preventDefault()}
        onCancel={(event) => {
          event.preventDefault();
          closeLarge(app);
        }}
      >
        {card ? <LargePicture state={state} card={card} /> : <End app={app} state={state} />}
        <div class="cleaner-large-side">
          <Chooser app={app} state={state} />
          {card ? <Facts app={app} state={state} card={card} /> : <Last app={app} state={state} />}
          <Compared images={large.compared} />
        </div>
        <Notices app={app} state={state} />
      </dialog>
    );
  }
}

function LargePicture({ state, card }: { state: State; card: Card }): JSX.Element {
  const url = state.large?.url || state.urls.get(card.path);
  const reason = state.large?.error || card.error;
  if (!reason && url) return <Picture key={card.path} url={url} alt={card.name} isBusy={!state.large?.url} />;
  return (
    <div class="cleaner-large-picture">
      <p class="cleaner-broken">{reason || "no image"}</p>
    </div>
  );
}

function Facts({ app, state, card }: LargeProps & { card: Card }): JSX.Element {
  const page = state.page;
  const number = page ? page.first + state.at + 1 : 0;
  const given = card.given ? labelsOf(card).join(", ") || "no label" : card.label;
  const hasLoss = page?.list !== "audit" && card.loss !== "";
  return (
    <>
      <p class="cleaner-large-place">
        <Step app={app} by={-1} text="‹" name="Previous image" />
        <span>
          {number} of {page?.shown}
        </span>
        <Step app={app} by={1} text="›" name="Next image" />
        <button {...OURS} type="button" class="cleaner-close" onClick={() => closeLarge(app)}>
          Close <kbd>Z</kbd>
        </button>
      </p>
      <h2 class="cleaner-large-name">{card.path}</h2>
      {state.task !== "other" && <Fact name={card.given ? "labels" : "given"} value={given} />}
      {card.given && predictionOf(card) && (
        <Fact name="predicted" value={`${predictionOf(card)} ${percent(card.confidence)}`} />
      )}
      {card.split && <Fact name="split" value={card.split} />}
      {card.size && <Fact name="size" value={card.size} />}
      {reasonOf(card) && <Fact name={page?.list === "groups" ? "copy" : "issue"} value={reasonOf(card)} />}
      {scoreOf(card) && <p class="cleaner-fact cleaner-faint">{scoreOf(card)}</p>}
      {hasLoss && <Fact name={state.rankedBy} value={card.loss} />}
      <Alternatives app={app} card={card} />
      <Decision state={state} card={card} />
      <Last app={app} state={state} />
      {card.note && <p class="cleaner-note">{card.note}</p>}
      {card.others.map((other) => (
        <Fact key={other.reviewer} name="≠" value={`${other.reviewer || "somebody"}: ${said(other, card.given)}`} />
      ))}
      <div class="cleaner-large-tools">
        {offers(state)
          .filter(({ command }) => !["undo", "nextList", "large"].includes(command))
          .map(({ command, key, text, isOff }) => (
            <button
              {...OURS}
              type="button"
              key={command}
              data-tool={command}
              aria-disabled={isOff}
              onClick={() => run(app, command)}
            >
              <kbd>{key}</kbd> {text}
            </button>
          ))}
      </div>
    </>
  );
}

function Step({ app, by, text, name }: { app: App; by: number; text: string; name: string }): JSX.Element {
  return (
    <button {...OURS} type="button" aria-label={name} onClick={() => move(app, by)}>
      {text}
    </button>
  );
}

function Fact({ name, value }: { name: string; value: string }): JSX.Element {
  return (
    <p class="cleaner-fact">
      <span class="cleaner-faint">{name}</span> <span>{value}</span>
    </p>
  );
}

/** What was decided about the image. */
function Decision({ state, card }: { state: State; card: Card }): JSX.Element {
  const isUnconfirmed = state.unconfirmed.has(card.path);
  const by = card.reviewer ? ` by ${card.reviewer}` : "";
  const text = isUnconfirmed ? "! not confirmed" : card.action ? `${said(card, card.given)}${by}` : "undecided";
  const busy = isUnderway(state, card.path) ? " (saving)" : "";
  return (
    <p class="cleaner-large-decision" data-decision={isUnconfirmed ? "" : card.action} role="status">
      <strong>
        {text}
        {busy}
      </strong>
    </p>
  );
}

/** What was decided last, and how to take it back. */
function Last({ app, state }: LargeProps): JSX.Element | null {
  if (!state.status?.can_undo) return null;
  return (
    <p class="cleaner-large-last">
      <span>{state.last && `last: ${state.last}`}</span>
      <button {...OURS} type="button" onClick={() => run(app, "undo")}>
        <kbd>U</kbd> undo
      </button>
    </p>
  );
}

/** The most probable labels, each a key. */
function Alternatives({ app, card }: { app: App; card: Card }): JSX.Element {
  return (
    <div class="cleaner-alternatives">
      {probable(card).map(([label, probability], number) => (
        <button {...OURS} type="button" key={label} class="cleaner-alternative" onClick={() => giveLabel(app, label)}>
          <kbd>{number + 1}</kbd>
          <span>{label}</span>
          <span>{percent(probability)}</span>
          <span class="cleaner-bar" style={{ width: `${100 * (probability ?? 0)}%` }} />
        </button>
      ))}
    </div>
  );
}

/** Images to compare with: those that the model finds easiest, and those that are nearest to this one. */
function Compared({ images }: { images: readonly ComparedImage[] }): JSX.Element {
  return (
    <>
      {[...new Set(images.map(({ title }) => title))].map((title) => (
        <section key={title} class="cleaner-typical">
          <h3>{title}</h3>
          {images
            .filter((image) => image.title === title)
            .map(({ url, path, caption }) => (
              <figure key={path} title={path}>
                <img src={url} alt={path} />
                {caption && <figcaption>{caption}</figcaption>}
              </figure>
            ))}
        </section>
      ))}
    </>
  );
}
