// What stands below a picture in lists of issues: its label and a number, and below them its split and what is wrong.

import type { JSX } from "preact";
import { labelsOf } from "../cards";
import type { CardProps } from "./card";

export function IssueCaption({ card, page, hasLabels }: CardProps): JSX.Element {
  const label = card.given ? labelsOf(card).join(", ") || "no label" : card.label;
  const isGroup = page.list === "groups";
  const hasSplit = card.split && page.splits.length > 1;
  return (
    <div class="cleaner-caption cleaner-issue">
      <span class="cleaner-issue-label">{hasLabels && label}</span>
      <span class="cleaner-share">{isGroup ? card.size?.replace(" px", "") : card.score?.toFixed(2)}</span>
      <span class="cleaner-reason">
        {hasSplit && <span class="cleaner-issue-split">{card.split}</span>}
        {card.is_first && <strong>suggested to keep</strong>}
        {card.reason && <span>{card.reason}</span>}
      </span>
    </div>
  );
}
