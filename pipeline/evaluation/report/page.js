"use strict";
// Everything is put into the page as text, never as markup: what a document says cannot become part of the page.
const data = JSON.parse(document.getElementById("data").textContent);
const STEP = 200;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function shown(value, digits) {
  if (value === null || value === undefined) return "";
  return value.toFixed(digits === undefined ? digitsOf(value) : digits);
}

function digitsOf(value) {
  const size = Math.abs(value);
  return size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
}

// A table whose columns sort. A column is {title, hint, number, value(row), cell(row, td)}.
function sortable(table, columns, rows, onDraw) {
  const head = element("tr");
  let sorted = { column: null, isUp: true };
  columns.forEach((column) => {
    const th = element("th", null, column.number ? "number" : "");
    const button = element("button", column.title);
    if (column.hint) button.title = column.hint;
    button.addEventListener("click", () => {
      sorted = { column, isUp: sorted.column === column ? !sorted.isUp : !column.number };
      for (const other of head.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", sorted.isUp ? "ascending" : "descending");
      draw();
    });
    th.append(button);
    head.append(th);
  });
  const body = element("tbody");
  const thead = element("thead");
  thead.append(head);
  table.replaceChildren(thead, body);

  function order(one, other) {
    const a = sorted.column.value(one);
    const b = sorted.column.value(other);
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    return (a < b ? -1 : 1) * (sorted.isUp ? 1 : -1);
  }

  function draw() {
    const inOrder = sorted.column ? [...rows()].sort(order) : rows();
    onDraw(body, inOrder);
  }
  draw();
  return draw;
}

function cells(columns, row) {
  const tr = element("tr");
  for (const column of columns) {
    const td = element("td", null, column.number ? "number" : "");
    column.cell(row, td);
    tr.append(td);
  }
  return tr;
}

function runsTable() {
  const columns = [
    { title: "pipeline", value: (run) => run.name, cell: (run, td) => td.append(run.name) },
    ...data.metrics.map((metric) => ({
      title: metric.title,
      hint: metric.what,
      number: true,
      value: (run) => run.metrics[metric.name]?.mean,
      cell: (run, td) => {
        const found = run.metrics[metric.name];
        if (!found || found.mean === null) return td.append(element("span", "none", "soft"));
        td.append(shown(found.mean));
        if (found.low !== null) {
          td.append(element("br"), element("span", `${shown(found.low)} to ${shown(found.high)}`, "soft"));
        }
        td.append(element("br"), element("span", `n ${found.n}`, "soft"));
        if (found.n_missing) td.title = Object.entries(found.missing).map(([why, n]) => `${n}: ${why}`).join("\n");
      },
    })),
    {
      title: "failed", number: true, value: (run) => run.n_failed,
      cell: (run, td) => td.append(String(run.n_failed)),
    },
    {
      title: "peak MB", hint: "physical memory of the process, files mapped into it included", number: true,
      value: (run) => run.peak_memory_mb, cell: (run, td) => td.append(shown(run.peak_memory_mb, 0)),
    },
  ];
  sortable(document.getElementById("runs"), columns, () => data.runs, (body, runs) => {
    body.replaceChildren(...runs.map((run) => cells(columns, run)));
  });
}

function differencesTable() {
  const part = document.getElementById("differences-part");
  if (!data.differences.length) return part.remove();
  document.getElementById("first").textContent = data.runs[0].name;
  const number = (title, value, text) => ({ title, number: true, value, cell: (d, td) => td.append(text(d)) });
  const columns = [
    { title: "metric", value: (d) => d.title, cell: (d, td) => td.append(d.title) },
    { title: "pipeline", value: (d) => d.second, cell: (d, td) => td.append(d.second) },
    number("difference", (d) => d.difference, (d) => shown(d.difference)),
    number("95 % interval", (d) => d.low, (d) => (d.low === null ? "" : `${shown(d.low)} to ${shown(d.high)}`)),
    number("better / worse / same", (d) => d.wins - d.losses, (d) => `${d.wins} / ${d.losses} / ${d.ties}`),
    number("n", (d) => d.n, (d) => String(d.n)),
    {
      title: "in words", value: (d) => d.p_corrected,
      cell: (d, td) => {
        td.append(d.words);
        if (d.is_significant) td.className = d.is_better ? "better" : "worse";
      },
    },
  ];
  sortable(document.getElementById("differences"), columns, () => data.differences, (body, found) => {
    body.replaceChildren(...found.map((d) => cells(columns, d)));
  });
}

function questionsTable() {
  const table = document.getElementById("questions");
  const filter = document.getElementById("filter");
  const onlyDiffering = document.getElementById("differing");
  const more = document.getElementById("more");
  const quality = data.quality;
  let most = STEP;
  const columns = [
    { title: "question", value: (q) => q.text, cell: (q, td) => td.append(q.text) },
    { title: "known answer", value: (q) => q.gold.join("; "), cell: (q, td) => td.append(q.gold.join("; ")) },
    ...(quality ? data.runs : []).map((run, n) => ({
      title: `${run.name}: ${quality.title}`,
      number: true,
      value: (q) => q.quality[n],
      cell: (q, td) => td.append(q.quality[n] === null ? element("span", "none", "soft") : shown(q.quality[n], 2)),
    })),
  ];

  function matching() {
    const words = filter.value.toLowerCase();
    return data.questions.filter((q) => {
      const isFound = !words || `${q.id} ${q.text} ${q.gold.join(" ")}`.toLowerCase().includes(words);
      return isFound && (!onlyDiffering.checked || new Set(q.quality).size > 1);
    });
  }

  const draw = sortable(table, columns, matching, (body, found) => {
    body.replaceChildren(...found.slice(0, most).map((q) => {
      const tr = cells(columns, q);
      tr.className = "question";
      tr.tabIndex = 0;
      tr.addEventListener("click", () => toggle(tr, q, columns.length));
      tr.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(tr, q, columns.length); });
      return tr;
    }));
    document.getElementById("count").textContent = `${found.length} of ${data.questions.length} questions`;
    more.hidden = found.length <= most;
  });
  filter.addEventListener("input", () => { most = STEP; draw(); });
  onlyDiffering.addEventListener("change", () => { most = STEP; draw(); });
  more.addEventListener("click", () => { most += STEP; draw(); });
}

