// The rows of the sidebar: all classes, each class with its progress, and what is no class. Searchable, and virtual where
// they are many.

import { Component, createRef, type JSX } from "preact";
import type { App } from "../app";
import { OURS } from "../dom";
import { found } from "../labels";
import { openList } from "../moving";
import type { Row } from "../protocol";
import type { State } from "../state";

const SEARCH_FROM = 30;
const VIRTUAL_FROM = 300;
const ROW_HEIGHT = 40;
const HEADING_HEIGHT = 20;
const LOWEST = 420; // of the app; the style sheet says the same
const BEYOND = 10; // rows drawn above and below what is seen

function shownRows(state: State): Row[] {
  const rows = state.rows.filter((row) => row.kept > 0 || row.scored !== null || row.label === state.page?.label);
  return found(rows, (row) => row.name, state.search);
}

interface RowsProps {
  app: App;
  state: State;
}

export class Rows extends Component<RowsProps, { from: number }> {
  override state = { from: 0 };
  private readonly box = createRef<HTMLDivElement>();
  private readonly field = createRef<HTMLInputElement>();
  private followed = "";

  override componentDidMount(): void {
    this.follow();
  }

  override componentDidUpdate(before: RowsProps): void {
    if (before.state.search !== this.props.state.search) this.toTop();
    this.follow();
  }

  /** Scroll to the open list when it changes. */
  private follow(): void {
    const { state } = this.props;
    const [open, box] = [state.page?.label ?? "", this.box.current];
    if (open === this.followed || !box || state.rows.length === 0) return;
    this.followed = open;
    const rows = shownRows(state);
    const at = rows.findIndex((row) => row.label === open);
    if (at < 0) return;
    if (rows.length < VIRTUAL_FROM) {
      box.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
      return;
    }
    const above = headingsOf(rows, state.search).filter((heading) => heading.at <= at);
    const top = at * ROW_HEIGHT + above.length * HEADING_HEIGHT;
    const height = box.clientHeight;
    if (top < box.scrollTop || top + ROW_HEIGHT > box.scrollTop + height) box.scrollTop = top - height / 2;
  }

  private toTop(then?: () => void): void {
    if (this.box.current) this.box.current.scrollTop = 0;
    this.setState({ from: 0 }, then);
  }

  private readonly onScroll = (): void => {
    const from = Math.floor((this.box.current?.scrollTop ?? 0) / ROW_HEIGHT);
    if (from !== this.state.from) this.setState({ from });
  };

  /** Enter opens the first list that is found; the arrow goes to it. */
  private readonly onSearchKey = (event: KeyboardEvent): void => {
    if (!["Enter", "ArrowDown"].includes(event.key) || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    const { app } = this.props;
    const first = shownRows(app.state)[0];
    if (!first) return;
    if (event.key === "ArrowDown") return this.toTop(() => this.box.current?.querySelector("button")?.focus());
    app.set({ search: "" });
    openList(app, { label: first.label });
  };

  /** The arrow keys go from row to row, and from the first one back to the search. */
  private readonly onRowKey = (event: KeyboardEvent): void => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...(this.box.current?.querySelectorAll("button") ?? [])];
    const at = buttons.findIndex((button) => button.contains(event.target as Node));
    if (!by || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = buttons[at + by] ?? (by < 0 ? this.field.current : null);
    next?.focus();
  };

  private search({ app, state }: RowsProps): JSX.Element | null {
    if (state.rows.length < SEARCH_FROM) return null;
    return (
      <form action="/search" onSubmit={(event) => event.preventDefault()}>
        <input
          {...OURS}
          ref={this.field}
          type="search"
          class="cleaner-search"
          placeholder="find a class"
          aria-label="Find a class"
          autocomplete="off"
          value={state.search}
          onInput={(event) => app.set({ search: event.currentTarget.value })}
          onKeyDown={this.onSearchKey}
        />
      </form>
    );
  }

