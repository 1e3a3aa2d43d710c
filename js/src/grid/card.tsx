// One image: the picture, its decision on it, and a line below.

import { Component, type JSX } from "preact";
import {
  described,
  hasPredictions,
  isOfIssues,
  labelsOf,
  percent,
  predictionOf,
  reasonOf,
  said,
  scoreOf,
} from "../cards";
import { OURS } from "../dom";
import type { Card, Page } from "../protocol";
import { IssueCaption } from "./issue";

export interface CardProps {
  card: Card;
  url: string | undefined;
  page: Page;
  rankedBy: string;
  hasLabels: boolean;
  /** Lines of text below the picture. */
  lines: number;
  /** The label that the image can take from its group; empty for none. */
  otherLabel: string;
  column: number;
  isAt: boolean;
  isSelected: boolean;
  isPointed: boolean;
  isBusy: boolean;
  isUnconfirmed: boolean;
}

/** Drawn again only when something about it changed. */
export class CardView extends Component<CardProps> {
  override shouldComponentUpdate(next: CardProps): boolean {
    return (Object.keys(next) as (keyof CardProps)[]).some((name) => next[name] !== this.props[name]);
  }

  render(props: CardProps): JSX.Element {
    const { card, page, isAt, isSelected, isUnconfirmed } = props;
    const decision = said(card, card.given);
    return (
      <div
        {...OURS}
        role="gridcell"
        aria-colindex={props.column}
        aria-selected={isSelected}
        aria-busy={props.isBusy}
        aria-label={described(card, page, props.rankedBy)}
        class={`cleaner-card${isAt ? " cleaner-at" : ""}`}
        data-path={card.path}
        data-name={card.name}
        data-decision={card.action}
        data-unconfirmed={isUnconfirmed}
        tabIndex={isAt ? 0 : -1}
        title={tooltip(props)}
      >
        <div class="cleaner-picture">
          {props.url ? (
            <img src={props.url} alt="" draggable={false} />
          ) : (
            <p class="cleaner-broken">{card.error || "no image"}</p>
          )}
          {(isAt || isSelected || props.isPointed) && <SelectMark card={card} isSelected={isSelected} />}
          {card.others.length > 0 && <div class="cleaner-others">{opinions(card)}</div>}
          {isUnconfirmed && <div class="cleaner-badge">! not confirmed</div>}
          {decision && !isUnconfirmed && (
            <div class="cleaner-badge">
              <span class="cleaner-what">{decision}</span>
            </div>
          )}
          {(isAt || props.isPointed) && <Tools {...props} />}
        </div>
        {props.lines > 0 && (isOfIssues(page.list) ? <IssueCaption {...props} /> : <Caption {...props} />)}
      </div>
    );
  }
}

/** What is known of an image, and who decided about it. */
function tooltip({ card, page, rankedBy }: CardProps): string {
  const decided = said(card, card.given);
  const when = card.decided_at ? new Date(card.decided_at).toLocaleString() : "";
  const by = decided ? [decided, card.reviewer && `by ${card.reviewer}`, when].filter(Boolean).join(" ") : "";
  const says = predictionOf(card) && `predicted ${predictionOf(card)} ${percent(card.confidence)}`;
  const given = card.given ? card.given.join(", ") : card.label;
  const loss = page.list === "audit" || !card.loss ? "" : `${rankedBy} ${card.loss}`;
  const others = card.others.length > 0 ? `Disagrees: ${opinions(card)}` : "";
  const issue = [card.split ?? "", reasonOf(card), scoreOf(card)];
  return [card.path, card.size, given && `given ${given}`, ...issue, says, loss, by, others, card.note]
    .filter(Boolean)
    .join("\n");
}

function opinions(card: Card): string {
  return `≠ ${card.others.map((other) => `${other.reviewer || "somebody"}: ${said(other, card.given)}`).join(", ")}`;
}

function SelectMark({ card, isSelected }: { card: Card; isSelected: boolean }): JSX.Element {
  return (
    <button
      {...OURS}
      type="button"
      class="cleaner-select"
      data-tool="select"
      tabIndex={-1}
      aria-pressed={isSelected}
      aria-label={`Select ${card.name}`}
    >
      {isSelected ? "✓" : ""}
    </button>
  );
}

function Tools({ card, hasLabels, otherLabel, page }: CardProps): JSX.Element {
  const tools: [string, string, string][] = [["keep", "✓", "Keep"]];
  if (hasLabels && !card.given && card.predicted && card.predicted !== card.label) {
    tools.push(["predicted", `⇒ ${card.predicted}`, `Relabel to ${card.predicted}`]);
  }
  if (otherLabel) tools.push(["otherLabel", `⇒ ${otherLabel}`, `Relabel to ${otherLabel}`]);
  if (card.given && page.list !== "unreadable" && !isOfIssues(page.list))
    tools.push(["toggle", `± ${card.label}`, `Add or remove ${card.label}`]);
  if (hasLabels && page.list !== "unreadable") tools.push(["relabel", "…", "Other label of"]);
  tools.push(["delete", "✕", "Delete"], ["unsure", "?", "Unsure about"]);
  if (card.action) tools.push(["undo", "↶", "Take back the decision about"]);
  return (
    <div class="cleaner-tools">
      {tools.map(([tool, text, words]) => (
        <button
          {...OURS}
          type="button"
          key={tool}
          data-tool={tool}
          tabIndex={-1}
          aria-label={`${words} ${card.name}`}
          title={words}
        >
          {text}
        </button>
      ))}
    </div>
  );
}

/** The predicted label, and its probability; in a list of several classes also the given label. */
function Caption({ card, lines, page }: CardProps): JSX.Element {
  if (card.given) return <Labels card={card} page={page} />;
  const isMixed = page.list !== "class";
  return (
    <div class={`cleaner-caption${isMixed ? " cleaner-mixed" : ""}`} data-lines={lines}>
      {isMixed && <span class="cleaner-given">{card.label}</span>}
      {hasPredictions(page) && <span class="cleaner-predicted">{card.predicted || "–"}</span>}
      <span class="cleaner-share">{percent(card.confidence)}</span>
    </div>
  );
}

/** The labels of an image as the decision leaves them, first those that the list asks about. */
function Labels({ card, page }: { card: Card; page: Page }): JSX.Element {
  const [given, now] = [card.given ?? [], labelsOf(card)];
  const asked = page.list === "audit" ? (card.asked ?? []) : page.list === "unreadable" ? [] : [card.label];
  const all = [...new Set([...asked, ...given, ...now])];
  return (
    <div class="cleaner-caption cleaner-labels">
      {all.map((label) => {
        const [was, is] = [given.includes(label), now.includes(label)];
        const state = is ? (was ? "has" : "added") : was ? "removed" : "lacks";
        const text = { has: label, added: `+ ${label}`, removed: `− ${label}`, lacks: `no ${label}` }[state];
        return (
          <span key={label} class={`cleaner-chip${asked.includes(label) ? " cleaner-open" : ""}`} data-state={state}>
            {text}
          </span>
        );
      })}
      {predictionOf(card) && (
        <span class="cleaner-share">
          ⇒ {predictionOf(card)} {percent(card.confidence)}
        </span>
      )}
    </div>
  );
}
