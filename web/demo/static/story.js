/* Draws an order's story: the line of stages, the tables, the feed. Data goes in as text nodes only, never as markup.
   What must not enter: requests, and decisions about what to do next. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text nodes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);
export const byTest = (id) => document.querySelector(`[data-testid="${id}"]`);

// --- words

const formats = new Map();

function format(currency) {
  if (!formats.has(currency)) {
    formats.set(currency, new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code" }));
  }
  return formats.get(currency);
}

export const decimals = (currency) => format(currency).resolvedOptions().maximumFractionDigits;

/** Minor units for people: 1500000 NGN is "NGN 15,000.00". */
export const money = (minor, currency) => format(currency).format(minor / 10 ** decimals(currency));

/** The number alone, for columns under one currency. */
const figure = (minor, currency) => money(minor, currency).replace(currency, "").trim();

/** "1,234.50" in minor units, digit by digit; null if it is not an amount. */
export function toMinor(text, currency) {
  const places = decimals(currency);
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text.replaceAll(",", "").trim());
  if (!match || (match[2] || "").length > places) return null;
  return Number(match[1] + (match[2] || "").padEnd(places, "0"));
}

export const toMajor = (minor, currency) => (minor / 10 ** decimals(currency)).toFixed(decimals(currency));

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SLOT_DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const SLOT_HOUR = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const clock = (at) => CLOCK.format(new Date(at));
const stamp = (at) => `${clock(at)}.${at.slice(20, 23)}`;
export const slot = (booking) =>
  `${SLOT_DAY.format(new Date(booking.starts_at))}, ${SLOT_HOUR.format(new Date(booking.starts_at))}–${SLOT_HOUR.format(new Date(booking.ends_at))}`;
const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const words = (text) => text.replaceAll("_", " ").toLowerCase();

export function span(ms) {
  if (ms < 10_000) return `${(Math.max(ms, 0) / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 90 ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${Math.round(minutes / 60)} h`;
}

const between = (from, to) => new Date(to) - new Date(from);

const GOOD = ["success", "completed", "confirmed", "succeeded", "paid", "delivered"];
const BAD = ["failed", "expired", "cancelled", "abandoned", "mismatched", "unknown"];
const BACK = ["refunded"];
const tone = (status) => (GOOD.includes(status) ? "good" : BAD.includes(status) ? "bad" : BACK.includes(status) ? "back" : "wait");
export const pill = (status, label = words(status)) => el("span", { class: `pill ${tone(status)}`, "data-status": status }, label);

function accountName(account, story) {
  const [kind, name] = account.split(":");
  if (kind === "gateway") return `${capital(name)} holds for us`;
  if (kind === "fees") return `${capital(name)}’s fees`;
  if (kind === "workspace") return `Owed to ${story.workspace_name}`;
  if (kind === "excess") return "Owed back to the customer";
  return capital(words(kind));
}

// --- the line of stages

const lastMove = (story, entity, ...to) => story.transitions.filter((row) => row.entity === entity && to.includes(row.to)).at(-1);

function howItWasHeard(story, at) {
  const hook = story.webhooks.find((row) => row.outcome === "matched" && row.received_at <= at && !row.event_type.includes("refund"));
  return hook ? `webhook came, then asked ${capital(hook.gateway)}` : "no webhook: we asked the gateway";
}

const aboutGivingBack = (type) => type.startsWith("REFUND") || type === "BOOKING_CANCELLED";

/** Who was told of the payment; messages about a refund belong to its own stage. */
function messagesStage(story) {
  const messages = story.messages.filter((row) => !aboutGivingBack(row.event));
  const events = story.events.filter((row) => !aboutGivingBack(row.type));
  const owed = messages.some((row) => !row.sent_at && !row.parked_at && !row.withdrawn_at) || events.some((row) => !row.fanned_out_at && !row.parked_at);
  const sent = messages.map((row) => row.sent_at).filter(Boolean).sort().at(-1) || null;
  const letters = messages.filter((row) => row.channel === "email" && !row.withdrawn_at).length;
  const inApp = messages.filter((row) => row.channel === "in_app").length;
  const told = [inApp ? `${inApp} in app` : "", letters ? count(letters, "e-mail") : ""].filter(Boolean).join(", ");
  return { key: "messages", name: "Messages", at: owed ? null : sent, note: told || "nobody told yet", state: owed ? "active" : sent ? "done" : "todo" };
}

