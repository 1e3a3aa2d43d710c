// The messages between the page and the kernel. cleaner/review/protocol.py has the same table and explains it; a test
// compares the two.

export const MESSAGES = {
  ready: { page_size: "number", columns: "number", rows: "number", pixels: "number" },
  fit: { page_size: "number", columns: "number", rows: "number", pixels: "number", at: "text" },
  open: { label: "text", split: "text?", predicted: "text?" },
  turn: { page: "number" },
  filter: { show: "text?", predicted: "text?", text: "text?", order: "text?" },
  decide: { version: "number", until: "number", paths: "texts", action: "text", new_label: "text?" },
  resolve: { version: "number", until: "number", paths: "texts", kept: "texts" },
  undo: { until: "number" },
  redo: { until: "number" },
  news: {},
  place: { at: "text" },
  large: { path: "text" },
  typical: { path: "text" },
  figures: {},
  summary: {},
  reviewer: { name: "text" },
  restore: {},
  accept: {},
} as const;

export type Kind = keyof typeof MESSAGES;

type Value<T> = T extends "number" ? number : T extends "texts" ? readonly string[] : string;
type Given<M> = { [F in keyof M as M[F] extends `${string}?` ? never : F]: Value<M[F]> };
type Optional<M> = { [F in keyof M as M[F] extends `${string}?` ? F : never]?: string };

/** The fields of a message, without `kind`, `id` and `until`, which the channel adds. */
export type Fields<K extends Kind> = Omit<Given<(typeof MESSAGES)[K]>, "until"> & Optional<(typeof MESSAGES)[K]>;

export const DECIDING: ReadonlySet<Kind> = new Set<Kind>(["decide", "resolve", "undo", "redo"]);

/** Messages about images of the page, which show the decision before it is saved. */
export const SHOWN_AT_ONCE: ReadonlySet<Kind> = new Set<Kind>(["decide", "resolve"]);

/** Messages after which another page may come. */
export const TURNING: ReadonlySet<Kind> = new Set<Kind>(["ready", "fit", "open", "turn", "filter", "undo", "redo"]);

export interface Opinion {
  reviewer: string;
  action: string;
  new_label: string;
  labels?: string[] | null;
}

export interface Card extends Opinion {
  path: string;
  name: string;
  label: string;
  predicted: string;
  confidence: number | null;
  alternatives: [label: string, probability: number][];
  loss: string;
  decided_at: string;
  others: Opinion[];
  note: string;
  given?: string[];
  asked?: string[];
  /** In lists of issues. */
  split?: string;
  score?: number;
  reason?: string;
  group?: number;
  members?: number;
  is_first?: boolean;
  error?: string;
  size?: string;
  buffer?: number;
}

export interface Counts {
  decided: number;
  changed: number;
  kept: number;
  scan_decided: number;
  scan_kept: number;
}

/** What every reply but `lists` and `figures` carries. */
export interface Status {
  clock: number;
  version: number;
  since: number;
  can_undo: boolean;
  can_redo: boolean;
  reviewer: string;
  counts: Counts;
  seconds: number | null;
  changed: Card[];
  decided: Record<string, [decided: number, kept: number]>;
  note: string;
  warnings: string[];
  edited: string;
  history: string;
}

export interface Page {
  split: string;
  splits: string[];
  label: string;
  list: "class" | "all" | "unsure" | "disagreements" | "audit" | "unreadable" | "issue" | "groups";
  page: number;
  pages: number;
  page_size: number;
  show: string;
  predicted: string;
  text: string;
  order: string;
  predictions: string[];
  shown: number;
  first: number;
  at: string;
  cards: Card[];
}

export interface Row {
  label: string;
  name: string;
  scored: number | null;
  otherwise: number | null;
  mean: number | null;
  kept: number;
  decided: number;
}

export interface Figures {
  split: string;
  label: string;
  matrix: { labels: string[]; cells: [number, number, number, number][]; left_out: number } | null;
  edges: number[];
  histogram: number[];
  not_finite: number;
}

interface Reply<K extends string> {
  kind: K;
  id: number | null;
}

export type PageReply = Reply<"page"> & Status & Page;
export type DoneReply = Reply<"done"> & Status & { at: string };
export type ErrorReply = Reply<"error"> & Status & { message: string };
export type LargeReply = Reply<"large"> & Status & { path: string; error: string };
export type TypicalReply = Reply<"typical"> &
  Status & { path: string; images: { path: string; title: string; caption: string; buffer: number }[] };
export type SummaryReply = Reply<"summary"> & Status & { lines: string[] };
export type FiguresReply = Reply<"figures"> & Figures;
export type ListsReply = Reply<"lists"> & { split: string; rows: Row[] };

export type Answer =
  | PageReply
  | DoneReply
  | ErrorReply
  | LargeReply
  | TypicalReply
  | SummaryReply
  | FiguresReply
  | ListsReply;
