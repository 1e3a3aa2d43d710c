// The lists: all classes, each class with its progress, and what is no class. Searchable, and virtual where they are many.

import { Component, createRef, type JSX } from "preact";
import { openList } from "../actions";
import type { App } from "../app";
import { OURS } from "../dom";
import { found } from "../labels";
import type { Row } from "../protocol";
import type { State } from "../state";

const SEARCH_FROM = 30;
const VIRTUAL_FROM = 300;
const ROW_HEIGHT = 40;
const BEYOND = 10; // rows drawn above and below what is seen

export function Sidebar({ app, state }: { app: App; state: State }): JSX.Element {
  const splits = state.page?.splits ?? [];
  const isFigures = state.tab === "figures";
  return (
    <nav
      {...OURS}
      class={`cleaner-sidebar${state.hasDrawer ? " cleaner-drawer" : ""}${state.isFolded ? " cleaner-folded" : ""}`}
      aria-label="Lists of images"
    >
      {splits.length > 1 && (
        <label class="cleaner-split">
          Split
          <select {...OURS} value={state.page?.split} onChange={(event) => openSplit(app, event.currentTarget)}>
            {splits.map((split) => (
              <option key={split} value={split}>
                {split}
              </option>
            ))}
          </select>
        </label>
      )}
      {state.rows.length >= SEARCH_FROM && (
        <form action="/search" onSubmit={(event) => event.preventDefault()}>
          <input
            {...OURS}
            type="search"
            class="cleaner-search"
            placeholder="find a class"
            aria-label="Find a class"
            autocomplete="off"
            value={state.search}
            onInput={(event) => app.set({ search: event.currentTarget.value })}
            onKeyDown={(event) => onSearchKey(app, event)}
          />
        </form>
      )}
      <Rows app={app} state={state} />
      <button
        {...OURS}
        type="button"
        class="cleaner-tab"
        aria-pressed={isFigures}
        onClick={() => showFigures(app, !isFigures)}
      >
        Overview
      </button>
    </nav>
  );
}

function openSplit(app: App, select: HTMLSelectElement): void {
  openList(app, { label: app.state.page?.label ?? "", split: select.value });
}

function showFigures(app: App, isShown: boolean): void {
  app.set({ tab: isShown ? "figures" : "images", figures: null, hasDrawer: false });
  if (isShown) app.channel.ask("figures", {});
  else app.focus();
}

function shownRows(state: State): Row[] {
  const rows = state.rows.filter((row) => row.kept > 0 || row.scored !== null || row.label === state.page?.label);
  return found(rows, (row) => row.name, state.search);
}

function onSearchKey(app: App, event: KeyboardEvent): void {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  event.stopPropagation();
  const first = shownRows(app.state)[0];
  if (!first) return;
  app.set({ search: "" });
  openList(app, { label: first.label });
}

class Rows extends Component<{ app: App; state: State }, { from: number; height: number }> {
  override state = { from: 0, height: 900 };
  private readonly box = createRef<HTMLDivElement>();
  private shown = "";

  override componentDidMount(): void {
    this.follow();
  }

  override componentDidUpdate(): void {
    this.follow();
  }

  /** Scroll to the open list when it changes. */
  private follow(): void {
    const { state } = this.props;
    const open = state.page?.label ?? "";
    if (open === this.shown || !this.box.current || state.rows.length === 0) return;
    this.shown = open;
    const at = shownRows(state).findIndex((row) => row.label === open);
    if (state.rows.length < VIRTUAL_FROM) {
      this.box.current.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
      return;
    }
    const [top, seen] = [at * ROW_HEIGHT, this.box.current.scrollTop];
    const height = this.box.current.clientHeight;
    if (top < seen || top + ROW_HEIGHT > seen + height) this.box.current.scrollTop = top - height / 2;
  }

  private readonly onScroll = (): void => {
    const box = this.box.current;
    if (box) this.setState({ from: Math.floor(box.scrollTop / ROW_HEIGHT), height: box.clientHeight });
  };

  render({ app, state }: { app: App; state: State }): JSX.Element {
    const rows = shownRows(state);
    const isVirtual = rows.length >= VIRTUAL_FROM;
    const from = isVirtual ? Math.max(0, this.state.from - BEYOND) : 0;
    const to = isVirtual ? this.state.from + Math.ceil(this.state.height / ROW_HEIGHT) + BEYOND : rows.length;
    return (
      <div
        class={`cleaner-rows${isVirtual ? " cleaner-virtual" : ""}`}
        ref={this.box}
        onScroll={isVirtual ? this.onScroll : undefined}
        onKeyDown={onRowKey}
      >
        {isVirtual && <div style={{ height: `${from * ROW_HEIGHT}px` }} />}
        {rows.slice(from, to).map((row) => (
          <RowView key={row.label} app={app} row={row} isOpen={row.label === state.page?.label} />
        ))}
        {isVirtual && <div style={{ height: `${Math.max(0, rows.length - to) * ROW_HEIGHT}px` }} />}
        {rows.length === 0 && <p class="cleaner-faint">no such class</p>}
      </div>
    );
  }
}

/** The arrow keys go from row to row. */
function onRowKey(event: KeyboardEvent): void {
  const row = (event.target as HTMLElement).closest("button");
  const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[event.key];
  if (!(next instanceof HTMLButtonElement)) return;
  event.preventDefault();
  event.stopPropagation();
  next.focus();
}

interface RowProps {
  app: App;
  row: Row;
  isOpen: boolean;
}

class RowView extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return next.row !== this.props.row || next.isOpen !== this.props.isOpen;
  }

  render({ app, row, isOpen }: RowProps): JSX.Element {
    const share = row.scored && row.otherwise !== null ? `${Math.round((100 * row.otherwise) / row.scored)} %` : "";
    const done = row.kept > 0 ? row.decided / row.kept : 0;
    return (
      <button
        {...OURS}
        type="button"
        class="cleaner-list"
        data-label={row.label}
        aria-current={isOpen}
        title={rowTitle(row)}
        tabIndex={isOpen ? 0 : -1}
        onClick={() => openList(app, { label: row.label })}
      >
        <span class="cleaner-list-name">{row.name}</span>
        <span class="cleaner-faint">{share || row.kept.toLocaleString("en")}</span>
        <span class="cleaner-progress" aria-hidden="true">
          <span style={{ width: `${100 * done}%` }} />
        </span>
      </button>
    );
  }
}

function rowTitle(row: Row): string {
  const lines = [row.name, `${row.decided} of ${row.kept} decided`];
  if (row.scored !== null) lines.push(`${row.scored.toLocaleString("en")} scored`);
  if (row.otherwise !== null) lines.push(`${row.otherwise.toLocaleString("en")} predicted otherwise`);
  if (row.mean !== null) lines.push(`mean ${row.mean.toFixed(3)}`);
  return lines.join("\n");
}
