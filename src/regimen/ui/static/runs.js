// The table of runs: AG Grid over /api/rows, whose server filters and sorts. Cells are made of text nodes.
window.regimenRuns = (() => {
  const DEBOUNCE_MS = 30, LOOK_MS = 2000;
  let api = null, tones = {}, filter = "", prefetched = null, version = null;
  const element = (id) => document.getElementById(id);

  function start(data) {
    tones = data.tones;
    filter = data.filter;
    version = data.version;
  }

  function columns() {
    return api.getColumns().filter((c) => c.isVisible()).map((c) => c.getColId()).filter((key) => !key.startsWith("ag-Grid"));
  }

  function sort() {
    const state = api.getColumnState().filter((c) => c.sort).sort((a, b) => a.sortIndex - b.sortIndex);
    return state.map((c) => (c.sort === "desc" ? "-" : "") + api.getColumn(c.colId).getColDef().context.sort).join(",");
  }

  function address(text, first, end) {
    return "/api/rows?" + new URLSearchParams({ filter: text, sort: sort(), columns: columns().join(","), start: first, end });
  }

  async function ask(text, first, end) {
    const response = await fetch(address(text, first, end));
    if (!response.ok) throw new Error(`${response.status}`);
    return response.json();
  }

  function describe(data) {
    const chosen = data.count.toLocaleString("en"), total = data.total.toLocaleString("en");
    element("count").textContent = data.count === data.total ? `${total} runs` : `${chosen} of ${total} runs`;
    element("hint").textContent = data.problem || data.hints.join(" ");
  }

  const datasource = {
    async getRows(parameters) {
      const text = filter, wanted = address(text, parameters.startRow, parameters.endRow);
      try {
        const data = prefetched?.address === wanted ? prefetched.data : await ask(text, parameters.startRow, parameters.endRow);
        prefetched = null;
        if (!data.problem && text === filter) describe(data);  // a late answer to an earlier filter describes nothing
        parameters.successCallback(data.rows, data.count);
        if (data.count === 0) api.showNoRowsOverlay(); else api.hideOverlay();
      } catch (error) {
        element("hint").textContent = "The server does not answer.";
        parameters.failCallback();
      }
    },
  };

  let timer = 0, asked = 0;
  function typed() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const text = element("filter").value.trim(), mine = ++asked;
      const data = await ask(text, 0, 100).catch(() => null);
      if (!data || mine !== asked) return;
      describe(data);
      if (data.problem) return;  // the rows of the last whole filter stay
      filter = text;
      prefetched = { address: address(text, 0, 100), data };
      window.regimenAddress("filter", text);
      api.setGridOption("infiniteInitialRowCount", Math.max(1, data.count));
      api.purgeInfiniteCache();
      api.ensureIndexVisible(0);
    }, DEBOUNCE_MS);
  }

  function ready(event) {
    api = event.api;
    window.regimenGrid = api;
    const field = element("filter");
    field.addEventListener("input", typed);
    element("compare").addEventListener("click", () => {
      const ids = api.getSelectedNodes().map((node) => node.id);
      location.href = "/compare?" + new URLSearchParams({ runs: ids.join(",") });
    });
    element("columns").addEventListener("change", (event) => {
      api.setColumnsVisible([event.target.value], event.target.checked);
      window.regimenAddress("columns", columns().join(","));
      api.refreshInfiniteCache();
    });
    document.addEventListener("click", (event) => {
      if (!element("columns")?.contains(event.target)) element("columns")?.removeAttribute("open");
    });
    setInterval(look, LOOK_MS);
  }

  async function look() {
    if (document.hidden || !api || api.isDestroyed()) return;
    const state = await fetch("/api/state").then((r) => (r.ok ? r.json() : null)).catch(() => null);
    if (!state) return;
    const changed = state.version !== version;
    version = state.version;
    if (changed || state.live) api.refreshInfiniteCache();
  }

  function selected() {
    const count = api.getSelectedNodes().length;
    element("compare").disabled = count < 2;
    element("compare").textContent = count ? `Compare ${count}` : "Compare";
  }

  function sorted() {
    window.regimenAddress("sort", sort());
  }

  function shown() {
    element("first")?.remove();
    performance.mark("regimen-table");
  }

  function link(value, id) {
    const anchor = document.createElement("a");
    anchor.href = "/run/" + encodeURIComponent(id);
    anchor.textContent = value ?? "";
    return anchor;
  }

  const cells = {
    id: (p) => (p.data ? link(p.value, p.data.id) : ""),
    name: (p) => (p.data ? link(p.value, p.data.id) : ""),
    status(p) {
      const mark = document.createElement("span");
      if (!p.data) return mark;
      mark.className = "status " + (tones[p.value] || "quiet");
      mark.textContent = p.value;
      return mark;
    },
    tags(p) {
      const all = document.createElement("span");
      for (const word of (p.value || "").split(" ").filter(Boolean)) {
        const tag = document.createElement("span");
        tag.className = "tag";
        tag.textContent = word;
        all.append(tag);
      }
      if (p.data && !p.value) { all.className = "soft"; all.textContent = "+"; }
      return all;
    },
    notes(p) {
      const count = document.createElement("span");
      count.textContent = p.value || (p.data ? "+" : "");
      if (!p.value) count.className = "soft";
      return count;
    },
  };

  return { start, datasource, ready, selected, sorted, shown, cells, id: (p) => p.data.id };
})();
