"use strict";
// Ids and names are data: they reach the page as text nodes, attributes and encoded fragments, never as markup.
(() => {
  const TYPES = Object.fromEntries([Int16Array, Int32Array, Uint8Array, Uint32Array, Float32Array, Float64Array]
    .map((type) => [type.name.toLowerCase().replace("array", ""), type]));
  const LISTED = 40; // results of a search; the list says how many more there are
  const FRESH = "The reasons are worked out afresh and may differ a little from the score.";
  const COMMAND = "implicit-wmf explain MODEL --user ID --item ID";
  const SHOWN = 6; // rows of a history before "Show more"
  const MORE = 100;
  const PAUSE = 60; // milliseconds without a key before a search
  const TOO_OLD = "This browser is too old for the search: open the file in a current Chrome, Edge, Firefox or Safari.";
  const GOAL = /^#(user|item)=(.*)$/s;
  const KINDS = { user: "User", item: "Item" };
  const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
  const finer = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2, minimumFractionDigits: 2 });
  const small = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 2 });
  const percent = (share) => `${whole.format(100 * share)}\u00a0%`;

  let data; // what encoding.py wrote
  let kinds; // of each kind: ids, names, what is searched, and the order of equally good results
  const at = (id) => document.getElementById(id);

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  async function unpack(text) {
    const packed = atob(text.trim());
    const bytes = new Uint8Array(packed.length);
    for (let place = 0; place < bytes.length; place++) bytes[place] = packed.charCodeAt(place);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  }

  function read(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const found = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    for (const [name, [type, offset, size]] of Object.entries(found.arrays)) {
      found[name] = new TYPES[type](buffer, 4 + length + offset, size);
    }
    for (const name of ["item_ids", "item_names", "user_ids", "item_search", "user_search"]) {
      found[name] = cutUp(found[`${name}_text`], found[`${name}_units`]);
    }
    return found;
  }

  function cutUp(bytes, units) {
    // a first character U+FEFF is one of a name's, not a mark of the encoding
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    let end = 0;
    return Array.from(units, (size) => text.slice(end, (end += size)));
  }

  function prepare() {
    const kind = (ids, names, search, sizes) => ({
      ids, names, search, positions: new Map(ids.map((id, place) => [id, place])),
      order: Uint32Array.from(sizes.keys()).sort((a, b) => sizes[b] - sizes[a] || a - b),
    });
    kinds = {
      user: kind(data.user_ids, data.user_ids, data.user_search, data.user_items),
      item: kind(data.item_ids, data.item_names, data.item_search, data.item_users),
    };
  }

  function fold(text) {
    const plain = text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
    return Array.from(plain, (one) => data.folds[one] ?? one).join("").replace(/\s+/gu, " ").trim();
  }

  // 0: the id or name itself; 1: it begins so; 2: words begin so; 3: somewhere within; -1: not at all
  function quality(text, query, words) {
    for (const word of words) if (!text.includes(word)) return -1;
    if (text.includes(`\n${query}`)) return text.includes(`\n${query}\n`) ? 0 : 1;
    return words.every((word) => text.includes(` ${word}`) || text.includes(`\n${word}`)) ? 2 : 3;
  }

  function searchKind(kind, query, words, most) {
    const { search, order } = kinds[kind];
    const buckets = [[], [], [], []];
    let count = 0;
    for (const place of order) {
      const rank = quality(search[place], query, words);
      if (rank >= 0) count += 1;
      if (buckets[rank]?.length < most) buckets[rank].push({ kind, place, rank });
    }
    return { count, found: buckets.flat().slice(0, most) };
  }

  function findAll(typed, scope) {
    const query = fold(typed);
    if (!query) return { count: 0, found: [] };
    const asked = scope === "both" ? ["user", "item"] : [scope];
    const each = asked.map((kind) => searchKind(kind, query, query.split(" "), LISTED / asked.length));
    const found = each.flatMap((one) => one.found).sort((a, b) => a.rank - b.rank);
    return { count: each.reduce((sum, one) => sum + one.count, 0), found };
  }

  const plural = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;

  function figure(number) {
    const size = Math.abs(number);
    if (Number.isInteger(number) || size >= 1000) return whole.format(number);
    return size >= 0.1 ? finer.format(number) : small.format(number);
  }

  const address = (kind, id) => `#${kind}=${encodeURIComponent(id)}`;
  const named = (name) => make("bdi", { class: "name" }, name);
  const note = (...words) => make("p", { class: "note" }, ...words);
  const linkTo = (kind, place) =>
    make("a", { class: "go", href: address(kind, kinds[kind].ids[place]) }, named(kinds[kind].names[place]));

  function missingUsers() {
    if (data.users === data.user_ids.length) return null;
    return note(`This page holds ${plural(data.user_ids.length, "user")} of ${whole.format(data.users)}. `,
      "For any other, ask the model itself on the command line: ", make("code", {}, COMMAND));
  }

  function bar(share, against = false) {
    const filled = make("span", { class: against ? "against" : "" });
    filled.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
    return make("span", { class: "bar", "aria-hidden": "true" }, filled);
  }

  // the items of one sign: what a user has, or did not want
  function historyOf(user, sign) {
    const [begin, end] = [user ? data.history_ends[user - 1] : 0, data.history_ends[user]];
    const cells = Array.from({ length: end - begin }, (_, place) => begin + place)
      .filter((cell) => Math.sign(data.amounts[cell]) === sign);
    const list = make("ul", { class: "rows" });
    const alike = data.amounts.every((amount) => Math.abs(amount) === 1);
    const more = make("button", { type: "button", class: "more" });
    const amount = (cell) =>
      (alike ? null : make("span", { class: "number" }, `× ${figure(Math.abs(data.amounts[cell]))}`));
    const show = (upTo) => {
      for (const cell of cells.slice(list.children.length, upTo)) {
        list.append(make("li", {}, linkTo("item", data.history[cell]), amount(cell)));
      }
      more.hidden = list.children.length === cells.length;
      more.textContent = `Show more (${plural(cells.length - list.children.length, "item")})`;
    };
    show(SHOWN);
    more.addEventListener("click", () => {
      const next = list.children.length;
      show(next + MORE);
      list.children[next].firstChild.focus();
    });
    const rest = (sign > 0 ? data.user_items : data.refused_items)[user] - cells.length;
    const left = rest ? note(`And ${plural(rest, "more item")}, which this page leaves out.`) : null;
    return make("section", {}, make("h4", {}, sign > 0 ? "Already has" : "Did not want"), list, more, left);
  }

  function reasonRow(label, value, score, largest) {
    const text = score > 0 ? percent(value / score) : figure(value);
    return make("li", {}, label, make("span", { class: "number" }, text), bar(Math.abs(value) / largest, value < 0));
  }

  function why(cell, user) {
    const score = data.explained[cell];
    const span = [cell * data.why, (cell + 1) * data.why];
    const items = data.reasons.subarray(...span).filter((item) => item >= 0);
    const values = Array.from(data.contributions.subarray(...span).subarray(0, items.length));
    const rest = score - values.reduce((sum, value) => sum + value, 0);
    const largest = Math.max(Math.abs(score), ...values.map(Math.abs), Math.abs(rest)) || 1;
    const rows = values.map((value, place) => reasonRow(linkTo("item", items[place]), value, score, largest));
    if (data.user_items[user] > items.length) {
      rows.push(reasonRow(make("span", { class: "rest" }, "everything else this user has"), rest, score, largest));
    }
    const against = [...values, rest].some((value) => value < -Math.abs(score) / 200);
    return make("div", { class: "why" },
      make("p", {}, items.length ? "Because this user has:" : "This user has nothing yet that speaks for it."),
      make("ul", { class: "rows" }, ...rows),
      score > 0 ? null : note("The numbers are what each one adds to the score."),
      against ? note("A minus sign: this one speaks against the item.") : null);
  }

  function recommendation(user, rank) {
    const cell = user * data.lists + rank;
    const item = data.recommended[cell];
    const number = make("span", { class: "number" }, figure(data.scores[cell]));
    const row = make("li", {}, make("span", { class: "rank" }, `${rank + 1}.`), linkTo("item", item), number);
    if (!data.why) return row;
    const button = make("button", { type: "button", class: "ask", "aria-expanded": "false" }, "Why?");
    button.setAttribute("aria-label", `Why ${data.item_names[item]}?`);
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) row.lastChild.remove();
      else row.append(why(cell, user));
    });
    row.append(button);
    return row;
  }

  function listFor(user) {
    const [begin, end] = [user * data.lists, (user + 1) * data.lists];
    const count = data.recommended.subarray(begin, end).filter((item) => item >= 0).length;
    const rows = Array.from({ length: count }, (_, rank) => recommendation(user, rank));
    return make("section", {}, make("h4", {}, "Recommended"),
      note(count ? data.score_note : "There is nothing left to recommend: this user has everything."),
      make("ol", { class: "rows" }, ...rows), count ? note(data.why ? FRESH : data.reasons_note) : null);
  }

  function showUser(user) {
    const refused = data.refused_items[user];
    const known = `Has ${plural(data.user_items[user], "item")}.`;
    const lists = make("div", {}, historyOf(user, 1), refused ? historyOf(user, -1) : "");
    return [heading("User ", data.user_ids[user]),
      make("p", {}, refused ? `${known} Did not want ${plural(refused, "item")}.` : known),
      make("div", { class: "sides" }, lists, listFor(user))];
  }

  function neighbours(item) {
    const begin = item * data.near;
    const near = data.similar.subarray(begin, begin + data.near).filter((other) => other >= 0);
    return make("ol", { class: "rows" }, ...Array.from(near, (other, rank) => {
      const cosine = data.cosines[begin + rank] / data.cosine_scale;
      return make("li", {}, make("span", { class: "rank" }, `${rank + 1}.`), linkTo("item", other),
        make("span", { class: "number" }, finer.format(cosine)), bar(cosine));
    }));
  }

  function showItem(item) {
    const had = data.item_users[item];
    const verb = had === 1 ? "has" : "have";
    const who = had ? `${whole.format(had)} of ${plural(data.users, "user")} ${verb} it.` : "Nobody has it yet.";
    const meaning = "Items that the same kind of users take. 1 means exactly alike, 0 nothing in common.";
    return [heading("", data.item_names[item]), make("p", {}, "Item ", named(data.item_ids[item]), `. ${who}`),
      make("section", {}, make("h4", {}, "Similar items"), note(meaning), neighbours(item))];
  }

  const heading = (word, name) => make("h3", { tabindex: "-1" }, word, named(name));

  function asked() {
    const [, kind, encoded] = GOAL.exec(entry.view) ?? [];
    if (!kind) return null;
    try {
      const id = decodeURIComponent(encoded);
      return { kind, id, place: kinds[kind].positions.get(id) };
    } catch {
      return { kind, id: encoded }; // typed by hand, and no such address
    }
  }

  function notFound({ kind, id }) {
    return [make("h3", { tabindex: "-1" }, `${KINDS[kind]} `, named(id), " is not on this page"),
      make("p", {}, "Check the spelling, or search above."), kind === "user" ? missingUsers() : null];
  }

  function examples() {
    const some = (kind) => Array.from(kinds[kind].order.subarray(0, 3), (place) =>
      make("li", {}, make("span", { class: "kind" }, KINDS[kind]), linkTo(kind, place)));
    const rows = [...some("user"), ...some("item")];
    const words = rows.length ? "Not sure what to type? Look at one of these:" : "There is nothing to search for here.";
    return [make("p", {}, words), make("ul", { class: "rows" }, ...rows)];
  }

  // Of the browser's history each entry knows its depth, its address, what the explorer shows there, and at which depth
  // that was gone to (at), and from where (from): parts of the page may have been gone to in between.
  let entry;

  function firstEntry() {
    const { hash } = location;
    return { depth: 0, hash, view: GOAL.test(hash) ? hash : "", at: 0, from: null };
  }

  function nextEntry() {
    const { hash } = location;
    if (hash === entry.hash) return entry;
    const depth = entry.depth + 1;
    const view = GOAL.test(hash) || !hash ? hash : entry.view;
    return view === entry.view ? { ...entry, depth, hash } : { depth, hash, view, at: depth, from: entry.at };
  }

  function moved() {
    const before = entry.view;
    entry = history.state ?? nextEntry();
    history.replaceState(entry, "");
    if (entry.view !== before || entry.view === location.hash) show();
  }

  function show() {
    const goal = asked();
    const view = goal?.place === undefined ? notFound : { user: showUser, item: showItem }[goal.kind];
    const found = goal ? view(goal.place ?? goal) : examples();
    if (goal && entry.from !== null) {
      found.unshift(make("button", { type: "button", class: "back" }, "← Back"));
      found[0].addEventListener("click", () => history.go(entry.from - entry.depth));
    }
    at("explorer-view").replaceChildren(...found.filter((part) => part !== null));
    if (!goal || entry.view !== location.hash) return; // another part of the page was asked for
    at("explorer-view").querySelector("h3").focus({ preventScroll: true });
    at("explorer-view").scrollIntoView();
  }

  function buildBox() {
    const input = make("input", { id: "explorer-input", type: "text", role: "combobox", "aria-expanded": "false",
      "aria-controls": "explorer-list", "aria-autocomplete": "list", autocomplete: "off", autocapitalize: "none",
      spellcheck: "false", enterkeyhint: "search" });
    const scopes = Object.entries({ both: "Both", user: "Users", item: "Items" }).map(([value, label]) =>
      make("label", {}, make("input", { type: "radio", name: "explorer-scope", value }), label));
    scopes[0].firstChild.checked = true;
    const popup = make("div", { id: "explorer-popup", hidden: "" },
      make("ul", { id: "explorer-list", role: "listbox", "aria-label": "Found" }), make("p", { id: "explorer-count" }));
    at("explorer-app").append(
      make("fieldset", {}, make("legend", {}, "Search among"), ...scopes),
      make("label", { for: "explorer-input", class: "label" }, "Type a user or an item: name, id, or part of it"),
      make("div", { class: "box" }, input, popup),
      make("p", { id: "explorer-live", class: "hidden", role: "status" }),
      missingUsers() ?? "", make("div", { id: "explorer-view" }));
    return { input, popup };
  }

  function runBox({ input, popup }) {
    let results = [];
    let active = -1;
    let waiting; // a search that is due

    function open(wanted) {
      popup.hidden = !wanted;
      input.setAttribute("aria-expanded", String(wanted));
      if (wanted) makeRoom();
      else mark(-1);
    }

    function mark(place) {
      at("explorer-list").children[active]?.setAttribute("aria-selected", "false");
      active = place;
      const option = at("explorer-list").children[active];
      input.setAttribute("aria-activedescendant", option?.id ?? "");
      option?.setAttribute("aria-selected", "true");
      option?.scrollIntoView({ block: "nearest" });
    }

    function choose(place) {
      waiting = clearTimeout(waiting);
      const chosen = results[place];
      const goal = address(chosen.kind, kinds[chosen.kind].ids[chosen.place]);
      open(false);
      input.value = "";
      if (location.hash === goal) show();
      else location.hash = goal;
    }

    function option({ kind, place }, number) {
      const [name, id] = [kinds[kind].names[place], kinds[kind].ids[place]];
      const row = make("li", { id: `explorer-option-${number}`, role: "option", "aria-selected": "false" },
        make("span", { class: "kind" }, KINDS[kind]), named(name), make("bdi", { class: "id" }, name === id ? "" : id));
      row.addEventListener("click", () => choose(number));
      return row;
    }

    // above the middle, where neither the list nor a telephone's keyboard covers it
    function makeRoom() {
      const middle = (visualViewport?.height ?? innerHeight) / 2;
      if (input.getBoundingClientRect().bottom > middle) document.querySelector(".label").scrollIntoView();
    }

    function search() {
      waiting = clearTimeout(waiting);
      const scope = document.querySelector("input[name=explorer-scope]:checked").value;
      const { count, found } = findAll(input.value, scope);
      results = found;
      mark(-1);
      at("explorer-list").replaceChildren(...found.map(option));
      const empty = !input.value.trim();
      const left = count - found.length;
      const more = left ? `${whole.format(left)} more: type on to find them.` : "";
      at("explorer-count").textContent = empty || found.length ? more : "Nothing found. Try fewer letters.";
      at("explorer-live").textContent = empty ? "" : `${whole.format(count)} found.`;
      open(!empty);
    }

    function key(event) {
      if (event.isComposing) return;
      if (waiting && ["Enter", "ArrowDown", "ArrowUp"].includes(event.key)) search();
      const last = results.length - 1;
      const shown = !popup.hidden;
      const steps = { ArrowDown: active < last ? active + 1 : 0, ArrowUp: active > 0 ? active - 1 : last };
      if (active >= 0) Object.assign(steps, { Home: 0, End: last });
      if (event.key in steps && !shown) search();
      else if (event.key in steps && last >= 0) mark(steps[event.key]);
      else if (event.key === "Enter" && shown && last >= 0) choose(Math.max(active, 0));
      else if (event.key === "Escape" && shown) open(false);
      else if (event.key === "Escape") input.value = "";
      else return;
      event.preventDefault();
    }

    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(search, PAUSE);
    });
    input.addEventListener("keydown", key);
    at("explorer-app").addEventListener("focusout", (event) => {
      if (!event.relatedTarget?.closest("#explorer-app fieldset, .box")) open(false);
    });
    input.addEventListener("click", () => { if (input.value) search(); });
    popup.addEventListener("mousedown", (event) => event.preventDefault()); // else the box loses the focus
    document.querySelector("#explorer-app fieldset").addEventListener("change", () => { if (input.value) search(); });
  }

  async function start() {
    try {
      data = read(await unpack(at("explorer-data").textContent));
    } catch (error) {
      const damaged = `The file is damaged: its data cannot be read (${error}).`;
      at("explorer-state").textContent = typeof DecompressionStream === "undefined" ? TOO_OLD : damaged;
      return;
    }
    at("explorer-data").remove(); // megabytes of text that nothing needs any more
    prepare();
    runBox(buildBox());
    at("explorer-state").remove();
    at("explorer-app").hidden = false;
    entry = history.state ?? firstEntry();
    history.replaceState(entry, "");
    addEventListener("popstate", moved); // not hashchange: two entries may have one address
    show();
  }

  start();
})();
