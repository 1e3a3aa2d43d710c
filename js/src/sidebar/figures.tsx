// The overview of a split: which labels are confused, and how the losses of the open list are spread.

import type { JSX } from "preact";
import type { App } from "../app";
import { OURS } from "../dom";
import { openList } from "../moving";
import type { Figures, Page } from "../protocol";
import type { State } from "../state";

export function FiguresView({ app, state }: { app: App; state: State }): JSX.Element {
  const { figures, page } = state;
  if (!figures || !page) return <section class="cleaner-figures" aria-busy="true" aria-label="Overview" />;
  return (
    <section {...OURS} class="cleaner-figures" aria-label={`Overview of ${figures.split}`}>
      <Matrix app={app} figures={figures} page={page} />
      <Losses state={state} figures={figures} />
    </section>
  );
}

function Matrix({ app, figures, page }: { app: App; figures: Figures; page: Page }): JSX.Element | null {
  if (!figures.matrix) return null;
  const { labels, cells, left_out: leftOut } = figures.matrix;
  const most = Math.max(1, ...cells.filter(([given, other]) => given !== other).map(([, , count]) => count));
  const at = new Map(cells.map((cell) => [`${cell[0]} ${cell[1]}`, cell]));
  return (
    <div>
      <h2>Given and predicted{leftOut > 0 ? `: the ${labels.length} most confused` : ""}</h2>
      <div {...OURS} class="cleaner-scroll">
        <table class="cleaner-matrix" onKeyDown={onMatrixKey}>
          <thead>
            <tr>
              <td class="cleaner-corner">given ↓ predicted →</td>
              {labels.map((label) => (
                <th key={label} scope="col" title={label}>
                  <span>{label}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {labels.map((label, given) => (
              <tr key={label}>
                <th scope="row" title={label}>
                  {label}
                </th>
                {labels.map((other, predicted) => (
                  <td key={other}>
                    <Cell app={app} page={page} labels={labels} cell={at.get(`${given} ${predicted}`)} most={most} />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {leftOut > 0 && <p class="cleaner-faint">{leftOut.toLocaleString("en")} wrong predictions are of other pairs.</p>}
    </div>
  );
}

interface CellProps {
  app: App;
  page: Page;
  labels: string[];
  cell: [number, number, number, number] | undefined;
  most: number;
}

function Cell({ app, page, labels, cell, most }: CellProps): JSX.Element | null {
  if (!cell) return null;
  const [given, other, count, kept] = cell;
  const [label, predicted] = [labels[given] ?? "", labels[other] ?? ""];
  const text = `given ${label}, predicted ${predicted}: ${count}; ${kept} of them are listed`;
  // Never so dark that the number on it could not be read.
  const heat = given === other ? 0 : Math.round(8 + 37 * Math.sqrt(count / most));
  return (
    <button
      {...OURS}
      type="button"
      title={text}
      aria-label={text}
      aria-current={page.label === label && page.predicted === predicted}
      data-given={label}
      data-predicted={predicted}
      style={{ "--heat": `${heat}%` }}
      onClick={() => openList(app, { label, predicted })}
    >
      {count}
    </button>
  );
}

/** The arrow keys go to the nearest cell with a count. */
function onMatrixKey(event: KeyboardEvent): void {
  const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  const cell = (event.target as HTMLElement).closest("td");
  const lines = [...(cell?.closest("tbody")?.rows ?? [])];
  if (!by || !cell) return;
  event.preventDefault();
  event.stopPropagation();
  const [down = 0, right = 0] = by;
  let [line, column] = [lines.indexOf(cell.parentNode as HTMLTableRowElement) + down, cell.cellIndex + right];
  for (; lines[line]?.cells[column]; line += down, column += right) {
    const button = lines[line]?.cells[column]?.querySelector("button");
    if (button) return button.focus();
  }
}

function Losses({ state, figures }: { state: State; figures: Figures }): JSX.Element {
  const { histogram, edges, not_finite: notFinite } = figures;
  const name = state.rows.find((row) => row.label === figures.label)?.name ?? figures.label;
  const most = Math.max(1, ...histogram);
  const texts = histogram.map((count, bin) => `${range(edges, bin)}: ${count}`);
  const words = texts.filter((_, bin) => histogram[bin]).join("; ") || "unknown";
  const title = `Distribution of the ${state.rankedBy}: ${name}`;
  return (
    <div class="cleaner-losses">
      <h2>{title}</h2>
      <div class="cleaner-bars" role="img" aria-label={`${title}: ${words}`}>
        {histogram.map((count, bin) => (
          <span key={edges[bin] ?? "last"} title={texts[bin]}>
            <span style={{ height: `${count > 0 ? Math.max(2, (100 * count) / most) : 0}%` }} />
          </span>
        ))}
      </div>
      <div class="cleaner-edges" aria-hidden="true">
        {histogram.length > 0 && edges.map((edge) => <span key={edge}>{String(edge).replace(/^0/, "")}</span>)}
      </div>
      {notFinite > 0 && <p class="cleaner-faint">{notFinite} are not finite.</p>}
      {histogram.length === 0 && (
        <p class="cleaner-faint">This scan has no losses of all images; a new one of the dataset has.</p>
      )}
    </div>
  );
}

function range(edges: readonly number[], bin: number): string {
  if (bin === 0) return `below ${edges[0]}`;
  return bin === edges.length ? `${edges[bin - 1]} and more` : `${edges[bin - 1]} to ${edges[bin]}`;
}
