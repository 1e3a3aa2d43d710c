// Groups of copies: which images belong together, and what can be taken from the others.

import type { Card } from "./protocol";
import type { State } from "./state";

/** The paths of an image's group on the page, in their order; empty where images are in no groups. */
export function membersOf(state: State, path: string): string[] {
  const group = state.page?.list === "groups" ? state.cards.get(path)?.group : undefined;
  if (group === undefined) return [];
  return [...state.cards.values()].filter((card) => card.group === group).map((card) => card.path);
}

/** The label that an image takes from its group: the first that differs from its own; undefined for none. */
export function otherLabel(state: State, path: string): string | undefined {
  const own = state.cards.get(path)?.label;
  if (state.task !== "single-label" || own === undefined) return undefined;
  const labels = membersOf(state, path).map((member) => state.cards.get(member)?.label ?? "");
  return labels.find((label) => label !== own && state.vocab.includes(label));
}

/** What a group is called on the page. */
export function groupName({ group, members }: Card): string {
  return `Group ${group} · ${members === 1 ? "1 image" : `${members?.toLocaleString("en")} images`}`;
}
