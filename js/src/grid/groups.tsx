// Groups of copies, side by side: a frame around each, with its name above its cards.

import type { JSX } from "preact";
import { groupName } from "../groups";
import { groupsOf } from "../places";
import type { Page } from "../protocol";
import type { State } from "../state";
import { cardOf } from "./grid";

interface GroupsProps {
  state: State;
  page: Page;
  columns: number;
}

export function Groups({ state, page, columns }: GroupsProps): JSX.Element {
  const groups = groupsOf(state.cards.values());
  const positions = new Map([...state.cards.keys()].map((path, position) => [path, position]));
  return (
    <>
      {groups.map((group) => {
        const [first] = group;
        const name = first ? groupName(first) : "";
        return (
          <div
            role="rowgroup"
            class="cleaner-group"
            key={first?.group}
            aria-label={name}
            style={{ "--span": Math.min(group.length, columns) }}
          >
            <p class="cleaner-group-name" aria-hidden="true">
              {name}
            </p>
            {/* biome-ignore lint/a11y/useFocusableInteractive: the cells take the focus */}
            <div role="row" class="cleaner-row">
              {group.map(({ path }, column) => cardOf(state, page, path, column, positions.get(path) ?? 0))}
            </div>
          </div>
        );
      })}
    </>
  );
}
