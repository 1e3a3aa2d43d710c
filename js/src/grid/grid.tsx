// The images of the page, in rows that fill the screen.

import type { JSX } from "preact";
import { choose, decide, giveLabel, openLarge } from "../actions";
import type { App } from "../app";
import { toggledLabel } from "../cards";
import { otherLabel } from "../groups";
import { FRAME, GAP, LINE } from "../layout";
import { point } from "../moving";
import { pageLayout } from "../places";
import type { Page } from "../protocol";
import { isUnderway, type State, shownCard } from "../state";
import { CardView } from "./card";
import { Groups } from "./groups";

export function Grid({ app, state, page }: { app: App; state: State; page: Page }): JSX.Element {
  const { columns, width, height, text } = pageLayout(state);
  const hasGroups = page.list === "groups";
  const counts = { "aria-rowcount": Math.ceil(page.shown / columns), "aria-colcount": columns };
  return (
    <div
      role="grid"
      class={`cleaner-grid${hasGroups ? " cleaner-groups" : ""}`}
      aria-label={gridName(state, page)}
      aria-multiselectable="true"
      {...(!hasGroups && counts)}
      style={{
        "--columns": columns,
        "--width": `${width}px`,
        "--height": `${height}px`,
        "--text": `${text}px`,
        "--lines": Math.floor(text / LINE),
        "--gap": `${GAP}px`,
        "--frame": `${FRAME}px`,
        "--heading": `${LINE}px`,
      }}
      onClick={(event) => onClick(app, event)}
      onDblClick={(event) => pictureAt(event) && openLarge(app)}
      onPointerOver={(event) => app.state.pointed !== pathAt(event) && app.set({ pointed: pathAt(event) })}
      onPointerLeave={() => app.set({ pointed: "" })}
    >
      {hasGroups ? <Groups state={state} page={page} columns={columns} /> : rowsOf(state, page, columns)}
    </div>
  );
}

function rowsOf(state: State, page: Page, columns: number): JSX.Element[] {
  const paths = [...state.cards.keys()];
  const rows = Array.from({ length: Math.ceil(paths.length / columns) }, (_, row) =>
    paths.slice(row * columns, (row + 1) * columns),
  );
  return rows.map((row, number) => (
    // biome-ignore lint/a11y/useFocusableInteractive: the cells take the focus
    <div role="row" class="cleaner-row" key={row[0]} aria-rowindex={firstRow(page, columns) + number}>
      {row.map((path, column) => cardOf(state, page, path, column, number * columns + column))}
    </div>
  ));
}

/** One card; `column` and `position` count from 0. */
export function cardOf(state: State, page: Page, path: string, column: number, position: number): JSX.Element | null {
  const card = shownCard(state, path);
  if (!card) return null;
  return (
    <CardView
      key={path}
      card={card}
      url={state.urls.get(path)}
      page={page}
      rankedBy={state.rankedBy}
      hasLabels={state.task !== "other"}
      lines={Math.floor(pageLayout(state).text / LINE)}
      otherLabel={otherLabel(state, path) ?? ""}
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
  return Math.floor(page.first / columns) + 1;
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
  else if (tool === "otherLabel") giveLabel(app, otherLabel(app.state, path) ?? "", [path], false);
  else if (tool === "toggle" && label) giveLabel(app, label, [path], false);
  else decide(app, tool, "", [path], false);
}
