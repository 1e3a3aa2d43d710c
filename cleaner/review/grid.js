// The thumbnail grid. It keeps no truth of its own: `state` is what the kernel sent last, and the screen is drawn
// from `state`. The table of messages stands in grid.py. All text goes in by textContent.

const ACTIONS = [
  ["keep", "Keep", "✓"],
  ["delete", "Delete", "✕"],
  ["relabel", "Relabel", "→"],
  ["unsure", "Unsure", "?"],
];
const SHOWS = [
  ["all", "all"],
  ["undecided", "undecided"],
  ["decided", "decided"],
  ...ACTIONS.map(([action, word]) => [action, word.toLowerCase()]),
];
const ORDERS = (rankedBy) => [
  ["loss", `highest ${rankedBy}`],
  ["confidence", "least confident"],
  ["name", "name"],
];
const PAGE_SIZES = [10, 20, 30, 50, 100, 200];
// What is asked without moving the cursor.
const PASSIVE = new Set(["news", "large", "typical", "reviewer", "restore", "accept"]);
// What a click may be meant for; the rest of the app is the space between.
const CONTROLS = "a, button, dialog, input, label, option, select, summary, textarea, [role=alert], [tabindex]";
const KEYS = [
  ["← → ↑ ↓", "move; with Shift select what is passed"],
  ["K", "keep"],
  ["D", "delete"],
  ["R", "relabel: type to find the label"],
  ["Enter", "take the predicted label"],
  ["S", "unsure"],
  ["U", "undo your last action"],
  ["Shift+U", "redo it"],
  ["Space", "select, or no longer"],
  ["A", "select the page"],
  ["Shift+K", "keep what is undecided on the page, and go on"],
  ["N, P", "next page, previous page"],
  ["Z", "show the image large; arrows go on there, Escape closes"],
  ["Escape", "select nothing"],
  ["?", "this list"],
];
const NEWS_EVERY = 4000; // ms; others' decisions are to be seen within 5 s
const SILENT = "The kernel has not answered for a while: it is busy, or the connection is lost.";
const SHOWN_CHOICES = 100; // more labels than this are found by typing
const ABSENT = "\u0000absent"; // of what the model says: that the label is not there
// What there is to decide and to press, where it is not one label an image. A row of KEYS that is null is left out.
const TASKS = {
  "single-label": { actions: ["keep", "delete", "relabel", "unsure"], keys: {} },
  "multi-label": {
    actions: ["keep", "delete", "toggle", "unsure"],
    keys: {
      K: "keep: the labels are right as the card shows them",
      R: "add or remove another label: type to find it",
      Enter: "add the label of this class, or remove it",
    },
  },
  other: { actions: ["keep", "delete", "unsure"], keys: { R: null, Enter: null } },
};
const FOCUSABLE = ["button", "input", "select", "dialog"];

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  // Jupyter's one-letter commands look for this at what has the focus first, and at what is around it only then.
  if (FOCUSABLE.includes(tag)) node.dataset.lmSuppressShortcuts = "true";
  node.append(...children);
  return node;
}

