// What stands above the images: which list is open, which of its images are shown, and how far the review is.

import { Component, createRef, type JSX } from "preact";
import type { App } from "../app";
import { ABSENT, hasPredictions, isOfIssues, WORDS } from "../cards";
import { isNarrow, isOwnPage, OURS, saveSize } from "../dom";
import { SIZES } from "../layout";
import { filter } from "../moving";
import type { Kind, Page, Row } from "../protocol";
import type { State } from "../state";

export function Header({ app, state, page }: { app: App; state: State; page: Page }): JSX.Element {
  const row = state.rows.find((each) => each.label === page.label);
  const Title = isOwnPage() ? "h1" : "h2";
  const filters = setFilters(state, page);
  return (
    <div class={`cleaner-header${state.hasFilters ? " cleaner-with-filters" : ""}`}>
      <button
        {...OURS}
        type="button"
        class="cleaner-menu"
        aria-label="Lists"
        aria-expanded={isNarrow(app) ? state.hasDrawer : !state.isFolded}
        onClick={() => app.set(isNarrow(app) ? { hasDrawer: !state.hasDrawer } : { isFolded: !state.isFolded })}
      >
        ☰
      </button>
      <Title class="cleaner-title" title={row?.name}>
        {row?.name ?? page.label}
      </Title>
      <span class="cleaner-meta" title={meta(page, row)}>
        {meta(page, row)}
      </span>
      <button
        {...OURS}
        type="button"
        class={`cleaner-filter-button${filters > 0 ? " cleaner-set" : ""}`}
        aria-expanded={state.hasFilters}
        onClick={() => app.set({ hasFilters: !state.hasFilters })}
      >
        {filters > 0 ? `Filter · ${filters}` : "Filter"}
      </button>
      <Filters app={app} state={state} page={page} />
      <span class="cleaner-counts" title={[counts(state), timeLeft(state)].filter(Boolean).join("\n")}>
        {counts(state)}
      </span>
      <SizeSlider app={app} state={state} />
      <Reviewer app={app} state={state} />
      <button
        {...OURS}
        type="button"
        class="cleaner-help-button"
        aria-label="Keys"
        onClick={() => app.set({ hasHelp: true })}
      >
        ?
      </button>
    </div>
  );
}

function number(count: number): string {
  return count.toLocaleString("en");
}

/** How many images the list has, of how many. */
function meta(page: Page, row: Row | undefined): string {
  const kept = row?.kept ?? page.shown;
  let of =
    row?.scored && row.scored > kept
      ? `${number(kept)} worst of ${number(row.scored)}`
      : `${number(kept)} image${kept === 1 ? "" : "s"}`;
  if (isOfIssues(page.list) && page.splits.length > 1) of += " of all splits";
  const shown = page.shown === kept ? of : `${number(page.shown)} shown · ${of}`;
  return row?.otherwise ? `${shown} · ${number(row.otherwise)} predicted otherwise` : shown;
}

/** How many images are decided, and how many of these were changed. */
function counts(state: State): string {
  const { status } = state;
  if (!status) return "";
  const { decided, kept, changed } = status.counts;
  const parts = [`${number(decided)} of ${number(kept)} here`];
  if (decided > 0) parts.push(`${Math.round((100 * changed) / decided)} % changed`);
  return parts.join(" · ");
}

