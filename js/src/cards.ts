// What a card says, and what it will say once a decision about it is saved.

import type { Card, Opinion, Page } from "./protocol";

export const ABSENT = "\u0000absent"; // of what the model says: that the label is not there

export type Task = "single-label" | "multi-label" | "other";

export const SIGNS: Record<string, string> = { keep: "✓", delete: "✕", relabel: "⇒", unsure: "?" };
export const WORDS: Record<string, string> = { keep: "Keep", delete: "Delete", relabel: "Relabel", unsure: "Unsure" };

export function percent(probability: number | null): string {
  return probability === null ? "" : `${(100 * probability).toFixed(probability < 0.0995 ? 1 : 0)} %`;
}

/** What a decision takes from a label set and adds to it. */
function changes(given: readonly string[], labels: readonly string[]): string {
  const gone = given.filter((label) => !labels.includes(label)).map((label) => `− ${label}`);
  const come = labels.filter((label) => !given.includes(label)).map((label) => `+ ${label}`);
  return [...gone, ...come].join(", ");
}

/** A decision in words; empty for none. */
export function said(decision: Opinion, given: readonly string[] = []): string {
  if (decision.action === "") return "";
  if (decision.labels) return changes(given, decision.labels);
  return `${SIGNS[decision.action]} ${decision.action === "relabel" ? decision.new_label : WORDS[decision.action]}`;
}

/** What the model says of an image; where images carry several labels, of the one that the list is about. */
export function predictionOf(card: Card): string {
  if (card.predicted || card.confidence === null) return card.predicted;
  return card.given ? `no ${card.label}` : "";
}

/** The most probable labels of an image with their probabilities, at most five. */
export function probable(card: Card): [label: string, probability: number | null][] {
  if (card.alternatives.length > 0 || !card.predicted) return card.alternatives;
  return [[card.predicted, card.confidence]];
}

/** Whether the cards of a list say what the model predicts. */
export function hasPredictions({ list }: Page): boolean {
  return list !== "audit" && list !== "unreadable" && !isOfIssues(list);
}

/** Whether a list is about what is wrong with images whatever their label. */
export function isOfIssues(list: Page["list"]): boolean {
  return list === "issue" || list === "groups";
}

/** What is wrong with an image, in words; of a group, how it differs from the one to keep. */
export function reasonOf(card: Card): string {
  const isSaid = card.reason?.includes("suggested"); // `cleaner check` says of some which of them is
  return [card.is_first && !isSaid ? "suggested to keep" : "", card.reason].filter(Boolean).join(", ");
}

/** The score of an issue, in words; of a copy, how alike it is to the one to keep. */
export function scoreOf({ score, group, is_first: isFirst }: Card): string {
  if (score === undefined || isFirst) return "";
  return `${group ? "likeness" : "score"} ${score.toFixed(2)}`;
}

/** What is known of an image, in words, for those who do not see it. */
export function described(card: Card, page: Page, rankedBy: string): string {
  const labels = card.given?.join(", ") ?? card.label;
  const parts = [card.name];
  if (labels || card.given) parts.push(`given ${labels || "no label"}`);
  if (isOfIssues(page.list)) parts.push(...[card.split ?? "", reasonOf(card)].filter(Boolean));
  if (hasPredictions(page)) {
    const predicted = predictionOf(card);
    parts.push(
      predicted ? `predicted ${predicted} ${percent(card.confidence)}`.trim() : `${rankedBy} ${card.loss || "unknown"}`,
    );
  }
  return `${parts.join(", ")}; ${said(card, card.given) || "undecided"}`;
}

/** The label that `toggle` adds or removes; undefined where an image has one label. */
export function toggledLabel(card: Card, page: Page): string | undefined {
  if (!card.given) return undefined;
  if (isOfIssues(page.list)) return undefined; // the list asks about no label
  return page.list === "audit" ? card.asked?.[0] : card.label;
}

/** The labels of an image as the decision leaves them. */
export function labelsOf(card: Card): string[] {
  return card.labels ?? card.given ?? [];
}

/** A card as it will be once a decision is saved. */
export function decidedCard(card: Card, action: string, newLabel: string, reviewer: string): Card {
  const by = { ...card, reviewer, decided_at: "", note: "" };
  const open = { ...by, action: "", new_label: "", labels: null, reviewer: "" };
  if (action === "undo") return open;
  if (action === "predicted") {
    const isSame = card.predicted === card.label || card.predicted === "";
    return decidedCard(card, isSame ? "keep" : "relabel", isSame ? "" : card.predicted, reviewer);
  }
  if (action !== "toggle") {
    const keepsSet = action === "keep" && card.labels;
    return keepsSet ? by : { ...by, action, new_label: action === "relabel" ? newLabel : "", labels: null };
  }
  const [given, before] = [card.given ?? [], labelsOf(card)];
  const labels = before.includes(newLabel) ? before.filter((each) => each !== newLabel) : [...before, newLabel];
  const isAsBefore = labels.length === given.length && labels.every((label) => given.includes(label));
  return isAsBefore && card.labels ? open : { ...by, action: "relabel", new_label: labels.join(", "), labels };
}
