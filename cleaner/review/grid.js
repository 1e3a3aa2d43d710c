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
  const state = { page: null, cards: new Map(), busy: new Map(), urls: new Map(), error: "", choosing: null };
  let lastId = 0;

  const alert = element("div", { className: "cleaner-alert", role: "alert", hidden: true });
  const place = element("span", { className: "cleaner-place" });
  const counts = element("span", { className: "cleaner-counts", "aria-live": "polite" });
  const previous = element("button", { type: "button", textContent: "‹ Previous", onclick: () => turn(-1) });
  const next = element("button", { type: "button", textContent: "Next ›", onclick: () => turn(1) });
  const grid = element("div", { className: "cleaner-grid", role: "list", "aria-label": "Images, highest loss first" });
  el.classList.add("cleaner");
  el.append(element("div", { className: "cleaner-bar" }, previous, next, place, counts), alert, grid);

  function ask(kind, fields = {}) {
    lastId += 1;
    model.send({ kind, id: lastId, ...fields });
    return lastId;
  }

  function turn(by) {
    if (state.page) ask("turn", { page: state.page.page + by });
  }

  function decide(path, action, newLabel) {
    state.choosing = null;
    state.busy.set(path, ask("decide", { path, action, ...(newLabel === undefined ? {} : { new_label: newLabel }) }));
    drawCard(path);
  }

  // What the kernel says.

  const taken = {
    page(message, buffers) {
      for (const url of state.urls.values()) URL.revokeObjectURL(url);
      state.urls.clear();
      state.cards.clear();
      state.busy.clear();
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
    },
    card(message) {
      state.error = "";
      state.page.counts = message.counts;
      update(message.card, message.id);
    },
    error(message) {
      state.error = message.message;
      if (message.card) update(message.card, message.id);
    },
  };

  function update(card, id) {
    if (state.busy.get(card.path) === id) state.busy.delete(card.path);
    const shown = state.cards.get(card.path);
    if (!shown) return;
    state.cards.set(card.path, { ...card, error: shown.error });
    drawCard(card.path);
  }

  function onMessage(message, buffers) {
    if (!Object.hasOwn(taken, message.kind)) return;
    taken[message.kind](message, buffers);
    drawBar();
  }

  // Drawing.

  function drawBar() {
    const page = state.page;
    alert.hidden = state.error === "";
    alert.textContent = state.error;
    if (!page) return;
    previous.disabled = page.page === 0;
    next.disabled = page.page + 1 >= page.pages;
    place.textContent = `${page.split} / ${page.label} · page ${page.page + 1} of ${page.pages}`;
    const { decided, kept, scan_decided, scan_kept } = page.counts;
    counts.textContent = `${decided} of ${kept} decided in this class · ${scan_decided} of ${scan_kept} in the scan`;
  }

  function drawPage() {
    grid.replaceChildren(...[...state.cards.values()].map(cardNode));
    if (state.cards.size === 0) grid.append(element("p", { textContent: "No image was kept of this class." }));
  }

  function drawCard(path) {
    const old = [...grid.children].find((node) => node.dataset.path === path);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
    const node = cardNode(state.cards.get(path));
    old.replaceWith(node);
    if (state.choosing === path) node.querySelector("input").focus();
    else if (focused) node.querySelector(`button[data-action="${focused}"]`)?.focus();
  }

  function cardNode(card) {
    const busy = state.busy.has(card.path);
    const node = element(
      "div",
      { className: "cleaner-card", role: "listitem", "aria-busy": String(busy) },
      pictureNode(card),
      element("div", { className: "cleaner-name", textContent: card.name, title: card.path }),
      factNode("given", card.label),
      factNode("predicted", card.predicted, percent(card.confidence)),
      factNode("loss", card.loss),
      decisionNode(card, busy),
      element("div", { className: "cleaner-actions" }, ...ACTIONS.map((action) => actionNode(card, ...action))),
    );
    node.dataset.path = card.path;
    node.dataset.decision = card.action;
    if (state.choosing === card.path) node.append(chooserNode(card));
    return node;
  }

  function factNode(name, value, beside = "") {
    return element(
      "div",
      { className: "cleaner-fact" },
      element("span", { className: "cleaner-fact-name", textContent: name }),
      element("span", { className: "cleaner-fact-value", textContent: value, title: value }),
      element("span", { textContent: beside }),
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
      const text = card.action === "relabel" ? `${sign} ${card.new_label}` : `${sign} ${word}`;
      const by = card.reviewer ? `${word} by ${card.reviewer}` : word;
      node.append(element("span", { textContent: text, title: by }), buttonNode(card, "undo", "Undo"));
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
    node.disabled = state.busy.has(card.path);
    node.addEventListener("click", () => (action === "relabel" ? choose(card.path) : decide(card.path, action)));
    return node;
  }

  // Choosing another label.

  function choose(path) {
    const before = state.choosing;
    state.choosing = before === path ? null : path;
    if (before !== null && before !== path) drawCard(before);
    drawCard(path);
  }

  function choices(card, typed) {
    const wanted = typed.trim().toLowerCase();
    const others = model.get("vocab").filter((label) => label !== card.label && label !== card.predicted);
    const ordered = card.predicted === card.label ? others : [card.predicted, ...others];
    return ordered.filter((label) => label.toLowerCase().includes(wanted));
  }

  function chooserNode(card) {
    const list = element("div", { className: "cleaner-choices", role: "group", "aria-label": "Labels" });
    const input = element("input", {
      type: "text",
      placeholder: "type to find a label",
      "aria-label": `New label of ${card.name}`,
      oninput: fill,
      onkeydown(event) {
        const [first] = choices(card, input.value);
        if (event.key === "Enter" && first !== undefined) decide(card.path, "relabel", first);
        else if (event.key === "Escape") choose(card.path);
        else return;
        event.preventDefault();
      },
    });
    function fill() {
      const found = choices(card, input.value);
      list.replaceChildren(...found.slice(0, SHOWN_CHOICES).map(choiceNode));
      const left = found.length - SHOWN_CHOICES;
      if (left > 0) list.append(element("p", { textContent: `and ${left} more: type to find them` }));
      if (found.length === 0) list.append(element("p", { textContent: "no such label" }));
    }
    function choiceNode(label) {
      const suggested = label === card.predicted ? `${label} (predicted)` : label;
      const node = element("button", { type: "button", textContent: suggested, title: label });
      node.dataset.label = label;
      node.addEventListener("click", () => decide(card.path, "relabel", label));
      return node;
    }
    fill();
    const cancel = element("button", { type: "button", textContent: "Cancel", onclick: () => choose(card.path) });
    return element("div", { className: "cleaner-chooser" }, input, list, cancel);
  }

  model.on("msg:custom", onMessage);
  ask("ready");
  return () => {
    model.off("msg:custom", onMessage);
    for (const url of state.urls.values()) URL.revokeObjectURL(url);
  };
}

export default { render };