/** The stages as facts: `{key, name, at, note, state}` with state todo, active, done or bad. */
export function stages(story) {
  const { order, payment, attempts, refunds } = story;
  const current = attempts.at(-1);
  const opened = lastMove(story, "attempt", "initiated");
  const verified = lastMove(story, "payment", "success");
  const ended = lastMove(story, "order", "expired", "cancelled", "failed");
  const isPaid = Boolean(order.paid_at);
  const active = story.bookings.filter((booking) => booking.status === "confirmed").length;

  const list = [{ key: "order", name: "Order", at: order.created_at, note: count(story.bookings.length, "booking"), state: "done" }];
  list.push({
    key: "pay",
    name: "Pay page",
    at: opened?.at || null,
    note: attempts.length > 1 ? `try ${attempts.length} at ${capital(current.gateway)}` : current ? capital(current.gateway) : "not started",
    state: opened ? "done" : current && ["created", "unknown"].includes(current.status) ? "active" : current ? "bad" : "todo",
  });
  if (verified && payment) {
    list.push({ key: "verified", name: "Verified", at: verified.at, note: howItWasHeard(story, verified.at), state: "done" });
  } else if (["failed", "expired", "cancelled"].includes(order.status)) {
    list.push({ key: "verified", name: capital(order.status), at: ended?.at || null, note: payment?.error || ended?.why || "", state: "bad" });
  } else {
    list.push({ key: "verified", name: "Verified", at: null, note: opened ? "waiting for the customer" : "", state: opened ? "active" : "todo" });
  }
  const isOff = isPaid && !order.completed_at && story.decisions.length > 0;
  list.push({
    key: "confirmed",
    name: "Confirmed",
    at: order.completed_at,
    note: order.completed_at ? (active ? count(active, "booking") : "released since") : isOff ? story.decisions.at(-1).detail : "",
    state: order.completed_at ? "done" : isOff ? "bad" : isPaid ? "active" : "todo",
  });
  list.push(messagesStage(story));
  if (refunds.length) {
    const open = refunds.some((row) => ["pending", "processing"].includes(row.status));
    const failed = refunds.every((row) => row.status === "failed");
    const done = refunds.map((row) => row.completed_at).filter(Boolean).sort().at(-1) || null;
    const back = payment?.refunded_amount || 0;
    const told = story.messages.filter((row) => aboutGivingBack(row.event) && row.sent_at).length;
    list.push({
      key: "refunded",
      name: order.status === "refunded" ? "Given back" : open ? "Refund" : "Part given back",
      at: open ? null : done,
      note: [back ? money(back, order.currency) : open ? "on its way" : "", told ? count(told, "message") : ""].filter(Boolean).join(", "),
      state: open ? "active" : failed ? "bad" : "done",
    });
  }
  return list;
}

const SAID = { done: "done", active: "in progress", bad: "not done", todo: "to come" };

export function drawLine(story) {
  const list = stages(story);
  let before = null;
  const nodes = list.map((stage) => {
    const after = before && stage.at && stage.key !== "refunded" ? between(before, stage.at) : null;
    if (stage.at && stage.key !== "refunded") before = before && before > stage.at ? before : stage.at;
    const sign = stage.state === "done" ? icon("check") : stage.state === "bad" ? icon("cross") : "";
    return el(
      "li",
      { class: `stop ${stage.state}`, "data-testid": `stage-${stage.key}`, "data-state": stage.state },
      el("span", { class: "dot", "aria-hidden": "true" }, sign),
      el(
        "div",
        { class: "stop-text" },
        el("b", {}, stage.name, el("span", { class: "sr" }, ` (${SAID[stage.state]})`)),
        stage.at ? el("time", { datetime: stage.at }, clock(stage.at), after !== null && after >= 0 ? el("i", {}, ` +${span(after)}`) : "") : el("time", {}, "–"),
        el("small", {}, stage.note),
      ),
    );
  });
  byId("line").replaceChildren(...nodes);
}

// --- the tables

function drawBookings(story) {
  const rows = story.bookings.map((booking) =>
    el(
      "tr",
      { "data-testid": "order-booking" },
      el("td", {}, booking.resource_id),
      el("td", { class: "soft" }, slot(booking)),
      el("td", { class: "num" }, figure(booking.amount, booking.currency)),
      el("td", {}, pill(booking.status)),
    ),
  );
  byId("rows-bookings").replaceChildren(...rows);
  byTest("booking-count").textContent = `${story.order.currency}, ${count(rows.length, "booking")}`;
}