function options(list, value) {
  return list.map(([name, text]) => element("option", { value: name, textContent: text, selected: name === value }));
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// What a decision takes from a label set and adds to it.
function changes(given, labels) {
  const [gone, come] = [given.filter((label) => !labels.includes(label)), labels.filter((label) => !given.includes(label))];
  return [...gone.map((label) => `− ${label}`), ...come.map((label) => `+ ${label}`)].join(", ");
}

function said(decision, given) {
  const [, word, sign] = ACTIONS.find(([action]) => action === decision.action);
  if (decision.labels) return changes(given, decision.labels);
  return `${sign} ${decision.action === "relabel" ? decision.new_label : word}`;
}

function percent(probability) {
  return probability === null ? "–" : `${(100 * probability).toFixed(probability < 0.0995 ? 1 : 0)} %`;
}

// Thumbnails are small and many: an object URL for each would take two round trips to the browser's own process.
function dataUrl(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if (bytes.toBase64) return `data:image/jpeg;base64,${bytes.toBase64()}`;
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return `data:image/jpeg;base64,${btoa(text)}`;
}

function render({ model, el }) {
  const rankedBy = model.get("ranked_by");
  const state = {
    page: null,
    cards: new Map(),
    pending: new Map(), // what was asked and is not answered: id -> { kind, paths, timer }
    urls: new Map(),
    error: "",
    warnings: [],
    edited: "", // acknowledged decisions that somebody removed from the manifest or reordered
    history: "", // how many decisions were carried out, and when
    closed: 0, // warnings that were read and closed
    at: "", // the card with the cursor
    refused: false, // whether a key was refused since the cursor was moved: its reason outlasts the replies to earlier keys
    ended: false, // whether the last card of the page was decided, so that no key may decide about it again unasked
    selected: new Set(),
    canUndo: false,
    canRedo: false,
    seconds: null, // per decision
    reviewer: "",
    silent: false, // whether the kernel leaves the news unanswered
    choosing: null, // the open label chooser: { path, many, typed, marked }
    large: null, // the image that is shown large: { path, url, error }
  };
  // Several views of one grid hear each other's replies, so their ids must differ.
  let lastId = Math.floor(Math.random() * 2 ** 40);

  const { actions: offered, keys: otherKeys } = TASKS[model.get("task")];
  const hasSets = offered.includes("toggle");
  const hasLabels = hasSets || offered.includes("relabel");

  // What can be done: [what, key, how].
  const TOOLS = {
    keep: ["✓ Keep", "K", () => act("keep")],
    delete: ["✕ Delete", "D", () => act("delete")],
    relabel: ["→ Relabel", "R", () => choose(state.at, true)],
    predicted: ["⇒ Predicted", "Enter", () => act("predicted")],
    unsure: ["? Unsure", "S", () => act("unsure")],
    undo: ["↶ Undo", "U", () => again("undo")],
    redo: ["↷ Redo", "Shift+U", () => again("redo")],
    page: ["Select page", "A", () => state.large || ask("select", { what: "page" })],
    keep_rest: ["Keep the rest, go on", "Shift+K", keepRest],
    large: ["Large", "Z", openLarge],
    keys: ["Keys", "?", () => help.open || help.showModal()],
    select: ["Select", "Space", () => state.large || ask("select", { what: "card" })],
    none: ["Select nothing", "Escape", () => (state.large ? large.close() : move(0))],
    next: ["Next page", "N", () => isTurning() || turn(1)],
    previous: ["Previous page", "P", () => isTurning() || turn(-1)],
    back: ["‹ Image", "ArrowLeft", () => move(-1)],
    forth: ["Image ›", "ArrowRight", () => move(1)],
    close: ["Close", "Escape", () => large.close()],
  };
  if (hasSets) {
    TOOLS.relabel[0] = "± Other label";
    // The label that it is about stands on it once a page is there.
    TOOLS.predicted = ["± Label", "Enter", () => toggledLabel() !== undefined && act("toggle", toggledLabel())];
  }
  if (!hasLabels) ["relabel", "predicted"].forEach((name) => delete TOOLS[name]);
  const NOT_IN_BAR = ["select", "none", "next", "previous", "back", "forth", "close"];
  const LARGE_TOOLS = ["keep", "delete", "relabel", "predicted", "unsure", "undo", "redo", "back", "forth", "close"].filter((name) => name in TOOLS);

  const top = element("div", { className: "cleaner-top" });
  const alert = element("div", { className: "cleaner-alert", role: "alert", hidden: true });
  const warnings = element("div", { className: "cleaner-warnings", role: "status", hidden: true });
  const edited = element("div", { className: "cleaner-edited", role: "alert", hidden: true });
  const editedText = element("div");
  const restore = element("button", { type: "button", textContent: "Restore the decisions", onclick: () => ask("restore") });
  const accept = element("button", { type: "button", textContent: "Accept the file as it is", onclick: () => ask("accept") });
  edited.append(editedText, restore, " ", accept);
  const place = element("span", { className: "cleaner-place" });
  const unreadable = element("span", { className: "cleaner-unreadable" });
  const history = element("span", { className: "cleaner-history" });
  const counts = element("span", { className: "cleaner-counts", "aria-live": "polite" });
  const pace = element("span", { className: "cleaner-pace", title: "time per decision, and what is left in this class and in the scan" });
  const pageBelow = element("span");
  const turners = [-1, 1, -1, 1].map(turnNode); // above the grid and below it
  const grid = element("div", { className: "cleaner-grid", role: "grid", "aria-multiselectable": "true" });
  const empty = element("div", { className: "cleaner-empty", hidden: true });
  const filters = {
    show: selectNode("Show", "show"),
    predicted: selectNode("Predicted", "predicted"),
    order: selectNode("Order", "order"),
    page_size: selectNode("Per page", "page_size", Number),
    text: textNode("Path", { type: "search", placeholder: "part of the path" }, (text) => ask("filter", { text })),
  };
  const reviewer = textNode("Reviewer", { type: "text", maxLength: 80 }, (name) => ask("reviewer", { name }));
  const tools = toolNodes();
  const help = helpNode();
  const large = element("dialog", { className: "cleaner-large", "aria-label": "Large view", onclose: closeLarge });
  const largePicture = element("div", { className: "cleaner-large-picture" });
  const largeFacts = element("div", { className: "cleaner-large-facts" });
  const largeChooser = element("div", { className: "cleaner-large-chooser" });
  large.tabIndex = -1;
  large.append(largePicture, element("div", { className: "cleaner-large-side" }, largeFacts, largeChooser));
  const bar = element("div", { className: "cleaner-bar" }, turners[0], turners[1], place, reviewer, counts, pace);
  const foot = element("div", { className: "cleaner-bar cleaner-foot" }, turners[2], turners[3], pageBelow);
  el.classList.add("cleaner");
  el.classList.toggle("cleaner-wide", !hasLabels);
  const notes = element("div", { className: "cleaner-notes" }, alert, edited, warnings);
  const filterBar = element("div", { className: "cleaner-bar cleaner-filters" }, ...Object.values(filters), unreadable, history);
  const toolBar = element("div", { className: "cleaner-bar cleaner-tools", role: "toolbar", "aria-label": "Actions" });
  toolBar.append(...Object.values(tools));
  const head = element("div", { className: "cleaner-head" }, bar, filterBar, toolBar, notes);
  el.append(top, head, grid, empty, foot);
  el.append(large, help);
  grid.addEventListener("keydown", onKey);
  large.addEventListener("keydown", onKey);
  grid.addEventListener("click", onClick);
  grid.addEventListener("dblclick", onDoubleClick);

  // What is asked of the kernel. A dead kernel may refuse the message at once or never answer it.

  function ask(kind, fields = {}, paths = fields.path === undefined ? [] : [fields.path]) {
    lastId += 1;
    const id = lastId;
    const timer = setTimeout(() => giveUp(id), model.get("patience_ms"));
    state.pending.set(id, { kind, paths, timer });
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
    return asked;
  }

  function giveUp(id) {
    const asked = settle(id);
    if (asked.kind === "news") state.silent = true;
    else {
      const what = isDecision(asked) ? "Not saved: no" : "No";
      state.error = `${what} answer from the kernel. Reload the page; what is in the manifest is safe.`;
    }
    drawBar();
    asked.paths.forEach(drawCard);
    drawLarge();
  }

  function isDecision(asked) {
    return ["decide", "act", "keep_rest", "undo", "redo"].includes(asked.kind);
  }

  function isBusy(path) {
    return [...state.pending.values()].some((asked) => isDecision(asked) && asked.paths.includes(path));
  }

  // Whether another page may come: nobody may decide on it before they have seen it.
  function isTurning() {
    const turning = ["ready", "turn", "filter", "keep_rest", "undo", "redo"];
    return [...state.pending.values()].some((asked) => turning.includes(asked.kind));
  }

  function askNews() {
    if (document.visibilityState !== "visible" || !el.isConnected || state.pending.size > 0 || !state.page) return;
    ask("news");
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

  // What an action on the selection is about.
  function targets() {
    return state.selected.size > 0 ? [...state.selected] : state.at === "" ? [] : [state.at];
  }

  function act(action, newLabel) {
    if (!state.page || isTurning()) return;
    const paths = targets();
    if (isBehindEnd()) {
      const next = state.page.page + 1 < state.page.pages ? "N opens the next one" : "choose another class";
      state.refused = true;
      state.error = `This is the end of the page: ${next}. Arrow keys go back to a card.`;
      drawBar();
      drawLarge();
      return;
    }
    const before = state.choosing?.path;
    state.choosing = null;
    const fields = { serial: state.page.serial, action, ...(newLabel === undefined ? {} : { new_label: newLabel }) };
    ask("act", fields, paths);
    new Set(before === undefined ? paths : [...paths, before]).forEach(drawCard);
    drawLarge();
  }

  // Whether the cursor has passed the last card, or will have when the answers that are awaited are here.
  function isBehindEnd() {
    const awaited = [...state.pending.values()].filter((asked) => asked.kind === "act").length;
    const at = [...state.cards.keys()].indexOf(state.at);
    return state.selected.size === 0 && at >= 0 && (state.ended || at + awaited >= state.cards.size);
  }

  function keepRest() {
    if (!state.page || isTurning() || state.large) return;
    const paths = [...state.cards.values()].filter((card) => card.action === "").map((card) => card.path);
    ask("keep_rest", { serial: state.page.serial }, paths);
    paths.forEach(drawCard);
  }

  // Undo is taken in its turn, also while decisions before it are on their way.
  function again(kind) {
    if (!isTurning()) ask(kind);
  }

  // What the kernel says.

  const taken = {
    page(message, buffers) {
      const before = state.page;
      state.urls.clear();
      state.cards.clear();
      state.choosing = null;
      state.page = message;
      state.error = message.note;
      for (const card of message.cards) {
        state.cards.set(card.path, card);
        if (card.buffer !== undefined) {
          state.urls.set(card.path, dataUrl(buffers[card.buffer]));
        }
      }
      here(message);
      const hadFocus = grid.contains(document.activeElement) || document.activeElement === document.body;
      drawPage();
      // At the beginning what stands above the grid is to be seen.
      if (hadFocus && !large.open && !help.open) (before ? focusCard : takeKeys)();
      const isOther = before && ["split", "label", "page", "list"].some((name) => before[name] !== message[name]);
      if (isOther) showTop();
    },
    here(message) {
      if (message.note) state.error = message.note;
    },
    large(message, buffers) {
      if (state.large?.path !== message.path) return;
      const url = buffers.length > 0 ? URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" })) : "";
      if (state.large.url) URL.revokeObjectURL(state.large.url);
      Object.assign(state.large, { url, error: message.error });
    },
    typical(message, buffers) {
      if (state.large?.path !== message.path) return;
      state.large.typical = message.images.map((image) => ({ ...image, url: dataUrl(buffers[image.buffer]) }));
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

  // Where the cursor is and what is selected.
  function here(message) {
    state.at = message.at;
    state.selected = new Set(message.selected);
    state.canUndo = message.can_undo;
    state.canRedo = message.can_redo;
    state.reviewer = message.reviewer;
    state.seconds = message.seconds;
  }

  function onMessage(message, buffers) {
    if (!Object.hasOwn(taken, message.kind)) return;
    const asked = settle(message.id);
    const before = state.at;
    state.silent = false;
    here(message);
    if (asked && isDecision(asked) && message.kind === "here" && !state.refused) state.error = "";
    if (asked && !PASSIVE.has(asked.kind)) {
      if (asked.kind !== "act") state.refused = false;
      const last = [...state.cards.keys()].at(-1);
      // A key that left the cursor where it was, on the last card, decided about that one.
      state.ended = asked.kind === "act" && message.kind === "here" && before === last && message.at === last;
    }
    taken[message.kind](message, buffers);
    if (state.page) state.page.counts = message.counts;
    state.warnings = message.warnings;
    state.edited = message.edited;
    state.history = message.history;
    message.changed.forEach(update);
    const drawn = new Set([message.card?.path, ...message.changed.map((card) => card.path)]);
    asked?.paths.filter((path) => isDecision(asked) && !drawn.has(path)).forEach(drawCard);
    drawBar();
    drawHere(before !== state.at);
    followLarge();
  }

  // Drawing.

  function drawBar() {
    const page = state.page;
    alert.textContent = state.error || (state.silent ? SILENT : "");
    alert.hidden = alert.textContent === "";
    drawWarnings();
    editedText.textContent = state.edited;
    edited.hidden = state.edited === "";
    history.textContent = history.title = state.history;
    if (!page) return;
    for (const node of turners) {
      const wanted = page.page + Number(node.dataset.by);
      node.setAttribute("aria-disabled", String(wanted < 0 || wanted >= page.pages));
    }
    place.textContent = pageBelow.textContent = `page ${page.page + 1} of ${page.pages}`;
    const name = { class: page.label, unreadable: "files that could not be read", audit: "audit sample" }[page.list];
    const order = ORDERS(rankedBy).find(([order]) => order === page.order)[1];
    const sorted = page.list === "audit" ? "in a random order" : `${order} first`;
    grid.setAttribute("aria-label", `Images of ${page.split} / ${name}, ${sorted}`);
    drawFilters(page);
    drawText(reviewer, state.reviewer);
    const files = page.unreadable === 1 ? "1 file" : `${page.unreadable} files`;
    unreadable.hidden = page.unreadable === 0 || page.list === "unreadable";
    unreadable.textContent = `${files} could not be read`;
    unreadable.title = "They are a list of their own, below the classes.";
    if (hasSets) {
      TOOLS.predicted[0] = isClass() ? `± ${page.label}` : "± Label";
      tools.predicted.textContent = TOOLS.predicted[0];
      tools.predicted.title = `Enter: ${TOOLS.predicted[0]}`;
    }
    const { decided, kept, scan_decided, scan_kept } = page.counts;
    counts.textContent = `${decided} of ${kept} decided in this class · ${scan_decided} of ${scan_kept} in the scan`;
    pace.textContent = "";
    if (state.seconds === null) return;
    const [left, scanLeft] = [kept - decided, scan_kept - scan_decided].map((n) => duration(n * state.seconds));
    pace.textContent = `${state.seconds.toFixed(1)} s each · left: ${left} here, ${scanLeft} in all`;
  }

  function drawFilters(page) {
    const same = page.predictions.includes(page.predicted) || page.predicted === "" ? [] : [page.predicted];
    const nameOf = (label) => (label === ABSENT ? `no ${page.label}` : label);
    const predictions = [["", "any"], ...[...page.predictions, ...same].map((label) => [label, nameOf(label)])];
    const sizes = [...new Set([...PAGE_SIZES, page.page_size])].sort((one, other) => one - other);
    const shows = SHOWS.filter(([show]) => hasLabels || show !== "relabel");
    const orders = ORDERS(rankedBy).filter(([order]) => hasLabels || order !== "confidence");
    const lists = { show: shows, predicted: predictions, order: orders, page_size: sizes.map((n) => [n, n]) };
    filters.predicted.hidden = !hasLabels || page.list === "audit";
    filters.order.hidden = page.list === "audit";
    for (const [name, list] of Object.entries(lists)) {
      filters[name].lastChild.replaceChildren(...options(list, page[name]));
    }
    drawText(filters.text, page.text);
    filterBar.classList.toggle("cleaner-filtered", page.shown < page.counts.kept);
  }

  // What is being typed stays.
  function drawText(form, value) {
    const field = form.querySelector("input");
    if (document.activeElement !== field) field.value = value;
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
    grid.hidden = state.cards.size === 0;
    empty.hidden = !grid.hidden;
    const isFiltered = state.page.counts.kept > 0;
    const everything = { show: "all", predicted: "", text: "" };
    const all = element("button", { type: "button", textContent: "Show all", onclick: () => ask("filter", everything) });
    empty.replaceChildren(
      element("p", { textContent: isFiltered ? "No image of this class fits the filter." : "No image was kept of this class." }),
      ...(isFiltered ? [all] : []),
    );
  }

  function cardOf(path) {
    return [...grid.children].find((node) => node.dataset.path === path);
  }

  // The cursor and the selection, on cards that stay as they are.
  function drawHere(moved) {
    for (const node of grid.children) markCard(node);
    const undoable = { undo: state.canUndo, redo: state.canRedo };
    for (const [name, can] of Object.entries(undoable)) tools[name].setAttribute("aria-disabled", String(!can));
    const count = state.selected.size;
    tools.count.textContent = count > 0 ? `${count} selected` : "";
    const focused = document.activeElement;
    const isElsewhere = grid.contains(focused) && !cardOf(state.at)?.contains(focused);
    if (moved && isElsewhere && focused.tagName !== "INPUT") focusCard();
  }

  function markCard(node) {
    const { path } = node.dataset;
    const isSelected = state.selected.has(path);
    node.tabIndex = path === state.at ? 0 : -1;
    node.classList.toggle("cleaner-at", path === state.at);
    node.setAttribute("aria-selected", String(isSelected));
    const mark = node.querySelector(".cleaner-select");
    mark.setAttribute("aria-pressed", String(isSelected));
    mark.textContent = isSelected ? "✓" : "";
    // One stop of the Tab key for each card would be hundreds.
    for (const button of node.querySelectorAll("button:not([role=option])")) button.tabIndex = node.tabIndex;
  }

  function takeKeys() {
    cardOf(state.at)?.focus({ preventScroll: true });
  }

  function focusCard() {
    takeKeys();
    cardOf(state.at)?.scrollIntoView({ block: "nearest" });
  }

  function drawCard(path) {
    const old = cardOf(path);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    // The picture stays as it is: a new one would be blank until it is decoded.
    const node = cardNode(state.cards.get(path), old.querySelector(".cleaner-picture"));
    const opens = !state.large && state.choosing?.path === path && !old.querySelector(".cleaner-chooser");
    old.replaceWith(node);
    if (opens || focused) focusNode(node, focused === old ? node : focused).focus({ preventScroll: true });
    if (opens) node.querySelector(".cleaner-chooser").scrollIntoView({ block: "nearest" });
  }

  // What has the focus after a card was drawn anew: what had it before, or the nearest to that.
  function focusNode(node, focused) {
    const chooser = node.querySelector("input");
    // Keys that came to the card go on coming to it.
    if (!chooser && (focused === node || focused?.closest(".cleaner-chooser")?.dataset.many === "true")) return node;
    const same = node.querySelector(`button[data-action="${focused?.dataset.action ?? "relabel"}"]`);
    return chooser ?? same ?? node.querySelector(".cleaner-actions button");
  }

  function turnNode(by) {
    const textContent = by < 0 ? "‹ Previous" : "Next ›";
    const node = element("button", { type: "button", textContent, onclick: () => turn(by), title: by < 0 ? "P" : "N" });
    node.dataset.by = by;
    return node;
  }

  function cardNode(card, picture = pictureNode(card)) {
    const busy = isBusy(card.path);
    const cell = element(
      "div",
      { className: "cleaner-cell", role: "gridcell" },
      picture,
      selectMark(card),
      ...(card.others.length > 0 ? [othersNode(card)] : []),
      element("div", { className: "cleaner-name", textContent: card.name, title: card.path }),
      ...factNodes(card),
      ...noteNodes(card),
      decisionNode(card, busy),
      element("div", { className: "cleaner-actions" }, ...actionNodes(card)),
    );
    const node = element("div", { className: "cleaner-card", role: "row", "aria-busy": String(busy) }, cell);
    node.dataset.lmSuppressShortcuts = "true";
    node.dataset.path = card.path;
    node.dataset.decision = card.action;
    const decision = card.action ? said(card, card.given) : "undecided";
    node.setAttribute("aria-label", `${described(card)}, ${decision}`);
    if (!state.large && state.choosing?.path === card.path) cell.append(chooserNode(card));
    markCard(node);
    return node;
  }

  function selectMark(card) {
    return element("button", { type: "button", className: "cleaner-select", "aria-label": `Select ${card.name}` });
  }

  // What is known of an image, in words.
  function described(card) {
    if (isAudit()) return hasLabels ? `${card.name}, given ${hasSets ? card.given.join(", ") || "none" : card.label}` : card.name;
    if (!hasLabels) return `${card.name}, ${rankedBy} ${card.loss || "unknown"}`;
    if (!hasSets) return `${card.name}, given ${card.label}, predicted ${card.predicted || "nothing"}`;
    return `${card.name}, labels ${card.given.join(", ") || "none"}, predicted ${guess(card)}`;
  }

  // What the model says of the label of the class that is open.
  function guess(card) {
    if (card.confidence === null) return card.predicted || "–";
    return card.predicted || `no ${card.label}`;
  }

  function factNodes(card) {
    const given = hasSets ? labelsNode(card) : factNode("given", card.label);
    if (isAudit()) return hasLabels ? [given] : [];
    const loss = factNode(rankedBy, card.loss || "–");
    if (!hasLabels) return [loss];
    const value = hasSets ? guess(card) : card.predicted || "–";
    return [given, factNode("predicted", value, percent(card.confidence)), loss];
  }

  // Why an earlier decision does not stand for this file, or where the one that stands comes from.
  function noteNodes(card) {
    return card.note ? [element("div", { className: "cleaner-note", textContent: card.note })] : [];
  }

  // The labels of an image as the decision leaves them, first that of the class that is open, whether it is there or not.
  function labelsNode(card) {
    const now = card.labels ?? card.given;
    const first = isClass() ? [card.label] : card.asked;
    const shown = [...first, ...new Set([...card.given, ...now].filter((label) => !first.includes(label)))];
    const chips = shown.map((label) => {
      const [was, is] = [card.given.includes(label), now.includes(label)];
      const state = is ? (was ? "has" : "added") : was ? "removed" : "lacks";
      const textContent = { has: label, added: `+ ${label}`, removed: `− ${label}`, lacks: `no ${label}` }[state];
      const chip = element("span", { className: "cleaner-chip", textContent, title: label });
      chip.dataset.state = state;
      chip.classList.toggle("cleaner-open", first.includes(label));
      return chip;
    });
    return element("div", { className: "cleaner-labels" }, ...chips);
  }

  // Whether the open list is the class of a label, and not that of unreadable files or the audit sample.
  function isClass() {
    return state.page.list === "class";
  }

  // The label that Enter adds or removes; cards of the audit sample ask about labels of their own.
  function toggledLabel() {
    if (!state.page || isClass()) return state.page?.label;
    return isAudit() && state.selected.size === 0 ? state.cards.get(state.at)?.asked[0] : undefined;
  }

  function isAudit() {
    return state.page.list === "audit";
  }

  // Who decided otherwise than what stands.
  function othersNode(card) {
    const lines = card.others.map((other) => `${other.reviewer || "somebody"}: ${said(other, card.given)}`);
    const title = `Reviewers disagree.\n${lines.join("\n")}`;
    return element("div", { className: "cleaner-others", textContent: `≠ ${lines.join(", ")}`, title });
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
    const image = imageNode(url, described(card));
    return element("div", { className: "cleaner-picture" }, image);
  }

  // A tiny image is enlarged to be seen; its pixels stay pixels.
  function imageNode(url, alt) {
    const image = element("img", { src: url, alt });
    image.addEventListener("load", () => image.classList.toggle("cleaner-pixels", image.naturalWidth < 64));
    return image;
  }

  function decisionNode(card, busy) {
    const node = element("div", { className: "cleaner-decision" });
    if (busy) node.append(element("span", { textContent: "saving …" }));
    else if (card.action) {
      const text = said(card, card.given);
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

  function actionNodes(card) {
    const some = offered.filter((action) => action !== "toggle" || isClass());
    return some.map((action) => {
      const [, word, sign] = ACTIONS.find(([name]) => name === action) ?? [];
      if (action !== "toggle") return actionNode(card, action, `${sign} ${word}`, card.action === action);
      // Pressed is what changes; pressed again it is as it was.
      const has = card.given.includes(card.label);
      const isChanged = (card.labels ?? card.given).includes(card.label) !== has;
      return actionNode(card, action, `${has ? "−" : "+"} ${card.label}`, isChanged);
    });
  }

  function actionNode(card, action, text, pressed) {
    const node = buttonNode(card, action, text);
    node.setAttribute("aria-pressed", String(pressed));
    return node;
  }

  function buttonNode(card, action, text) {
    const node = element("button", { type: "button", textContent: text, "aria-label": `${text} ${card.name}` });
    node.dataset.action = action;
    // Not `disabled`, which would drop the focus.
    node.setAttribute("aria-disabled", String(isBusy(card.path)));
    const newLabel = action === "toggle" ? card.label : undefined;
    node.addEventListener("click", () => (action === "relabel" ? choose(card.path) : decide(card.path, action, newLabel)));
    return node;
  }

  // Choosing another label.

  function choose(path, many = false) {
    if (isBusy(path) || !state.cards.has(path)) return;
    const before = state.choosing?.path;
    const marked = firstMarked(state.cards.get(path), "");
    state.choosing = before === path ? null : { path, many, typed: "", marked };
    if (before !== undefined && before !== path) drawCard(before);
    drawCard(path);
    drawLarge();
  }

  // Labels are found by their words in any order: "white shark" finds great_white_shark.
  function plainText(text) {
    return text.toLowerCase().replaceAll(/[\s_-]+/g, " ").trim();
  }

  // The best fit comes first: Enter takes it.
  function choices(card, typed) {
    const wanted = plainText(typed);
    const words = wanted.split(" ");
    const fit = (label) => {
      const text = plainText(label);
      if (text === wanted) return 0;
      if (text.startsWith(wanted)) return 1;
      return text.includes(wanted) ? 2 : words.every((word) => text.includes(word)) ? 3 : 4;
    };
    const others = model.get("vocab").filter((label) => label !== card.label && label !== card.predicted);
    const ordered = card.predicted === card.label || card.predicted === "" ? others : [card.predicted, ...others];
    return ordered.filter((label) => fit(label) < 4).sort((one, other) => fit(one) - fit(other));
  }

  // The number of the choice that Enter takes; where nothing was typed and nothing is suggested, it takes none.
  function firstMarked(card, typed) {
    return typed.trim() === "" && (card.predicted === card.label || card.predicted === "") ? -1 : 0;
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
      "aria-label": `${hasSets ? "Label to add or remove" : "New label"} of ${choosing.many && state.selected.size > 1 ? `${state.selected.size} images` : card.name}`,
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
    const form = searchForm(input);
    const node = element("div", { className: "cleaner-chooser", onkeydown: closeOnEscape }, form, list, cancel);
    node.dataset.many = String(choosing.many);
    return node;
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

  function take(path, label) {
    const action = hasSets ? "toggle" : "relabel";
    if (state.choosing.many) act(action, label);
    else decide(path, action, label);
  }

  function choiceNode(card, label, number, listId) {
    const sign = hasSets ? `${(card.labels ?? card.given).includes(label) ? "−" : "+"} ` : "";
    const textContent = `${sign}${label}${label === card.predicted ? " (predicted)" : ""}`;
    const node = element("button", { type: "button", textContent, title: label, role: "option" });
    node.id = `${listId}-${number}`;
    node.dataset.label = label;
    node.setAttribute("aria-selected", String(number === state.choosing.marked));
    node.addEventListener("click", () => take(card.path, label));
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
      take(card.path, shown[choosing.marked]);
    } else if (event.key !== "Enter") return;
    event.preventDefault();
  }

  function closeOnEscape(event) {
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    choose(state.choosing.path);
  }

  // The large view: a dialog over everything, which follows the cursor.

  function openLarge() {
    if (state.at === "" || large.open) return;
    // One image is to be seen, so one is to be decided about.
    if (state.selected.size > 0) ask("move", { by: 0 });
    if (state.choosing) choose(state.choosing.path);
    state.large = { path: "", url: "", error: "" };
    large.showModal();
    large.focus();
    followLarge();
  }

  function followLarge() {
    if (state.large && state.large.path !== state.at) {
      if (state.large.url) URL.revokeObjectURL(state.large.url);
      state.large = { path: state.at, url: "", error: "" };
      if (state.at === "") large.close();
      else {
        ask("large", { path: state.at });
        ask("typical", { path: state.at });
      }
    }
    drawLarge();
  }

  function closeLarge() {
    if (state.large?.url) URL.revokeObjectURL(state.large.url);
    state.large = null;
    state.choosing = null;
    largeChooser.replaceChildren();
    largePicture.replaceChildren();
    focusCard();
  }

  function drawLarge() {
    const card = state.large && state.cards.get(state.large.path);
    if (!card) return;
    // Until the large image is there the small one stands in its place, never the image before.
    const url = state.large.url || state.urls.get(card.path);
    const reason = state.large.error || card.error;
    if (reason || !url) largePicture.replaceChildren(element("p", { textContent: reason || "no image" }));
    else if (largePicture.firstChild?.src !== url) largePicture.replaceChildren(imageNode(url, card.name));
    largePicture.setAttribute("aria-busy", String(state.large.url === "" && !reason));
    const before = document.activeElement;
    const tool = largeFacts.contains(before) ? before.dataset.act : undefined;
    largeFacts.replaceChildren(
      element("div", { className: "cleaner-large-name", textContent: card.path }),
      ...factNodes(card),
      ...alternativeNodes(card),
      ...noteNodes(card),
      element("div", { className: "cleaner-card", "data-decision": card.action }, decisionText(card)),
      ...card.others.map((other) => factNode("≠", `${other.reviewer || "somebody"}: ${said(other, card.given)}`)),
      ...(state.error ? [element("div", { className: "cleaner-alert", role: "alert", textContent: state.error })] : []),
      element("div", { className: "cleaner-actions" }, ...LARGE_TOOLS.map((name) => toolNode(name))),
      ...typicalNodes(state.large.typical ?? []),
    );
    if (tool) largeFacts.querySelector(`[data-act="${tool}"]`)?.focus();
    drawLargeChooser(card);
  }

  // The most probable labels; the first is shown as the predicted one already, unless the image carries several.
  function alternativeNodes(card) {
    const others = card.alternatives.slice(hasSets ? 0 : 1);
    if (others.length === 0) return [];
    const lines = others.map(([label, probability]) =>
      element(
        "div",
        { className: "cleaner-alternative" },
        element("span", { className: "cleaner-fact-value", textContent: label, title: label }),
        element("span", { textContent: percent(probability) }),
      ),
    );
    return [element("div", { className: "cleaner-alternatives", "aria-label": "Other probable labels" }, ...lines)];
  }

  // What the labels of an image look like: images that the model finds easiest.
  function typicalNodes(images) {
    return [...new Set(images.map((image) => image.label))].map((label) =>
      element(
        "div",
        { className: "cleaner-typical" },
        element("div", { className: "cleaner-fact-name", textContent: `typical ${label}` }),
        ...images.filter((image) => image.label === label).map((image) => imageNode(image.url, `typical ${label}`)),
      ),
    );
  }

  function drawLargeChooser(card) {
    const open = state.choosing?.path === card.path ? state.choosing : null;
    if (largeChooser.choosing === open) return;
    largeChooser.choosing = open;
    largeChooser.replaceChildren(...(open ? [chooserNode(card)] : []));
    if (open) largeChooser.querySelector("input").focus();
    else large.focus();
  }

  function decisionText(card) {
    const busy = isBusy(card.path);
    const by = card.reviewer ? ` by ${card.reviewer}` : "";
    const text = busy ? "saving …" : card.action ? `${said(card, card.given)}${by}` : "undecided";
    return element("div", { className: "cleaner-decision", role: "status", textContent: text });
  }

  // Keys and clicks. Each key is also a button.

  function toolNode(name) {
    const [text, key, run] = TOOLS[name];
    const node = element("button", { type: "button", textContent: text, title: `${key}: ${text}` });
    node.dataset.act = name;
    node.setAttribute("aria-keyshortcuts", key);
    // The grid keeps the focus, so that keys and mouse can take turns.
    node.addEventListener("mousedown", (event) => event.preventDefault());
    node.addEventListener("click", (event) => {
      run();
      if (event.detail > 0 && !large.open && !help.open && !state.choosing) focusCard();
    });
    return node;
  }

  function toolNodes() {
    const nodes = Object.fromEntries(Object.keys(TOOLS).filter((name) => !NOT_IN_BAR.includes(name)).map((name) => [name, toolNode(name)]));
    nodes.count = element("span", { className: "cleaner-selected", role: "status" });
    return nodes;
  }

  function selectNode(text, name, convert = String) {
    const select = element("select", { onchange: () => ask("filter", { [name]: convert(select.value) }), "aria-label": text });
    return element("label", {}, `${text} `, select);
  }

  function textNode(text, properties, take) {
    const input = element("input", { ...properties, autocomplete: "off", "aria-label": text });
    input.addEventListener("change", () => take(input.value));
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      // JupyterLab takes Enter for itself, and the field would never change.
      event.stopPropagation();
      event.preventDefault();
      input.blur();
    });
    return searchForm(element("label", {}, `${text} `, input));
  }

  // Chromium asks its maker's server how to fill in the fields of a page, but not those of a form that searches.
  function searchForm(...children) {
    return element("form", { action: "/search", onsubmit: (event) => event.preventDefault() }, ...children);
  }

  function helpNode() {
    const keys = KEYS.map(([key, what]) => [key, key in otherKeys ? otherKeys[key] : what]).filter(([, what]) => what);
    const rows = keys.map(([key, what]) => element("tr", {}, element("th", { scope: "row", textContent: key }), element("td", { textContent: what })));
    const close = element("button", { type: "button", textContent: "Close", onclick: () => help.close() });
    const title = element("h2", { textContent: "Keys, while the images have the focus" });
    return element("dialog", { className: "cleaner-help", "aria-label": "Keys", onclose: () => focusCard() }, title, element("table", {}, ...rows), close);
  }

  function move(by, extend = false) {
    ask("move", { by, extend: extend && !state.large });
  }

  function columns() {
    return state.large ? 1 : getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  }

  function onKey(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    const isButton = event.target.closest("button") !== null && ["Enter", " "].includes(event.key);
    const step = isButton ? undefined : { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -200, End: 200 }[event.key];
    const shift = event.shiftKey && event.key !== "?" ? "Shift+" : "";
    const name = { " ": "Space" }[event.key] ?? (event.key.length === 1 ? event.key.toUpperCase() : event.key);
    const tool = isButton ? undefined : Object.values(TOOLS).find(([, key]) => key === shift + name);
    if (step !== undefined) move(step, event.shiftKey);
    // A key that is held down decides once.
    else if (tool && !event.repeat) tool[2]();
    if (step === undefined && !tool) return;
    event.preventDefault();
    event.stopPropagation();
  }

  // What is scrolled to stands below the header, whose height depends on the window and on the notes in it.
  function measureHead() {
    const choices = el.closest(".cleaner-review")?.querySelector(".cleaner-choose");
    el.style.setProperty("--cleaner-head", `${head.offsetHeight + (choices?.offsetHeight ?? 0)}px`);
  }

  // A click between the controls keeps the keys: a notebook would take them, and delete its cell on two D.
  function keepKeys(event) {
    const app = el.closest(".cleaner-review") ?? el;
    const control = event.target.closest(CONTROLS);
    if (!app.contains(event.target) || (control && app.contains(control))) return;
    event.preventDefault();
    event.stopPropagation();
    takeKeys();
  }

  function onClick(event) {
    const path = event.target.closest(".cleaner-card")?.dataset.path;
    const mark = event.target.closest(".cleaner-select");
    if (path === undefined || (event.target.closest("button, .cleaner-chooser") && !mark)) return;
    const toggle = mark !== null || event.ctrlKey || event.metaKey;
    ask("point", { path, extend: event.shiftKey && !toggle, toggle });
    cardOf(path).focus({ preventScroll: true });
  }

  function onDoubleClick(event) {
    if (event.target.closest(".cleaner-picture") && state.at === event.target.closest(".cleaner-card").dataset.path) openLarge();
  }

  model.on("msg:custom", onMessage);
  ask("ready");
  const news = setInterval(askNews, NEWS_EVERY);
  document.addEventListener("visibilitychange", askNews);
  document.addEventListener("mousedown", keepKeys, { capture: true });
  const measured = new ResizeObserver(measureHead);
  measured.observe(head);
  return () => {
    measured.disconnect();
    document.removeEventListener("mousedown", keepKeys, { capture: true });
    clearInterval(news);
    document.removeEventListener("visibilitychange", askNews);
    model.off("msg:custom", onMessage);
    for (const { timer } of state.pending.values()) clearTimeout(timer);
  };
}

export default { render };
