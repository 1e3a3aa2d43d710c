// The place of a large image in its frame: fitted at first, then zoomed by the wheel and moved by dragging.

export interface Size {
  width: number;
  height: number;
}

export interface View {
  /** Screen pixels of one image pixel. */
  scale: number;
  /** Offset of the image's centre from that of the frame, in screen pixels. */
  x: number;
  y: number;
}

/** A small image is enlarged to be seen, but not without end. */
export const MOST = 10;
const STEP = 1.0015;

export function fitted(image: Size, frame: Size): View {
  const scale = Math.min(frame.width / image.width, frame.height / image.height, MOST);
  return { scale, x: 0, y: 0 };
}

/** Zoom by a turn of the wheel, so that what is under the pointer stays there. */
export function zoomed(view: View, deltaY: number, pointer: { x: number; y: number }, image: Size, frame: Size): View {
  const least = fitted(image, frame).scale;
  const scale = Math.min(Math.max(view.scale * STEP ** -deltaY, least), Math.max(MOST, least));
  const by = scale / view.scale;
  const next = { scale, x: pointer.x - (pointer.x - view.x) * by, y: pointer.y - (pointer.y - view.y) * by };
  return held(next, image, frame);
}

export function dragged(view: View, x: number, y: number, image: Size, frame: Size): View {
  return held({ ...view, x: view.x + x, y: view.y + y }, image, frame);
}

/** An image never leaves its frame. */
function held(view: View, image: Size, frame: Size): View {
  const [roomX, roomY] = [room(view.scale * image.width, frame.width), room(view.scale * image.height, frame.height)];
  return { ...view, x: Math.min(Math.max(view.x, -roomX), roomX), y: Math.min(Math.max(view.y, -roomY), roomY) };
}

function room(image: number, frame: number): number {
  return Math.max(0, (image - frame) / 2);
}
