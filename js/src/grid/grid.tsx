// The images of the page, in rows that fill the screen.

import type { JSX } from "preact";
import { choose, decide, giveLabel, openLarge } from "../actions";
import type { App } from "../app";
import { toggledLabel } from "../cards";
import { GAP, LINE } from "../layout";
import { point } from "../moving";
import type { Page } from "../protocol";
import { isUnderway, type State, shownCard } from "../state";
import { CardView } from "./card";

export function Grid({ app, state, page }: { app: App; state: State; page: Page }): JSX.Element {
  const { columns, width, height, text } = state.layout;
  const paths = [...state.cards.keys()];
  const rows = Array.from({ length: Math.ceil(paths.length / columns) }, (_, row) =>
    paths.slice(row * columns, (row + 1) * columns),
  );
  return (
    <div
      role="grid"
      class="cleaner-grid"
      aria-label={gridName(state, page)}
      aria-multiselectable="true"
      aria-rowcount={Math.ceil(page.shown / columns)}
      aria-colcount={columns}
      style={{
        "--columns": columns,
        "--width": `${width}px`,
        "--height": `${height}px`,
        "--text": `${text}px`,
        "--lines": Math.floor(text / LINE),
        "--gap": `${GAP}px`,
      }}
      onClick={(event) => onClick(app, event)}
      onDblClick={(event) => pictureAt(event) && openLarge(app)}
      onPointerOver={(event) => app.state.pointed !== pathAt(event) && app.set({ pointed: pathAt(event) })}
      onPointerLeave={() => app.set({ pointed: "" })}
    >
      {rows.map((row, number) => (
        // biome-ignore lint/a11y/useFocusableInteractive: the cells take the focus
        <div role="row" class="cleaner-row" key={row[0]} aria-rowindex={firstRow(page, columns) + number}>
          {row.map((path, column) => cardOf(state, page, path, column, number * columns + column))}
        </div>
      ))}
    </div>
  );
}

function cardOf(state: State, page: Page, path: string, column: number, position: number): JSX.Element | null {
  const card = shownCard(state, path);
  if (!card) return null;
  return (
    <CardView
      key={path}
      card={card}
      url={state.urls.get(path)}
      page={page}
      rankedBy={state.rankedBy}
      lines={Math.floor(state.layout.text / LINE)}
      column={column + 1}
      isAt={state.at === position}
      isSelected={state.selected.has(path)}
      isPointed={state.pointed === path}
      isBusy={isUnderway(state, path)}
      isUnconfirmed={state.unconfirmed.has(path)}
    />
  );
}

function firstRow(page: Page, columns: number): number {
  return Math.floor((page.page * page.page_size) / columns) + 1;
}

function gridName(state: State, page: Page): string {
  const name = state.rows.find((row) => row.label === page.label)?.name ?? page.label;
  return `Images of ${page.split} / ${name}, page ${page.page + 1} of ${page.pages}`;
}

function pathAt(event: Event): string {
  return (event.target as HTMLElement).closest<HTMLElement>(".cleaner-card")?.dataset.path ?? "";
}

function pictureAt(event: Event): boolean {
  const target = event.target as HTMLElement;
  return target.closest(".cleaner-picture") !== null && target.closest("button") === null;
}

function onClick(app: App, event: MouseEvent): void {
  const path = pathAt(event);
  if (!path) return;
  const tool = (event.target as HTMLElement).closest<HTMLElement>("[data-tool]")?.dataset.tool;
  const toggle = tool === "select" || event.ctrlKey || event.metaKey;
  if (!tool || toggle) return point(app, path, event.shiftKey && !toggle, toggle);
  point(app, path, false, false);
  const card = shownCard(app.state, path);
  const label = card && app.state.page ? toggledLabel(card, app.state.page) : undefined;
  if (tool === "relabel") choose(app, path);
  else if (tool === "toggle" && label) giveLabel(app, label, [path], false);
  else decide(app, tool, "", [path], false);
}