async function toggle(tr, question, width) {
  if (tr.classList.contains("open")) {
    tr.classList.remove("open");
    return tr.nextElementSibling.remove();
  }
  tr.classList.add("open");
  const row = element("tr");
  const td = element("td", null, "detail");
  td.colSpan = width;
  row.append(td);
  tr.after(row);
  const holder = document.getElementById(`q${question.n}`);
  if (!holder) return td.append(element("p", "The details of this question were left out of this file.", "soft"));
  try {
    detail(td, question, await unpacked(holder.textContent));
  } catch (error) {
    td.append(element("p", `The details cannot be unpacked: ${error}`, "error"));
  }
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function detail(td, question, methods) {
  td.append(element("p", `id ${question.id}`, "soft"));
  const known = question.gold.length ? question.gold.join("; ") : question.isAnswerable === false ? "there is no answer" : "none";
  td.append(element("p", `Known answer: ${known}. Text that supports it is marked.`));
  const side = element("div", null, "methods");
  methods.forEach((method, n) => side.append(methodOf(method, data.runs[n].name)));
  td.append(side);
}

function methodOf(method, name) {
  const box = element("div", null, "method");
  box.append(element("h3", name));
  if (!method) {
    box.append(element("p", "This pipeline has no record of the question.", "soft"));
    return box;
  }
  if (method.error) {
    box.append(element("p", `Failed in ${method.error.stage}: ${method.error.message}`, "error"));
    return box;
  }
  box.append(element("p", method.answer || "(nothing)", "answer"));
  if (method.is_abstention) box.append(element("p", `Not answered: ${method.why}.`, "soft"));
  if (method.unsupported.length) box.append(element("p", `Not in what it saw: ${method.unsupported.join(", ")}`, "error"));
  box.append(values(method));
  for (const citation of method.citations) box.append(quote(citation));
  box.append(folded(`Kept: ${method.shown.length} ${method.shown.length === 1 ? "passage" : "passages"}`, method.shown.map((one) => passage(one, `[${one.number}] ${one.source}`)), true));
  box.append(folded(`Dropped: ${method.dropped.length}`, method.dropped.map((one) => passage(one, `${one.stage}: ${one.why} (${one.tokens} tokens, ${one.source})`, "dropped")), false));
  box.append(folded("Account", [account(method)], false));
  return box;
}

function values(method) {
  const said = data.metrics.filter((m) => m.name in method.values).map((m) => `${m.title} ${shown(method.values[m.name])}`);
  const missing = data.metrics.filter((m) => m.name in method.missing).map((m) => `no ${m.title}: ${method.missing[m.name]}`);
  return element("p", [...said, ...missing].join(" · "), "soft");
}

function quote(citation) {
  const by = { model: "cited", match: "found by matching", attribution: "found by attribution", question: "near the question" }[citation.by];
  const box = element("p", null, "soft");
  box.append(`[${citation.number}] ${citation.quote === null ? "invalid: there is no such passage" : `${by}: “${citation.quote}”`}`);
  return box;
}

function passage(one, source, more) {
  const box = element("div", null, `passage ${more || ""}`);
  box.append(element("span", source, "source"));
  for (const [text, isGold] of one.text) box.append(isGold ? element("mark", text) : text);
  return box;
}

function folded(title, parts, isOpen) {
  const box = element("details");
  box.open = isOpen;
  box.append(element("summary", title), ...parts);
  return box;
}

function account(method) {
  const box = element("div");
  const table = element("table");
  const body = element("tbody");
  const head = element("thead");
  const row = element("tr");
  for (const [title, isNumber] of [["stage", 0], ["passages", 1], ["tokens", 1], ["seconds", 1]]) row.append(element("th", title, isNumber ? "number" : ""));
  head.append(row);
  for (const stage of method.stages) {
    const tr = element("tr");
    tr.append(element("td", stage.stage), element("td", `${stage.passages_in} → ${stage.passages_out}`, "number"),
      element("td", `${stage.tokens_in} → ${stage.tokens_out}`, "number"), element("td", stage.seconds.toFixed(3), "number"));
    body.append(tr);
  }
  table.append(head, body);
  box.append(table);
  const parts = Object.entries(method.parts).map(([part, tokens]) => `${part} ${tokens}`).join(" + ");
  if (parts) box.append(element("p", `prompt ${method.prompt_tokens} tokens = ${parts}; window ${method.window}, ${method.reserved} kept for the answer`, "soft"));
  if (method.generation) {
    const g = method.generation;
    box.append(element("p", `read ${g.prompt_tokens} tokens (${g.reused_tokens} reused) in ${g.prefill_s.toFixed(2)} s, wrote ${g.answer_tokens} in ${g.decode_s.toFixed(2)} s`, "soft"));
  }
  for (const note of method.notes) box.append(element("p", note, "soft"));
  return box;
}

document.getElementById("title").textContent = data.title;
for (const line of data.about) document.getElementById("about").append(element("p", line, "soft"));
for (const note of data.notes) document.getElementById("notes").append(element("p", note));
if (!document.querySelector("#plot img")) document.getElementById("plot").append(element("p", data.no_plot, "soft"));
runsTable();
differencesTable();
questionsTable();
