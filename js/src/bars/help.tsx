// The list of keys.

import { Component, createRef, type JSX } from "preact";
import type { App } from "../app";
import { OURS } from "../dom";
import { keysOf } from "../keys";
import type { State } from "../state";

export class Help extends Component<{ app: App; state: State }> {
  private readonly dialog = createRef<HTMLDialogElement>();

  override componentDidMount(): void {
    this.dialog.current?.showModal();
  }

  private readonly close = (): void => {
    this.props.app.set({ hasHelp: false });
    this.props.app.focus();
  };

  render({ state }: { app: App; state: State }): JSX.Element {
    const rows: [string, string][] = keysOf(state.task, state.page?.list).map(({ keys, shown, help }) => [
      shown ?? keys.join(", "),
      help,
    ]);
    return (
      <dialog
        {...OURS}
        class="cleaner-help"
        ref={this.dialog}
        aria-label="Keys"
        onClose={this.close}
        onKeyDown={(event) => event.stopPropagation()}
      >
        <h2>Keys, while the images have the focus</h2>
        <table>
          <tbody>
            {[["← → ↑ ↓", "move; with Shift select what is passed"] as [string, string], ...rows].map(([key, help]) => (
              <tr key={key}>
                <th scope="row">
                  <kbd>{key}</kbd>
                </th>
                <td>{help}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <button {...OURS} type="button" onClick={() => this.dialog.current?.close()}>
          Close
        </button>
      </dialog>
    );
  }
}
