// Finding a label: by its words in any order, ignoring case, `_` and `-`; and in which order labels are offered.

import type { Card } from "./protocol";

function plain(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[\s_-]+/g, " ")
    .trim();
}

/** How well a label fits what was typed: 0 is best, null not at all. */
export function fitness(label: string, typed: string): number | null {
  const [text, wanted] = [plain(label), plain(typed)];
  if (text === wanted) return 0;
  if (text.startsWith(wanted)) return 1;
  if (text.includes(wanted)) return 2;
  return wanted.split(" ").every((word) => text.includes(word)) ? 3 : null;
}

/** The entries whose names fit what was typed, the best first; ties stay in their order. */
export function found<T>(entries: readonly T[], name: (entry: T) => string, typed: string): T[] {
  if (plain(typed) === "") return [...entries];
  const fits = entries.map((entry) => ({ entry, fit: fitness(name(entry), typed) }));
  return fits
    .filter((each): each is { entry: T; fit: number } => each.fit !== null)
    .sort((one, other) => one.fit - other.fit)
    .map((each) => each.entry);
}

const collator = new Intl.Collator(undefined, { numeric: true });
const sorted = new WeakMap<readonly string[], string[]>();

/** A vocabulary by name; sorted once. */
function byName(vocab: readonly string[]): string[] {
  const labels = sorted.get(vocab) ?? [...vocab].sort(collator.compare);
  sorted.set(vocab, labels);
  return labels;
}

/** The labels to choose from for a card: the probable ones, then those chosen lately, then the rest by name. */
export function offered(card: Card, vocab: readonly string[], recent: readonly string[]): string[] {
  const probable = [...(card.predicted ? [card.predicted] : []), ...card.alternatives.map(([label]) => label)];
  const known = new Set(vocab);
  const ordered = new Set([...probable, ...recent, ...byName(vocab)].filter((label) => known.has(label)));
  // The label it has is no choice, unless an image carries several: then any can be added or removed.
  if (!card.given) ordered.delete(card.label);
  return [...ordered];
}