function drawLedger(story) {
  const { currency } = story.order;
  const rows = [];
  let sum = 0;
  const feeLast = (a, b) => (a.at === b.at ? (a.kind === "fee") - (b.kind === "fee") : 0);
  for (const posting of [...story.ledger].sort(feeLast)) {
    sum += posting.amount;
    rows.push(
      el("tr", { class: "kind" }, el("th", { scope: "colgroup", colspan: 3 }, capital(words(posting.kind)), el("time", { datetime: posting.at }, clock(posting.at)))),
      el("tr", { "data-testid": "posting" }, el("td", { title: posting.debit_account }, accountName(posting.debit_account, story)), el("td", { class: "num" }, figure(posting.amount, posting.currency)), el("td")),
      el("tr", {}, el("td", { class: "credit", title: posting.credit_account }, accountName(posting.credit_account, story)), el("td"), el("td", { class: "num" }, figure(posting.amount, posting.currency))),
    );
  }
  if (!rows.length) rows.push(empty("No money has moved yet.", 3));
  byId("rows-ledger").replaceChildren(...rows);
  const foot = sum ? [el("tr", {}, el("th", { scope: "row" }, "Sums"), el("td", { class: "num" }, figure(sum, currency)), el("td", { class: "num" }, figure(sum, currency)))] : [];
  byId("foot-ledger").replaceChildren(...foot);
  byTest("ledger-balance").textContent = sum ? `${currency}, in balance` : "";
}

function empty(text, columns) {
  const inside = el("span", { class: "empty" }, text);
  return columns ? el("tr", {}, el("td", { colspan: columns }, inside)) : el("li", { class: "empty" }, text);
}

function drawMessages(story) {
  const rows = story.messages.map((row) => {
    const isLetter = row.channel === "email";
    const state = row.parked_at ? "given up" : row.withdrawn_at ? "withdrawn" : row.error ? "will be tried again" : "on its way";
    return el(
      "li",
      { class: `message ${isLetter ? "letter" : "note"} ${row.sent_at ? "sent" : "owed"}`, "data-testid": "message", "data-event": row.event, "data-channel": row.channel, "data-sent": row.sent_at ? "yes" : "no" },
      el("span", { class: "sign", title: isLetter ? "E-mail" : "In the app" }, icon(isLetter ? "letter" : "bell"), el("span", { class: "sr" }, isLetter ? "E-mail" : "In the app")),
      el("div", {}, el("b", {}, row.title), row.sent_at ? el("time", { datetime: row.sent_at }, clock(row.sent_at)) : el("time", {}, state), el("p", {}, row.body), isLetter ? el("small", {}, `E-mail to ${row.recipient}`) : ""),
    );
  });
  byId("rows-messages").replaceChildren(...(rows.length ? rows : [empty("Nobody has been told anything yet.")]));
  const different = new Set(story.messages.map((row) => `${row.event_id} ${row.channel} ${row.recipient}`)).size;
  byTest("message-count").textContent = rows.length ? `${rows.length}, ${different === rows.length ? "each once" : "some twice"}` : "";
}

function drawTries(story) {
  const tries = story.attempts.map((row, index) => {
    const facts = [`${capital(row.gateway)}`, row.questions ? `asked ${row.questions === 1 ? "once" : `${row.questions} times`}` : ""].filter(Boolean).join(" · ");
    return el("li", { "data-testid": "attempt" }, el("div", {}, el("b", {}, `Try ${index + 1}`), el("code", {}, row.reference), el("small", {}, row.error ? `${facts} · ${row.error}` : facts)), pill(row.status));
  });
  byId("rows-attempts").replaceChildren(...(tries.length ? tries : [empty("No gateway has been asked yet.")]));
  byTest("attempt-count").textContent = tries.length ? count(tries.length, "try", "tries") : "";
  const refunds = story.refunds.map((row) =>
    el("li", { "data-testid": "refund" }, el("div", {}, el("b", {}, `Refund of ${money(row.amount, row.currency)}`), el("small", {}, [words(row.reason), row.completed_at ? `done ${clock(row.completed_at)}` : `asked ${clock(row.created_at)}`, row.error].filter(Boolean).join(" · "))), pill(row.status)),
  );
  byId("rows-refunds").replaceChildren(...refunds);
  const decisions = story.decisions.map((row) =>
    el("li", { "data-testid": "decision" }, el("div", {}, el("b", {}, capital(words(row.kind))), el("small", {}, row.detail)), pill(row.resolved_at ? "completed" : "pending", row.resolved_at ? "settled" : "for a person")),
  );
  byId("rows-decisions").replaceChildren(...decisions);
}

