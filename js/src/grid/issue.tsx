// What stands below a picture in lists of issues: its label, and what is wrong with it; of a copy how it differs.

import type { JSX } from "preact";
import { labelsOf } from "../cards";
import type { CardProps } from "./card";

export function IssueCaption({ card, page, hasLabels }: CardProps): JSX.Element {
  const label = card.given ? labelsOf(card).join(", ") || "no label" : card.label;
  const split = page.splits.length > 1 && card.split ? [<strong key="split">{card.split}</strong>] : [];
  const reason = card.reason ? [<span key="reason">{card.reason}</span>] : [];
  if (page.list !== "groups")
    return (
      <div class="cleaner-caption cleaner-issue">
        <span class="cleaner-issue-label">{hasLabels && label}</span>
        <span class="cleaner-share">{card.score?.toFixed(2)}</span>
        <span class="cleaner-reason">{[...split, ...reason]}</span>
      </div>
    );
  const size = card.size ? [<span key="size">{card.size.replace(" px", "")}</span>] : []; // none if it is unreadable
  return (
    <div class="cleaner-caption cleaner-issue">
      {hasLabels && <span class="cleaner-issue-label">{label}</span>}
      <span class="cleaner-reason cleaner-one-line">{[...split, ...size]}</span>
      <span class="cleaner-reason cleaner-one-line">{card.is_first ? <strong>suggested to keep</strong> : reason}</span>
    </div>
  );
}
