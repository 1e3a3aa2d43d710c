// The overview of a split. It keeps no truth of its own: `state` is what the kernel sent last and how the table is
// sorted, and the screen is drawn from `state`. The table of messages stands in overview.py. Text goes in by textContent.

// Of each column what it is called, what it is sorted by, and whether the highest comes first at the first click.
const COLUMNS = (rankedBy) => [
  ["name", "Class", (row) => row.name, false],
  ["scored", "Scored", (row) => row.scored, true],
  ["otherwise", "Predicted otherwise", (row) => (row.scored ? row.otherwise / row.scored : null), true],
  ["mean", `Mean ${rankedBy}`, (row) => row.mean, true],
  ["decided", "Decided of kept", (row) => (row.kept ? row.decided / row.kept : null), true],
];
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

function compare(one, other) {
  return typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other;
}

function render({ model, el }) {
  const rankedBy = model.get("ranked_by");
  const rankings = `${rankedBy.charAt(0).toUpperCase()}${rankedBy.slice(1)}${rankedBy.endsWith("s") ? "es" : "s"}`;
  const columns = COLUMNS(rankedBy);
  const state = {
    overview: null, // the last message of that kind
    open: { label: "", predicted: "", histogram: [], not_finite: 0 },
    pending: new Map(), // what was asked and is not answered: id -> timer
    error: "",
    sort: { by: "otherwise", down: true },
    row: 0, // which row of the table takes the focus
    cell: 0, // and which button of the matrix
  };
  // Several views of one overview hear each other's replies, so their ids must differ.
  let lastId = Math.floor(Math.random() * 2 ** 40);
  const bodyId = `cleaner-overview-${lastId}`;

  const fold = element("button", { type: "button", className: "cleaner-fold", onclick: toggle, "aria-controls": bodyId });
  const alert = element("div", { className: "cleaner-overview-alert", role: "alert", hidden: true });
  const head = element("tr");
  const rows = element("tbody", { onkeydown: onTableKey });
  const table = element("table", { className: "cleaner-classes" }, element("thead", {}, head), rows);
  const matrix = element("table", { className: "cleaner-matrix", onkeydown: onMatrixKey });
  const matrixTitle = element("h3");
  const leftOut = element("p");
  const bars = element("div", { className: "cleaner-bars", role: "img" });
  const edges = element("div", { className: "cleaner-edges", "aria-hidden": "true" });
  const barsTitle = element("h3");
  const barsNote = element("p");
  const body = element(
    "div",
    { className: "cleaner-overview-body", id: bodyId },
    element("div", { className: "cleaner-scroll cleaner-table" }, table),
    element(
      "div",
      { className: "cleaner-figures" },
      element("section", {}, matrixTitle, element("div", { className: "cleaner-scroll" }, matrix), leftOut),
      element("section", { className: "cleaner-losses" }, barsTitle, bars, edges, barsNote),
    ),
  );
  el.classList.add("cleaner", "cleaner-overview");
  el.append(fold, alert, body);

  // What is asked of the kernel. A dead kernel may refuse the message at once or never answer it.

  function ask(kind, fields = {}) {
    lastId += 1;
    const id = lastId;
    state.pending.set(id, setTimeout(() => giveUp(id), model.get("patience_ms")));
    try {
      model.send({ kind, id, ...fields });
    } catch (error) {
      console.error(error);
      giveUp(id);
    }
  }

  function settle(id) {
    clearTimeout(state.pending.get(id));
    state.pending.delete(id);
  }

  function giveUp(id) {
    settle(id);
    state.error = "No answer from the kernel. Reload the page; what is in the manifest is safe.";
    drawFold();
  }

  function open(label, predicted = "") {
    ask("open", { label, predicted });
  }

  function toggle() {
    model.set("unfolded", !model.get("unfolded"));
    model.save_changes();
  }

  function onFold() {
    drawFold();
    if (model.get("unfolded")) ask("ready");
  }

  // What the kernel says.

  const taken = {
    overview(message) {
      state.overview = message;
      state.open = message;
      state.row = state.cell = 0;
      drawAll();
    },
    news(message) {
      state.open = message;
      const changed = (row) => Object.hasOwn(message.decided, row.label);
      for (const row of state.overview?.classes ?? []) if (changed(row)) row.decided = message.decided[row.label];
      drawNews();
    },
    error(message) {
      state.error = message.message;
    },
  };

  function onMessage(message) {
    if (!Object.hasOwn(taken, message.kind)) return;
    settle(message.id);
    if (message.kind !== "error") state.error = "";
    taken[message.kind](message);
    drawFold();
  }

  // Drawing.

  function drawFold() {
    const unfolded = model.get("unfolded");
    fold.textContent = `${unfolded ? "▾" : "▸"} Overview${state.overview ? ` of ${state.overview.split}` : ""}`;
    fold.setAttribute("aria-expanded", String(unfolded));
    body.hidden = !unfolded;
    alert.hidden = state.error === "";
    alert.textContent = state.error;
  }

  function drawAll() {
    drawHead();
    drawRows();
    drawMatrix();
    drawBars();
  }

  function drawNews() {
    if (!state.overview) return;
    // The rows stay where they are: one that jumped away under the pointer would be missed.
    for (const node of rows.children) fillRow(node, state.overview.classes[Number(node.dataset.at)]);
    markCells();
    drawBars();
  }

  function drawHead() {
    const focused = [...head.children].findIndex((node) => node.contains(document.activeElement));
    head.replaceChildren(
      ...columns.map(([key, title]) => {
        const mine = state.sort.by === key;
        const sign = mine ? (state.sort.down ? " ▼" : " ▲") : "";
        const button = element("button", { type: "button", textContent: title + sign, onclick: () => sortBy(key) });
        const node = element("th", { scope: "col" }, button);
        if (mine) node.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
        return node;
      }),
    );
    if (focused >= 0) head.children[focused].firstChild.focus();
  }

  function sortBy(key) {
    const highest = columns.find(([name]) => name === key)[3];
    state.sort = { by: key, down: state.sort.by === key ? !state.sort.down : highest };
    state.row = 0;
    drawHead();
    drawRows();
  }

  // The numbers of the classes in the order of the table; what is not known comes last either way.
  function sorted() {
    const value = columns.find(([name]) => name === state.sort.by)[2];
    const classes = state.overview.classes;
    const sign = state.sort.down ? -1 : 1;
    const order = (one, other) => {
      const [first, second] = [value(classes[one]), value(classes[other])];
      if (first === null || second === null) return (first === null) - (second === null) || one - other;
      return sign * compare(first, second) || (classes[other].mean ?? -1) - (classes[one].mean ?? -1) || one - other;
    };
    return [...classes.keys()].sort(order);
  }

  function drawRows() {
    rows.replaceChildren(...sorted().map((at, place) => rowNode(at, place)));
    table.setAttribute("aria-label", `Classes of ${state.overview.split}`);
  }

  function rowNode(at, place) {
    const row = state.overview.classes[at];
    const button = element("button", { type: "button", textContent: row.name, title: row.name });
    button.tabIndex = place === state.row ? 0 : -1;
    const node = element("tr", { onclick: () => open(row.label) });
    node.append(element("th", { scope: "row" }, button), ...columns.slice(1).map(() => element("td")));
    node.dataset.at = at;
    node.dataset.label = row.label;
    fillRow(node, row);
    return node;
  }

  function fillRow(node, row) {
    const share = row.scored ? ` (${Math.round((100 * row.otherwise) / row.scored)} %)` : "";
    const texts = [row.scored ?? "–", `${row.otherwise ?? "–"}${share}`, row.mean?.toFixed(3) ?? "–"];
    texts.push(`${row.decided} of ${row.kept}`);
    texts.forEach((text, column) => {
      const cell = node.children[column + 1];
      if (cell.textContent !== String(text)) cell.textContent = text;
    });
    node.firstChild.firstChild.setAttribute("aria-current", String(row.label === state.open.label));
  }

  function onTableKey(event) {
    const last = rows.children.length - 1;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -last, End: last }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    rows.children[state.row].querySelector("button").tabIndex = -1;
    state.row = Math.min(Math.max(state.row + by, 0), last);
    const button = rows.children[state.row].querySelector("button");
    button.tabIndex = 0;
    button.focus();
  }

  function drawMatrix() {
    const { labels, cells, left_out: left } = state.overview.matrix;
    const most = Math.max(1, ...cells.filter(([given, other]) => given !== other).map(([, , count]) => count));
    const at = new Map(cells.map((cell) => [`${cell[0]} ${cell[1]}`, cell]));
    const heads = labels.map((label) => element("th", { scope: "col", title: label }, element("span", { textContent: label })));
    const corner = element("td", { className: "cleaner-corner", textContent: "given ↓ predicted →" });
    const lines = labels.map((label, given) =>
      element(
        "tr",
        {},
        element("th", { scope: "row", textContent: label, title: label }),
        ...labels.map((_, other) => cellNode(labels, at.get(`${given} ${other}`), most)),
      ),
    );
    matrix.replaceChildren(element("thead", {}, element("tr", {}, corner, ...heads)), element("tbody", {}, ...lines));
    const all = state.overview.classes.filter((row) => row.scored !== null).length <= labels.length;
    matrixTitle.textContent = all ? "Given and predicted" : `Given and predicted: the ${labels.length} most confused`;
    matrix.setAttribute("aria-label", matrixTitle.textContent);
    leftOut.textContent = left ? `${left} wrong predictions are of other pairs.` : "";
    markCells();
  }

  function cellNode(labels, cell, most) {
    if (!cell) return element("td");
    const [given, other, count, kept] = cell;
    const text = `given ${labels[given]}, predicted ${labels[other]}: ${count}, of which ${kept} are kept`;
    const button = element("button", { type: "button", textContent: count, title: text, "aria-label": text });
    button.dataset.given = labels[given];
    button.dataset.predicted = labels[other];
    button.addEventListener("click", () => open(labels[given], labels[other]));
    // Never so dark that the number on it could not be read.
    if (given !== other) button.style.setProperty("--heat", `${Math.round(8 + 37 * Math.sqrt(count / most))}%`);
    return element("td", {}, button);
  }

  function cellButtons() {
    return [...matrix.querySelectorAll("button")];
  }

  function markCells() {
    cellButtons().forEach((button, number) => {
      const { given, predicted } = button.dataset;
      button.tabIndex = number === state.cell ? 0 : -1;
      button.setAttribute("aria-current", String(given === state.open.label && predicted === state.open.predicted));
    });
  }

  function onMatrixKey(event) {
    const next = nextCell(event);
    if (event.key.startsWith("Arrow")) event.preventDefault();
    if (!next) return;
    state.cell = cellButtons().indexOf(next);
    markCells();
    next.focus();
  }

  // The nearest cell with a count in the direction of the arrow.
  function nextCell(event) {
    const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const cell = event.target.closest("td");
    if (!by || !cell) return null;
    const lines = [...matrix.tBodies[0].rows];
    let [line, column] = [lines.indexOf(cell.parentNode) + by[0], cell.cellIndex + by[1]];
    for (; lines[line]?.cells[column]; line += by[0], column += by[1]) {
      const button = lines[line].cells[column].querySelector("button");
      if (button) return button;
    }
    return null;
  }

  function drawBars() {
    const { histogram, not_finite: notFinite, label } = state.open;
    const name = state.overview.classes.find((row) => row.label === label)?.name ?? label;
    const bounds = state.overview.edges;
    const most = Math.max(1, ...histogram);
    const range = (bin) => {
      if (bin === 0) return `below ${bounds[0]}`;
      return bin === bounds.length ? `${bounds[bin - 1]} and more` : `${bounds[bin - 1]} to ${bounds[bin]}`;
    };
    const texts = histogram.map((count, bin) => `${range(bin)}: ${count}`);
    const said = texts.filter((_, bin) => histogram[bin] > 0).join("; ");
    barsTitle.textContent = `${rankings} of ${name}`;
    bars.setAttribute("aria-label", `${rankings} of ${name}: ${said || "none"}`);
    bars.replaceChildren(...histogram.map((count, bin) => barNode(count / most, texts[bin])));
    edges.replaceChildren(...(histogram.length ? bounds : []).map((edge) => element("span", { textContent: String(edge).replace(/^0/, "") })));
    barsNote.textContent = histogram.length ? (notFinite ? `${notFinite} are not finite.` : "") : unknown(label);
  }

  function unknown(label) {
    const scored = state.overview.classes.find((row) => row.label === label)?.scored;
    return scored ? "This scan says nothing of them; a new scan of the dataset does." : "No sample of it was scored.";
  }

  function barNode(share, title) {
    const bar = element("span", { title }, element("span"));
    bar.firstChild.style.height = `${share > 0 ? Math.max(2, 100 * share) : 0}%`;
    return bar;
  }

  model.on("msg:custom", onMessage);
  model.on("change:unfolded", onFold);
  drawFold();
  ask("ready");
  return () => {
    model.off("msg:custom", onMessage);
    model.off("change:unfolded", onFold);
    for (const timer of state.pending.values()) clearTimeout(timer);
  };
}

export default { render };
