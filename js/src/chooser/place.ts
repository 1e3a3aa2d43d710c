// Where the chooser stands: beside a picture, never over it, as the next click may be meant for what is on it.

export const SIZE = { width: 260, height: 320 };
const GAP = 3;
const LEAST = 140; // of its height
const TOOLS = 60; // the height of the buttons at the bottom of a picture

interface Frame {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

export interface Place {
  top: number;
  left: number;
  height: number;
}

/**
 * The place of the chooser: below a picture, above it, at its right or left; where it fits nowhere, it is not as high.
 *
 * @param picture where the picture is
 * @param frame what the chooser must not leave
 */
export function placeAt(picture: Frame, frame: Frame): Place {
  const { width, height } = SIZE;
  const [first, last] = [frame.top + GAP, frame.bottom - GAP];
  const left = Math.max(frame.left + GAP, Math.min(picture.left, frame.right - width - GAP));
  const [below, above] = [last - (picture.bottom + GAP), picture.top - GAP - first];
  if (below >= height) return { top: picture.bottom + GAP, left, height };
  if (above >= height) return { top: picture.top - GAP - height, left, height };
  const top = Math.max(first, Math.min(picture.top, last - height));
  const beside = { top, height: Math.min(height, last - top) };
  const [after, before] = [picture.right + GAP, picture.left - GAP - width];
  if (after + width + GAP <= frame.right) return { ...beside, left: after };
  if (before >= frame.left + GAP) return { ...beside, left: before };
  if (below >= Math.max(above, LEAST)) return { top: picture.bottom + GAP, left, height: below };
  // Over a picture that fills everything, but not over its buttons.
  const most = above >= LEAST ? above : Math.min(height, picture.bottom - TOOLS - first);
  return { top: first, left, height: most };
}
