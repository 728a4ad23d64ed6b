/* The page: uploads, states, results, comparisons. Names and messages are only ever text, never HTML. */
"use strict";
(function () {
  const card = JSON.parse(document.getElementById("card").textContent);
  const by = (id) => document.getElementById(id);
  const form = by("form"), input = by("files"), drop = by("drop"), messages = by("messages"), jobs = by("jobs");
  const KEEP = "meshops-jobs", MOST_SCENES = 6, AGAIN = 4000;
  let chosen = [], known = [], picked = [], scenes = [];

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "on") { for (const [event, act] of Object.entries(value)) { node.addEventListener(event, act); } }
      else if (value === true) { node.setAttribute(name, ""); }
      else if (value !== false && value !== null) { node.setAttribute(name, value); }
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }
  const sizeText = (n) => n >= 1e9 ? (n / 1e9).toPrecision(3) + " GB" : n >= 1e6 ? (n / 1e6).toPrecision(3) + " MB"
    : n >= 1e3 ? (n / 1e3).toPrecision(3) + " kB" : n + " bytes";
  const pause = (time) => new Promise((done) => setTimeout(done, time));
  const tell = (text) => { by("told").textContent = text; };

  function complain(text) {
    const line = make("div", { class: "message" }, make("span", {}, text));
    line.append(make("button", { type: "button", class: "plain", "aria-label": "Close this message", on: { click: () => line.remove() } }, "✕"));
    messages.append(line);
  }

  // ---- files that are chosen

  function problem(file) {
    const name = file.name.toLowerCase();
    if (!card.endings.some((end) => name.endsWith(end) && name.length > end.length)) {
      return /\.(zip|gz|bz2|xz|zst|7z|rar|tar|tgz)$/.test(name)
        ? file.name + ": archives are not unpacked; unpack it and choose the mesh file in it"
        : file.name + ": such files are not taken; taken are " + card.endings.join(", ");
    }
    if (file.size === 0) { return file.name + ": the file is empty (0 bytes); export or copy it again"; }
    if (file.size > card.largest) {
      return file.name + ": " + sizeText(file.size) + " are more than the " + card.largest_text + " this server takes; give a coarser mesh";
    }
    return "";
  }
  function choose(files) {
    messages.replaceChildren();
    for (const file of files) {
      const why = problem(file);
      if (why) { complain(why); } else { chosen.push(file); }
    }
    showChosen();
  }
  function showChosen() {
    by("chosen").replaceChildren(...chosen.map((file, n) => make("li", {}, file.name + " (" + sizeText(file.size) + ")",
      make("button", { type: "button", class: "plain", "aria-label": "Do not predict " + file.name, on: { click: () => { chosen.splice(n, 1); showChosen(); input.focus(); } } }, "✕"))));
    by("send").textContent = chosen.length > 1 ? "Predict " + chosen.length + " meshes" : "Predict";
  }
  input.addEventListener("change", () => { choose(input.files); input.value = ""; });
  for (const event of ["dragenter", "dragover"]) { drop.addEventListener(event, (e) => { e.preventDefault(); drop.classList.add("over"); }); }
  for (const event of ["dragleave", "drop"]) { drop.addEventListener(event, () => drop.classList.remove("over")); }
  drop.addEventListener("drop", (e) => { e.preventDefault(); choose(e.dataTransfer.files); });
  for (const event of ["dragover", "drop"]) { window.addEventListener(event, (e) => e.preventDefault()); }

  // ---- sending

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    messages.replaceChildren();
    if (!chosen.length && card.mesh) { complain("There is no file; choose a mesh, such as an STL or VTP file."); input.focus(); return; }
    const asked = [];
    for (const field of form.querySelectorAll("[name=condition]")) {
      const text = field.value.trim().replace(",", ".");
      if (!text) { continue; }
      if (!Number.isFinite(Number(text))) { complain(field.dataset.name + " must be a number, got '" + field.value + "'"); field.focus(); return; }
      asked.push(["condition", field.dataset.name + "=" + text]);
    }
    for (const name of ["scale", "region", "level"]) { if (by(name).value.trim()) { asked.push([name, by(name).value.trim()]); } }
    const files = chosen.length ? chosen : [null];
    chosen = [];
    showChosen();
    files.map((file) => prepared(file, asked)).reduce((before, start) => before.then(start), Promise.resolve());
  });

  /* A card for a file that waits to be sent; returns what sends it. */
  function prepared(file, asked) {
    const job = { id: "", kind: "prediction", name: file ? file.name : "mesh of the training", file: file, gone: false };
    addCard(job);
    state(job, "waits to be sent");
    return async function () {
      while (!job.gone) {
        const answer = await sent(job, asked);
        if (job.gone) { return; }
        if (answer.code === 202) { job.id = answer.body.id; remember(job); update(job, answer.body); follow(job); return; }
        if (answer.code !== 503) { failed(job, answer.body.error || "the server did not answer; is it still running?"); return; }
        state(job, "the server is busy; trying again");
        await pause(AGAIN);
      }
    };
  }
  function sent(job, asked) {
    return new Promise((done) => {
      const data = new FormData(), request = new XMLHttpRequest();
      for (const [name, value] of asked) { data.append(name, value); }
      if (job.file) { data.append("file", job.file, job.file.name); } else { data.append("file", ""); }
      job.request = request;
      request.open("POST", "/predictions");
      request.upload.addEventListener("progress", (e) => { if (e.lengthComputable) { state(job, "sending", e.loaded / e.total); } });
      request.addEventListener("loadend", () => {
        let body = {};
        try { body = JSON.parse(request.responseText); } catch { /* an answer that is cut off */ }
        done({ code: request.status, body: body });
      });
      request.send(data);
    });
  }

  // ---- states

  function remember(job) {
    known = known.filter((other) => other.id !== job.id).concat({ id: job.id, kind: job.kind, name: job.name, designs: job.designs });
    save();
  }
  function save() { try { sessionStorage.setItem(KEEP, JSON.stringify(known)); } catch { /* private windows */ } }
  const address = (job) => "/" + job.kind + "s/" + job.id;

  async function follow(job) {
    const begun = Date.now();
    while (!job.gone) {
      await pause(Date.now() - begun < 60000 ? 600 : 2000);
      let answer;
      try { answer = await fetch(address(job)); } catch { state(job, "the server does not answer; trying again"); await pause(AGAIN); continue; }
      const body = await answer.json().catch(() => ({}));
      if (job.gone) { return; }
      if (!answer.ok) { failed(job, body.error || "the server failed"); forget(job); return; }
      if (update(job, body)) { return; }
    }
  }
  /* Show a state; true when it is the last. */
  function update(job, status) {
    if (status.state === "waiting") { state(job, status.before ? "waits; " + status.before + " before it" : "waits"); }
    if (status.state === "running") { state(job, (job.kind === "comparison" ? "comparing, " : "predicting, ") + status.seconds.toFixed(0) + " s", status.progress || null); }
    if (status.state === "failed") { failed(job, status.error); }
    if (status.state === "done") { finished(job, status); }
    return status.state === "failed" || status.state === "done";
  }
  function addCard(job) {
    by("empty").hidden = true;
    job.state = make("span", { class: "state" });
    job.bar = make("progress", { "aria-label": "Progress of " + job.name });
    job.body = make("div", {});
    job.acts = make("div", { class: "acts" });
    job.acts.append(make("button", { type: "button", "aria-label": "Remove " + job.name, on: { click: () => remove(job) } }, "Remove"));
    job.node = make("article", { class: "job card", tabindex: "-1", "aria-label": job.name },
      make("header", {}, make("h3", {}, job.name), job.state, job.acts), job.bar, job.body);
    jobs.prepend(job.node);
  }
  function state(job, text, share) {
    job.state.textContent = text;
    if (typeof share === "number") { job.bar.value = share; } else { job.bar.removeAttribute("value"); }
  }
  function failed(job, text) {
    job.bar.remove();
    job.state.textContent = "not " + (job.kind === "comparison" ? "compared" : "predicted");
    job.body.replaceChildren(make("p", { class: "why", role: "alert" }, text));
  }
  function forget(job) { known = known.filter((other) => other.id !== job.id); save(); }
  function remove(job) {
    job.gone = true;
    if (job.request) { job.request.abort(); }
    if (job.id) { fetch(address(job), { method: "DELETE" }).catch(() => {}); }
    forget(job);
    picked = picked.filter((other) => other !== job);
    showPicked();
    scenes = scenes.filter((other) => !job.node.contains(other.place));
    job.node.remove();
    by("empty").hidden = jobs.children.length > 0;
    input.focus();
  }

  // ---- results

  async function finished(job, status) {
    let view;
    try { view = await (await fetch(address(job) + "/view")).json(); } catch { failed(job, "the result cannot be read; the server may have stopped"); return; }
    job.bar.remove();
    job.state.textContent = view.subtitle && job.kind === "prediction" ? view.subtitle : "done in " + status.seconds.toFixed(0) + " s";
    job.body.replaceChildren();
    const add = (node) => { if (node) { job.body.append(node); } };
    add(verdict(view));
    if (view.summary.length) { add(make("dl", { class: "summary" }, ...view.summary.map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value))))); }
    if (view.scene) { add(make("div", { class: "scenes" }, sceneOf(address(job) + "/scene", job.name))); }
    if (job.designs) { add(make("div", { class: "scenes two" }, ...job.designs.map((d) => sceneOf("/predictions/" + d.id + "/scene", d.name)))); }
    if (view.warnings.length) { add(make("section", { class: "warnings" }, make("h2", {}, "Changed or assumed about the input"), make("ul", {}, ...view.warnings.map((line) => make("li", {}, line))))); }
    for (const table of view.tables.slice(0, job.kind === "comparison" ? 2 : 0)) { add(tableOf(table)); }
    const rest = job.kind === "comparison" ? view.tables.slice(2) : view.tables;
    if (rest.length) { add(make("details", {}, make("summary", {}, "Tables"), ...rest.map(tableOf))); }
    if (view.pictures.length) { add(pictures(job, view)); }
    add(downloads(status));
    if (job.kind === "prediction" && !card.compares && job.name !== "mesh of the training") { job.acts.prepend(pick(job)); }
    tell(job.name + ": " + (view.verdict ? view.verdict.title : "done"));
  }
  function verdict(view) {
    if (!view.verdict) { return null; }
    const marks = { inside: "✓", edge: "!", outside: "✕", close: "≈" }, level = view.verdict.level;
    return make("div", { class: "verdict " + (level === "close" ? "edge" : level), role: "note" },
      make("div", { class: "mark", "aria-hidden": "true" }, make("span", {}, marks[level])),
      make("div", {}, make("strong", {}, view.verdict.title), view.verdict.sentences ? make("ul", {}, ...view.verdict.sentences.map((line) => make("li", {}, line))) : make("p", {}, view.verdict.sentence)));
  }
  function tableOf(table) {
    const cell = (value, n) => n ? make("td", { class: table.numeric[n] ? (value.length > 20 ? "num wide" : "num") : value.length > 40 ? "long" : null }, value) : make("th", { scope: "row" }, value);
    return make("div", {}, make("h4", {}, table.title), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": table.title },
      make("table", {}, make("thead", {}, make("tr", {}, ...table.columns.map((c, n) => make("th", { scope: "col", class: n && table.numeric[n] ? "num" : null }, c)))),
        make("tbody", {}, ...table.rows.map((row) => make("tr", {}, ...row.map(cell)))))));
  }
  function pictures(job, view) {
    return make("details", { open: !view.scene && job.kind === "prediction" }, make("summary", {}, "Pictures"),
      make("div", { class: "pictures" }, ...view.pictures.map((p) => make("figure", {},
        make("img", { src: address(job) + "/files/" + encodeURIComponent(p.name) + "?inline=true", alt: p.caption, loading: "lazy" }), make("figcaption", {}, p.caption)))));
  }
  function downloads(status) {
    const name = (link) => decodeURIComponent(link.split("/").pop());
    const whole = status.files.filter((link) => link.endsWith(".zip")), one = status.files.filter((link) => !link.endsWith(".zip") && !link.endsWith(".png"));
    const report = one.filter((link) => link.endsWith(".html"));
    return make("div", {}, make("h4", {}, "Files"), make("ul", { class: "downloads" },
      ...report.map((link) => make("li", {}, make("a", { href: link + "?inline=true", target: "_blank", rel: "noopener" }, "Open the report"))),
      ...one.map((link) => make("li", {}, make("a", { href: link, download: name(link) }, name(link)))),
      ...whole.map((link) => make("li", {}, make("a", { href: link, download: name(link) }, "Everything (" + name(link) + ")")))));
  }
  /* Browsers draw a few scenes at a time: the oldest becomes a button. */
  function sceneOf(link, name) {
    const place = make("figure", {}), item = { place: place };
    function open() {
      place.replaceChildren(make("figcaption", {}, name), make("iframe", { src: link, title: "Interactive 3-D scene of " + name, sandbox: "allow-scripts allow-downloads" }));
      scenes = scenes.filter((other) => other !== item).concat(item);
      if (scenes.length > MOST_SCENES) { scenes.shift().close(); }
    }
    item.close = () => place.replaceChildren(make("button", { type: "button", on: { click: open } }, "Show " + name + " in 3-D"));
    open();
    return place;
  }

  // ---- comparing

  function pick(job) {
    const box = make("input", { type: "checkbox", "aria-label": "Compare " + job.name, on: { change: () => { picked = picked.filter((other) => other !== job).concat(box.checked ? [job] : []); showPicked(); } } });
    job.box = box;
    return make("label", { class: "pick" }, box, "compare");
  }
  function showPicked() {
    by("bar").hidden = picked.length === 0;
    by("compare").disabled = picked.length < 2;
    by("picked").textContent = picked.length === 1 ? "Choose another design" : picked.length + " designs";
  }
  by("compare").addEventListener("click", async () => {
    const designs = picked.map((job) => ({ id: job.id, name: job.name }));
    const job = { id: "", kind: "comparison", name: designs.map((d) => d.name).join(" and "), designs: designs, gone: false };
    picked.forEach((other) => { other.box.checked = false; });
    picked = [];
    showPicked();
    addCard(job);
    state(job, "waits");
    job.node.focus();
    try {
      const level = by("level").value.trim().replace(",", ".");
      const content = { predictions: designs.map((d) => d.id), level: level ? Number(level) : null };
      const answer = await fetch("/comparisons", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
      const body = await answer.json();
      if (!answer.ok) { failed(job, body.error); return; }
      job.id = body.id;
      remember(job);
      update(job, body);
      follow(job);
    } catch { failed(job, "the server did not answer; is it still running?"); }
  });

  // ---- what was there before the page was loaded again

  try { known = JSON.parse(sessionStorage.getItem(KEEP)) || []; } catch { known = []; }
  for (const item of known) {
    const job = Object.assign({ gone: false }, item);
    addCard(job);
    fetch(address(job)).then(async (answer) => {
      if (!answer.ok) { job.node.remove(); forget(job); by("empty").hidden = jobs.children.length > 0; return; }
      if (!update(job, await answer.json())) { follow(job); }
    }).catch(() => failed(job, "the server does not answer"));
  }
})();
