// The large image, which the wheel zooms and the pointer drags.

import { Component, createRef, type JSX } from "preact";
import { dragged, fitted, type Size, type View, zoomed } from "./zoom";

interface PictureProps {
  /** The large image, or the thumbnail until it is here. */
  url: string;
  alt: string;
  isBusy: boolean;
}

/** A new image is fitted anew: the caller gives each a `key` of its own. */
export class Picture extends Component<PictureProps, { view: View | null }> {
  override state: { view: View | null } = { view: null };
  private readonly frame = createRef<HTMLDivElement>();
  private readonly image = createRef<HTMLImageElement>();
  private readonly resized = new ResizeObserver(() => this.fit());
  private held: { x: number; y: number } | null = null;

  override componentDidMount(): void {
    if (this.frame.current) this.resized.observe(this.frame.current);
    // Preact's own listener could not keep the page from scrolling.
    this.frame.current?.addEventListener("wheel", this.onWheel, { passive: false });
  }

  override componentWillUnmount(): void {
    this.resized.disconnect();
  }

  private sizes(): { image: Size; frame: Size } | null {
    const [image, frame] = [this.image.current, this.frame.current];
    if (!image?.naturalWidth || !frame) return null;
    return {
      image: { width: image.naturalWidth, height: image.naturalHeight },
      frame: { width: frame.clientWidth, height: frame.clientHeight },
    };
  }

  private readonly fit = (): void => {
    const sizes = this.sizes();
    if (sizes) this.setState({ view: fitted(sizes.image, sizes.frame) });
  };

  private readonly onWheel = (event: WheelEvent): void => {
    const [sizes, view] = [this.sizes(), this.state.view];
    const box = this.frame.current?.getBoundingClientRect();
    if (!sizes || !view || !box) return;
    event.preventDefault();
    const pointer = { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
    this.setState({ view: zoomed(view, event.deltaY, pointer, sizes.image, sizes.frame) });
  };

  private readonly onDown = (event: PointerEvent): void => {
    this.held = { x: event.clientX, y: event.clientY };
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
  };

  private readonly onMove = (event: PointerEvent): void => {
    const [sizes, view] = [this.sizes(), this.state.view];
    if (!this.held || !sizes || !view) return;
    const [x, y] = [event.clientX - this.held.x, event.clientY - this.held.y];
    this.held = { x: event.clientX, y: event.clientY };
    this.setState({ view: dragged(view, x, y, sizes.image, sizes.frame) });
  };

  private readonly onUp = (): void => {
    this.held = null;
  };

  render({ url, alt, isBusy }: PictureProps): JSX.Element {
    const { view } = this.state;
    const sizes = view && this.sizes();
    const style =
      view && sizes
        ? {
            width: `${view.scale * sizes.image.width}px`,
            height: `${view.scale * sizes.image.height}px`,
            transform: `translate(-50%, -50%) translate(${view.x}px, ${view.y}px)`,
          }
        : {};
    return (
      <div
        class="cleaner-large-picture"
        ref={this.frame}
        aria-busy={isBusy}
        onPointerDown={this.onDown}
        onPointerMove={this.onMove}
        onPointerUp={this.onUp}
        onPointerCancel={this.onUp}
        onDblClick={this.fit}
      >
        <img ref={this.image} src={url} alt={alt} draggable={false} style={style} onLoad={this.fit} />
      </div>
    );
  }
}