function timeLeft({ status }: State): string | undefined {
  if (!status || status.seconds === null) return undefined;
  const { decided, kept, scan_decided: scanDecided, scan_kept: scanKept } = status.counts;
  const [here, all] = [kept - decided, scanKept - scanDecided].map((left) => duration(left * (status.seconds ?? 0)));
  return `${status.seconds.toFixed(1)} s each; left: ${here} here, ${all} in all`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function canFilterGuesses(state: State, page: Page): boolean {
  return state.task !== "other" && hasPredictions(page);
}

/** How many of the filters, and of the order, are not as usual. */
function setFilters(state: State, page: Page): number {
  const isSet = [
    page.show !== "all",
    canFilterGuesses(state, page) && page.predicted !== "",
    page.list !== "audit" && orderOf(page) !== "loss",
    page.text !== "",
  ];
  return isSet.filter(Boolean).length;
}

/** The order of the open list: issues have no confidence to order by. */
function orderOf({ list, order }: Page): string {
  return isOfIssues(list) && order === "confidence" ? "loss" : order;
}

function Filters({ app, state, page }: { app: App; state: State; page: Page }): JSX.Element {
  const hasLabels = state.task !== "other";
  const nameOf = (label: string) => (label === ABSENT ? `no ${page.label}` : label);
  const labels = new Set([...page.predictions, ...(page.predicted ? [page.predicted] : [])]);
  const actions = Object.entries(WORDS).filter(([action]) => hasLabels || action !== "relabel");
  const shows = [["all", "All"], ["undecided", "Undecided"], ["decided", "Reviewed"], ...actions];
  const orders = [
    ["loss", "Worst first"],
    ...(hasLabels && !isOfIssues(page.list) ? [["confidence", "Least confident"]] : []),
    ["name", "By name"],
  ];
  const predictions = [["", "Predicted: any"], ...[...labels].map((label) => [label, `Predicted: ${nameOf(label)}`])];
  return (
    <span class="cleaner-filters">
      <Choice name="Show" options={shows} value={page.show} take={(show) => filter(app, { show })} />
      {canFilterGuesses(state, page) && (
        <Choice
          name="Predicted"
          options={predictions}
          value={page.predicted}
          take={(predicted) => filter(app, { predicted })}
        />
      )}
      {page.list !== "audit" && (
        <Choice name="Order" options={orders} value={orderOf(page)} take={(order) => filter(app, { order })} />
      )}
      <TextField
        name="Part of the path"
        value={page.text}
        placeholder="path"
        isAsked={isAsked(app, "filter")}
        take={(text) => filter(app, { text })}
      />
    </span>
  );
}

interface ChoiceProps {
  name: string;
  options: string[][];
  value: string;
  take(value: string): void;
}

function Choice({ name, options, value, take }: ChoiceProps): JSX.Element {
  const isSet = value !== options[0]?.[0];
  return (
    <select
      {...OURS}
      class={isSet ? "cleaner-set" : ""}
      aria-label={name}
      value={value}
      onChange={(event) => take(event.currentTarget.value)}
    >
      {options.map(([option, text]) => (
        <option key={option} value={option}>
          {text}
        </option>
      ))}
    </select>
  );
}

interface TextFieldProps {
  name: string;
  value: string;
  placeholder: string;
  /** Whether the kernel has not answered yet what it makes of the text. */
  isAsked: boolean;
  take(value: string): void;
}

/** A text that is taken on Enter or when the field is left; what is being typed stays, what was refused does not. */
class TextField extends Component<TextFieldProps> {
  private readonly input = createRef<HTMLInputElement>();

  override componentDidUpdate(): void {
    const input = this.input.current;
    if (input && document.activeElement !== input && !this.props.isAsked) input.value = this.props.value;
  }

  render({ name, value, placeholder, take }: TextFieldProps): JSX.Element {
    return (
      <form class="cleaner-form" action="/search" onSubmit={(event) => event.preventDefault()}>
        <input
          {...OURS}
          ref={this.input}
          type="text"
          class={value ? "cleaner-set" : ""}
          aria-label={name}
          autocomplete="off"
          maxLength={4096}
          placeholder={placeholder}
          // An uncontrolled field: another answer of the kernel must not undo what is being typed.
          key={value}
          defaultValue={value}
          onChange={(event) => event.currentTarget.value !== value && take(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.isComposing) return;
            // JupyterLab takes Enter for itself, and the field would never change.
            event.stopPropagation();
            event.preventDefault();
            event.currentTarget.blur();
          }}
        />
      </form>
    );
  }
}

function isAsked(app: App, kind: Kind): boolean {
  return app.channel.waiting().some((asked) => asked.kind === kind);
}

function SizeSlider({ app, state }: { app: App; state: State }): JSX.Element {
  return (
    <input
      {...OURS}
      type="range"
      class="cleaner-size"
      aria-label="Size of the pictures"
      title="Size of the pictures"
      min={SIZES.least}
      max={SIZES.most}
      step={SIZES.step}
      value={state.size}
      onInput={(event) => {
        const size = Number(event.currentTarget.value);
        saveSize(size);
        app.set({ size });
      }}
      // By mouse the keys go back to the images; by keys the slider is moved on.
      onPointerDown={() => addEventListener("pointerup", () => app.focus(), { once: true })}
    />
  );
}

function Reviewer({ app, state }: { app: App; state: State }): JSX.Element {
  return (
    <span class="cleaner-reviewer" title="Who decides, for the manifest">
      <TextField
        name="Reviewer"
        value={state.status?.reviewer ?? ""}
        placeholder="reviewer"
        isAsked={isAsked(app, "reviewer")}
        take={(name) => app.channel.ask("reviewer", { name })}
      />
    </span>
  );
}