  render(props: RowsProps): JSX.Element {
    const { app, state } = props;
    const rows = shownRows(state);
    const isVirtual = rows.length >= VIRTUAL_FROM;
    const first = isVirtual ? Math.min(this.state.from, rows.length - 1) : 0;
    const from = Math.max(0, first - BEYOND);
    const seen = Math.ceil(Math.max(innerHeight, LOWEST) / ROW_HEIGHT);
    const to = isVirtual ? first + seen + BEYOND : rows.length;
    const drawn = rows.slice(from, to);
    const open = drawn.find((row) => row.label === state.page?.label);
    // One row can be reached by Tab; were there none, the box that scrolls would take the focus.
    const stop = open ?? rows[first];
    const parts = drawn.map((row) => (
      <RowView key={row.label} app={app} row={row} isOpen={row === open} isStop={row === stop} />
    ));
    const headings = headingsOf(rows, state.search);
    const isDrawn = ({ at }: Heading) => at >= from && at < to;
    for (const { at, node } of headings.filter(isDrawn).reverse()) parts.splice(at - from, 0, node);
    const heightOf = (parts: Heading[]) => parts.length * HEADING_HEIGHT;
    const above = from * ROW_HEIGHT + heightOf(headings.filter(({ at }) => at < from));
    const below = Math.max(0, rows.length - to) * ROW_HEIGHT + heightOf(headings.filter(({ at }) => at >= to));
    return (
      <>
        {this.search(props)}
        <div
          {...OURS}
          class={`cleaner-rows${isVirtual ? " cleaner-virtual" : ""}`}
          ref={this.box}
          onScroll={this.onScroll}
          onKeyDown={this.onRowKey}
        >
          {isVirtual && <div style={{ height: `${above}px` }} />}
          {parts}
          {isVirtual && <div style={{ height: `${below}px` }} />}
          {rows.length === 0 && <p class="cleaner-faint">no such class</p>}
        </div>
      </>
    );
  }
}

interface Heading {
  /** The row that it stands above. */
  at: number;
  node: JSX.Element;
}

const SHARES = (
  <p key="\u0000shares" class="cleaner-shares" aria-hidden="true">
    predicted otherwise
  </p>
);
const IMAGES = (
  <p key="\u0000images" class="cleaner-shares cleaner-part" aria-hidden="true">
    Images
  </p>
);

/** The headings among the rows: above the shares, and above what is wrong with images whatever their label. */
function headingsOf(rows: readonly Row[], search: string): Heading[] {
  const headings = [{ at: firstShare(rows), node: SHARES }];
  // What is found stands in another order.
  if (search === "") headings.push({ at: rows.findIndex(({ label }) => OF_IMAGES.test(label)), node: IMAGES });
  return headings.filter(({ at }) => at >= 0);
}

/** The labels of the lists that are about images: `View.label` in cleaner/review/view.py. */
const OF_IMAGES = /^\0(unreadable$|issue:)/;

/** The share of a class that is predicted otherwise; empty where it is not known. */
function shareOf(row: Row): string {
  return row.scored && row.otherwise !== null ? `${Math.round((100 * row.otherwise) / row.scored)} %` : "";
}

function firstShare(rows: readonly Row[]): number {
  return rows.findIndex((row) => shareOf(row) !== "");
}

interface RowProps {
  app: App;
  row: Row;
  isOpen: boolean;
  isStop: boolean;
}

class RowView extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const { row, isOpen, isStop } = this.props;
    return next.row !== row || next.isOpen !== isOpen || next.isStop !== isStop;
  }

  render({ app, row, isOpen, isStop }: RowProps): JSX.Element {
    const share = shareOf(row);
    const done = row.kept > 0 ? row.decided / row.kept : 0;
    const count = row.kept.toLocaleString("en");
    const words = share ? `${share} predicted otherwise` : `${count} image${row.kept === 1 ? "" : "s"}`;
    return (
      <button
        {...OURS}
        type="button"
        class="cleaner-list"
        data-label={row.label}
        aria-current={isOpen}
        aria-label={`${row.name}, ${words}`}
        title={rowTitle(row)}
        tabIndex={isStop ? 0 : -1}
        onClick={() => openList(app, { label: row.label })}
      >
        <span class="cleaner-list-name">{row.name}</span>
        <span class="cleaner-faint" title={words}>
          {share || count}
        </span>
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
