// The thumbnail grid. It keeps no truth of its own: `state` is what the kernel sent last, and the screen is drawn
// from `state`. The table of messages stands in grid.py. All text goes in by textContent.

const ACTIONS = [
  ["keep", "Keep", "✓"],
  ["delete", "Delete", "✕"],
  ["relabel", "Relabel", "→"],
  ["unsure", "Unsure", "?"],
];
const SHOWN_CHOICES = 100; // more labels than this are found by typing

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function percent(probability) {
  return probability === null ? "–" : `${(100 * probability).toFixed(probability < 0.0995 ? 1 : 0)} %`;
}

function render({ model, el }) {
  const state = {
    page: null,
    cards: new Map(),
    pending: new Map(), // what was asked and is not answered: id -> { path, timer }
    urls: new Map(),
    error: "",
    warnings: [],
    closed: 0, // warnings that were read and closed
    choosing: null, // the open label chooser: { path, typed, marked }
  };
  // Several views of one grid hear each other's replies, so their ids must differ.
  let lastId = Math.floor(Math.random() * 2 ** 40);

  const top = element("div", { className: "cleaner-top" });
  const alert = element("div", { className: "cleaner-alert", role: "alert", hidden: true });
  const warnings = element("div", { className: "cleaner-warnings", role: "status", hidden: true });
  const place = element("span", { className: "cleaner-place" });
  const unreadable = element("span", { className: "cleaner-unreadable" });
  const counts = element("span", { className: "cleaner-counts", "aria-live": "polite" });
  const pageBelow = element("span");
  const turners = [-1, 1, -1, 1].map(turnNode); // above the grid and below it
  const grid = element("div", { className: "cleaner-grid", role: "list" });
  const bar = element("div", { className: "cleaner-bar" }, turners[0], turners[1], place, unreadable, counts);
  const foot = element("div", { className: "cleaner-bar cleaner-foot" }, turners[2], turners[3], pageBelow);
  el.classList.add("cleaner");
  const notes = element("div", { className: "cleaner-notes" }, alert, warnings);
  el.append(top, element("div", { className: "cleaner-head" }, bar, notes), grid, foot);

  // What is asked of the kernel. A dead kernel may refuse the message at once or never answer it.

  function ask(kind, fields = {}) {
    lastId += 1;
    const id = lastId;
    const timer = setTimeout(() => giveUp(id), model.get("patience_ms"));
    state.pending.set(id, { path: fields.path, timer });
    try {
      model.send({ kind, id, ...fields });
    } catch (error) {
      console.error(error);
      giveUp(id);
    }
  }

  function settle(id) {
    const asked = state.pending.get(id);
    if (!asked) return undefined;
    clearTimeout(asked.timer);
    state.pending.delete(id);
    return asked.path;
  }

  function giveUp(id) {
    const path = settle(id);
    const what = path === undefined ? "No" : "Not saved: no";
    state.error = `${what} answer from the kernel. Reload the page; what is in the manifest is safe.`;
    drawBar();
    drawCard(path);
  }

  function isBusy(path) {
    return [...state.pending.values()].some((asked) => asked.path === path);
  }

  function turn(by) {
    const wanted = state.page ? state.page.page + by : -1;
    if (wanted >= 0 && wanted < state.page.pages) ask("turn", { page: wanted });
  }

  function decide(path, action, newLabel) {
    if (isBusy(path)) return;
    state.choosing = null;
    ask("decide", { path, action, ...(newLabel === undefined ? {} : { new_label: newLabel }) });
    drawCard(path);
  }

  // What the kernel says.

  const taken = {
    page(message, buffers) {
      const before = state.page;
      for (const url of state.urls.values()) URL.revokeObjectURL(url);
      state.urls.clear();
      state.cards.clear();
      state.choosing = null;
      state.page = message;
      state.error = "";
      for (const card of message.cards) {
        state.cards.set(card.path, card);
        if (card.buffer !== undefined) {
          const blob = new Blob([buffers[card.buffer]], { type: "image/jpeg" });
          state.urls.set(card.path, URL.createObjectURL(blob));
        }
      }
      drawPage();
      const isOther = before && ["split", "label", "page"].some((name) => before[name] !== message[name]);
      if (isOther) showTop();
    },
    card(message) {
      state.error = "";
      update(message.card);
    },
    error(message) {
      state.error = message.message;
      if (message.card) update(message.card);
    },
  };

  function showTop() {
    top.scrollIntoView({ block: "nearest" });
    // The buttons below the grid are out of sight now.
    const below = turners.indexOf(document.activeElement) - 2;
    if (below >= 0) turners[below].focus({ preventScroll: true });
  }

  function update(card) {
    const shown = state.cards.get(card.path);
    if (!shown) return;
    state.cards.set(card.path, { ...card, error: shown.error });
    drawCard(card.path);
  }

  function onMessage(message, buffers) {
    if (!Object.hasOwn(taken, message.kind)) return;
    const path = settle(message.id);
    taken[message.kind](message, buffers);
    if (state.page) state.page.counts = message.counts;
    state.warnings = message.warnings;
    message.changed.forEach(update);
    drawBar();
    if (!message.card) drawCard(path);
  }

  // Drawing.

  function drawBar() {
    const page = state.page;
    alert.hidden = state.error === "";
    alert.textContent = state.error;
    drawWarnings();
    if (!page) return;
    for (const node of turners) {
      const wanted = page.page + Number(node.dataset.by);
      node.setAttribute("aria-disabled", String(wanted < 0 || wanted >= page.pages));
    }
    place.textContent = pageBelow.textContent = `page ${page.page + 1} of ${page.pages}`;
    grid.setAttribute("aria-label", `Images of ${page.split} / ${page.label}, highest loss first`);
    const files = page.unreadable === 1 ? "1 file" : `${page.unreadable} files`;
    unreadable.hidden = page.unreadable === 0;
    unreadable.textContent = `${files} of this split could not be read: see unreadable.csv`;
    const { decided, kept, scan_decided, scan_kept } = page.counts;
    counts.textContent = `${decided} of ${kept} decided in this class · ${scan_decided} of ${scan_kept} in the scan`;
  }

  function drawWarnings() {
    const open = state.warnings.slice(state.closed);
    warnings.hidden = open.length === 0;
    const close = element("button", { type: "button", textContent: "Close", onclick: closeWarnings });
    warnings.replaceChildren(...open.map((text) => element("div", { textContent: text })), close);
  }

  function closeWarnings() {
    state.closed = state.warnings.length;
    drawWarnings();
  }

  function drawPage() {
    grid.replaceChildren(...[...state.cards.values()].map((card) => cardNode(card)));
    if (state.cards.size === 0) grid.append(element("p", { textContent: "No image was kept of this class." }));
  }

  function drawCard(path) {
    const old = [...grid.children].find((node) => node.dataset.path === path);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    // The picture stays as it is: a new one would be blank until it is decoded.
    const node = cardNode(state.cards.get(path), old.querySelector(".cleaner-picture"));
    const opens = state.choosing?.path === path && !old.querySelector(".cleaner-chooser");
    old.replaceWith(node);
    if (opens || focused) focusNode(node, focused).focus({ preventScroll: true });
    if (opens) node.querySelector(".cleaner-chooser").scrollIntoView({ block: "nearest" });
  }

  // What has the focus after a card was drawn anew: what had it before, or the nearest to that.
  function focusNode(node, focused) {
    const chooser = node.querySelector("input");
    const same = node.querySelector(`button[data-action="${focused?.dataset.action ?? "relabel"}"]`);
    return chooser ?? same ?? node.querySelector(".cleaner-actions button");
  }

  function turnNode(by) {
    const textContent = by < 0 ? "‹ Previous" : "Next ›";
    const node = element("button", { type: "button", textContent, onclick: () => turn(by) });
    node.dataset.by = by;
    return node;
  }

  function cardNode(card, picture = pictureNode(card)) {
    const busy = isBusy(card.path);
    const node = element(
      "div",
      { className: "cleaner-card", role: "listitem", "aria-busy": String(busy) },
      picture,
      element("div", { className: "cleaner-name", textContent: card.name, title: card.path }),
      factNode("given", card.label),
      factNode("predicted", card.predicted, percent(card.confidence)),
      factNode("loss", card.loss),
      decisionNode(card, busy),
      element("div", { className: "cleaner-actions" }, ...ACTIONS.map((action) => actionNode(card, ...action))),
    );
    node.dataset.path = card.path;
    node.dataset.decision = card.action;
    if (state.choosing?.path === card.path) node.append(chooserNode(card));
    return node;
  }

  function factNode(name, value, beside = "") {
    return element(
      "div",
      { className: "cleaner-fact" },
      element("span", { className: "cleaner-fact-name", textContent: name }),
      element("span", { className: "cleaner-fact-value", textContent: value, title: value }),
      ...(beside ? [element("span", { textContent: beside })] : []),
    );
  }

  function pictureNode(card) {
    const url = state.urls.get(card.path);
    if (!url) {
      const reason = card.error || "no image";
      return element("div", { className: "cleaner-picture cleaner-broken", textContent: reason, title: reason });
    }
    const image = element("img", { src: url, alt: `${card.name}, given ${card.label}, predicted ${card.predicted}` });
    // A tiny image is enlarged to be seen; its pixels stay pixels.
    image.addEventListener("load", () => image.classList.toggle("cleaner-pixels", image.naturalWidth < 64));
    return element("div", { className: "cleaner-picture" }, image);
  }

  function decisionNode(card, busy) {
    const node = element("div", { className: "cleaner-decision" });
    if (busy) node.append(element("span", { textContent: "saving …" }));
    else if (card.action) {
      const [, word, sign] = ACTIONS.find(([action]) => action === card.action);
      const text = `${sign} ${card.action === "relabel" ? card.new_label : word}`;
      const by = card.reviewer ? `by ${card.reviewer}` : "";
      const when = card.decided_at ? new Date(card.decided_at).toLocaleString() : "";
      node.append(
        element(
          "div",
          { className: "cleaner-said", title: [text, by, when].join("\n") },
          element("span", { className: "cleaner-what", textContent: text }),
          element("span", { className: "cleaner-by", textContent: by }),
        ),
        buttonNode(card, "undo", "Undo"),
      );
    } else node.append(element("span", { textContent: "undecided" }));
    return node;
  }

  function actionNode(card, action, word, sign) {
    const node = buttonNode(card, action, `${sign} ${word}`);
    node.setAttribute("aria-pressed", String(card.action === action));
    return node;
  }

  function buttonNode(card, action, text) {
    const node = element("button", { type: "button", textContent: text, "aria-label": `${text} ${card.name}` });
    node.dataset.action = action;
    // Not `disabled`, which would drop the focus.
    node.setAttribute("aria-disabled", String(isBusy(card.path)));
    node.addEventListener("click", () => (action === "relabel" ? choose(card.path) : decide(card.path, action)));
    return node;
  }

  // Choosing another label.

  function choose(path) {
    if (isBusy(path)) return;
    const before = state.choosing?.path;
    state.choosing = before === path ? null : { path, typed: "", marked: firstMarked(state.cards.get(path), "") };
    if (before !== undefined && before !== path) drawCard(before);
    drawCard(path);
  }

  // The best fit comes first: Enter takes it.
  function choices(card, typed) {
    const wanted = typed.trim().toLowerCase();
    const fit = (label) => {
      const text = label.toLowerCase();
      return text === wanted ? 0 : text.startsWith(wanted) ? 1 : text.includes(wanted) ? 2 : 3;
    };
    const others = model.get("vocab").filter((label) => label !== card.label && label !== card.predicted);
    const ordered = card.predicted === card.label ? others : [card.predicted, ...others];
    return ordered.filter((label) => fit(label) < 3).sort((one, other) => fit(one) - fit(other));
  }

  // The number of the choice that Enter takes; where nothing was typed and nothing is suggested, it takes none.
  function firstMarked(card, typed) {
    return typed.trim() === "" && card.predicted === card.label ? -1 : 0;
  }

  function chooserNode(card) {
    const choosing = state.choosing;
    const list = element("div", { className: "cleaner-choices", role: "listbox", "aria-label": "Labels" });
    list.id = `cleaner-labels-${lastId}`;
    const input = element("input", {
      type: "text",
      value: choosing.typed,
      placeholder: "type to find a label",
      role: "combobox",
      "aria-label": `New label of ${card.name}`,
      "aria-expanded": "true",
      "aria-controls": list.id,
      oninput() {
        choosing.typed = input.value;
        choosing.marked = firstMarked(card, input.value);
        fillChoices(card, input, list);
      },
      onkeydown: (event) => onChooserKey(event, card, () => fillChoices(card, input, list)),
    });
    fillChoices(card, input, list);
    const cancel = element("button", { type: "button", textContent: "Cancel", onclick: () => choose(card.path) });
    return element("div", { className: "cleaner-chooser", onkeydown: closeOnEscape }, input, list, cancel);
  }

  function fillChoices(card, input, list) {
    const found = choices(card, state.choosing.typed);
    const shown = found.slice(0, SHOWN_CHOICES);
    list.replaceChildren(...shown.map((label, number) => choiceNode(card, label, number, list.id)));
    const left = found.length - shown.length;
    if (left > 0) list.append(element("p", { textContent: `and ${left} more: type to find them` }));
    if (found.length === 0) list.append(element("p", { textContent: "no such label" }));
    const marked = list.querySelector("[aria-selected=true]");
    input.setAttribute("aria-activedescendant", marked ? marked.id : "");
    marked?.scrollIntoView({ block: "nearest" });
  }

  function choiceNode(card, label, number, listId) {
    const textContent = label === card.predicted ? `${label} (predicted)` : label;
    const node = element("button", { type: "button", textContent, title: label, role: "option" });
    node.id = `${listId}-${number}`;
    node.dataset.label = label;
    node.setAttribute("aria-selected", String(number === state.choosing.marked));
    node.addEventListener("click", () => decide(card.path, "relabel", label));
    return node;
  }

  function onChooserKey(event, card, refill) {
    // The Enter that ends the composing of a word with an input method is no choice.
    if (event.isComposing || event.keyCode === 229) return;
    const choosing = state.choosing;
    const shown = choices(card, choosing.typed).slice(0, SHOWN_CHOICES);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && shown.length > 0) {
      choosing.marked = Math.min(Math.max(choosing.marked + by, 0), shown.length - 1);
      refill();
    } else if (event.key === "Enter" && shown[choosing.marked] !== undefined) {
      decide(card.path, "relabel", shown[choosing.marked]);
    } else if (event.key !== "Enter") return;
    event.preventDefault();
  }

  function closeOnEscape(event) {
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault();
    choose(state.choosing.path);
  }

  model.on("msg:custom", onMessage);
  ask("ready");
  return () => {
    model.off("msg:custom", onMessage);
    for (const { timer } of state.pending.values()) clearTimeout(timer);
    for (const url of state.urls.values()) URL.revokeObjectURL(url);
  };
}

export default { render };