function feedRows(story) {
  const names = new Map(story.bookings.map((booking) => [booking.id, booking.resource_id]));
  const tries = new Map(story.attempts.map((row, index) => [row.id, `try ${index + 1}`]));
  const rows = [];
  for (const row of story.transitions) {
    const subject = names.get(row.entity_id) || tries.get(row.entity_id) || row.entity;
    rows.push({ id: row.id, at: row.at, rank: 1, icon: "move", kind: "State", head: `${capital(subject)}: ${words(row.from)} → ${words(row.to)}`, body: row.why, tone: tone(row.to) });
  }
  for (const row of story.webhooks) {
    const took = row.handled_at ? `, handled in ${span(between(row.received_at, row.handled_at))}` : "";
    rows.push({ id: row.id, at: row.received_at, rank: 0, icon: "hook", kind: "Webhook", head: `${capital(row.gateway)} says ${row.event_type}`, body: `A hint, so the gateway is asked${took}.`, tone: "info" });
  }
  for (const row of story.events) {
    const told = row.fanned_out_at ? `Messages written ${span(between(row.at, row.fanned_out_at))} later.` : "Messages are owed.";
    rows.push({ id: row.id, at: row.at, rank: 2, icon: "event", kind: "Event", head: row.type, body: told, tone: "soft" });
  }
  for (const row of story.messages.filter((one) => one.channel === "email" && one.sent_at)) {
    rows.push({ id: row.id, at: row.sent_at, rank: 3, icon: "letter", kind: "E-mail", head: row.title, body: `Handed over for ${row.recipient}.`, tone: "soft" });
  }
  const order = story.order;
  rows.push({ id: order.id, at: order.created_at, rank: 0, icon: "move", kind: "State", head: "Order: pending", body: `${money(order.total, order.currency)} for ${count(story.bookings.length, "booking")}`, tone: "wait" });
  return rows.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.rank - b.rank || (a.id < b.id ? -1 : 1)));
}

let seen = new Set();
let seenOrder = null;

function drawFeed(story) {
  if (seenOrder !== story.order.id) [seen, seenOrder] = [null, story.order.id];
  const rows = feedRows(story);
  const isFresh = (id) => seen !== null && !seen.has(id);
  byId("rows-feed").replaceChildren(
    ...rows.map((row) =>
      el(
        "li",
        { class: `${row.tone}${isFresh(row.id) ? " fresh" : ""}`, "data-testid": "feed-row" },
        el("time", { datetime: row.at }, stamp(row.at)),
        el("span", { class: "sign", title: row.kind }, icon(row.icon), el("span", { class: "sr" }, row.kind)),
        el("div", {}, el("b", {}, row.head), el("small", {}, row.body)),
      ),
    ),
  );
  seen = new Set(rows.map((row) => row.id));
  byTest("feed-count").textContent = `${count(rows.length, "fact")}, oldest first`;
}

/** Draw everything that hangs on an order; cheap to call again, parts that did not change stay untouched. */
const drawn = new Map();

export function drawStory(story) {
  const once = (name, data, draw) => {
    const now = JSON.stringify(data);
    if (drawn.get(name) === now) return;
    drawn.set(name, now);
    draw(story);
  };
  const { now: _now, moving: _moving, ...facts } = story;
  byId("facts").hidden = false;
  byId("story-sum").hidden = false;
  byId("story-title").textContent = story.order.order_number;
  byTest("order-total").textContent = money(story.order.total, story.order.currency);
  byTest("order-status").replaceWith(el("span", { class: `pill big ${tone(story.order.status)}`, "data-testid": "order-status", "data-status": story.order.status }, words(story.order.status)));
  once("line", facts, drawLine);
  once("bookings", [story.order.id, story.bookings], drawBookings);
  once("ledger", [story.order.id, story.ledger], drawLedger);
  once("messages", [story.order.id, story.messages], drawMessages);
  once("tries", [story.order.id, story.attempts, story.refunds, story.decisions], drawTries);
  once("feed", facts, drawFeed);
}
