/* The page itself: who is signed in, what is picked, which order is shown, and what the buttons do.
   It is a client like any other: orders, payments and refunds go through the public API with a customer's token. */

import { Client, Problem, Sandbox, demo } from "./api.js";
import { byId, byTest, clock, drawStory, el, icon, money, pill, slot, span, toMajor, toMinor } from "./story.js";

const customer = new Client("customer");
const operator = new Client("operator");
let sandbox = new Sandbox(null);

const state = {
  session: null,
  bookings: [],
  picked: new Set(),
  orderId: null,
  story: null,
  clockSkew: 0, // the server's clock minus ours, in ms
  busy: false,
};

const SHORT_TTL = { close: 20, late: 15 };
const LATE_AFTER_SECONDS = 25;
const FREE_AT_LEAST = 3;
const OLD_TTL = "payflow-demo-order-ttl";
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// --- notices

function showProblem(error) {
  const box = byId("error");
  const part = (name) => box.querySelector(`[data-part="${name}"]`);
  const known = error instanceof Problem;
  part("title").textContent = known ? error.title : "The page made a mistake";
  part("detail").textContent = known ? error.detail : String(error.message || error);
  const fields = known ? error.fields.filter((field) => field.detail !== error.detail) : [];
  part("fields").replaceChildren(...fields.map((field) => el("li", {}, `${(field.pointer || "").replace(/^\//, "")}: ${field.detail}`)));
  part("fields").hidden = fields.length === 0;
  part("request").textContent = known && error.requestId ? `Request ${error.requestId}` : "";
  box.hidden = false;
  if (!known) console.error(error);
}

function setBusy(button, busy) {
  state.busy = busy;
  document.body.classList.toggle("busy", busy);
  for (const one of document.querySelectorAll("[data-journey], [data-action], [data-testid='refund-part']")) one.disabled = busy;
  button?.setAttribute("aria-busy", String(busy));
  if (!busy) {
    for (const one of document.querySelectorAll("[aria-busy]")) one.removeAttribute("aria-busy");
    drawPicks();
  }
}

/** Run what a button does: one at a time, errors shown, nothing forgotten. */
async function act(button, work) {
  if (state.busy) return;
  byId("error").hidden = true;
  setBusy(button, true);
  try {
    await work();
  } catch (error) {
    showProblem(error);
    if ([404, 409, 422].includes(error.status)) void loadBookings().catch(() => {}); // what is shown was out of date
  } finally {
    setBusy(button, false);
    void refresh();
  }
}

// --- bookings

async function loadBookings() {
  const [list, taken] = await Promise.all([customer.get("/bookings/?page_size=100"), beingPaid()]);
  const ours = list.body.results.filter((one) => one.status === "pending" && one.workspace_id === state.session.workspace.id);
  state.bookings = ours.filter((one) => !taken.has(one.id));
  if (free().length < FREE_AT_LEAST) {
    await demo.addBookings();
    return loadBookings();
  }
  state.picked = new Set(chosen().map((one) => one.id));
  if (!state.picked.size) state.picked = new Set(free().slice(0, 2).map((one) => one.id));
  drawPicks();
  return undefined;
}

/** Bookings on an order that is being paid cannot go onto another one. */
async function beingPaid() {
  const orders = await customer.get("/payment/orders/?status=processing&page_size=20");
  const details = await Promise.all(orders.body.results.map((order) => customer.get(`/payment/orders/${order.id}/`)));
  return new Set(details.flatMap((one) => one.body.bookings.map((booking) => booking.id)));
}

/** What can be chosen: a failed order that is on show keeps its bookings for another try. */
function free() {
  const { story } = state;
  const kept = story?.order.status === "failed" ? new Set(story.bookings.map((one) => one.id)) : new Set();
  return state.bookings.filter((one) => !kept.has(one.id));
}

const chosen = () => free().filter((one) => state.picked.has(one.id));

function drawPicks() {
  const rows = free().map((booking) => {
    const box = el("input", { type: "checkbox", value: booking.id, "data-testid": "pick" });
    box.checked = state.picked.has(booking.id);
    box.addEventListener("change", () => {
      if (box.checked) state.picked.add(booking.id);
      else state.picked.delete(booking.id);
      drawSum();
    });
    return el(
      "li",
      {},
      el("label", {}, box, el("span", { class: "what" }, el("b", {}, booking.resource_id), el("small", {}, slot(booking))), el("span", { class: "price" }, money(booking.amount, booking.currency))),
    );
  });
  byId("bookings").replaceChildren(...rows);
  drawSum();
}

function drawSum() {
  const list = chosen();
  byTest("picked-count").textContent = list.length ? `${list.length} chosen` : "Choose at least one";
  byTest("picked-total").textContent = list.length ? money(list.reduce((sum, one) => sum + one.amount, 0), list[0].currency) : "";
  for (const button of document.querySelectorAll("[data-journey]")) button.disabled = state.busy || !list.length;
}

// --- orders and payments, by the public API

/** How long an order lives is the workspace's policy: a journey that waits for the end makes it short for one moment. */
async function withOrderLife(seconds, work) {
  if (!seconds) return work();
  const path = `/workspaces/${state.session.workspace.id}/policy/`;
  const before = (await operator.get(path)).body.order_ttl_seconds ?? null;
  if (!localStorage.getItem(OLD_TTL)) localStorage.setItem(OLD_TTL, JSON.stringify(before));
  try {
    await operator.patch(path, { order_ttl_seconds: seconds });
    return await work();
  } finally {
    await restoreOrderLife();
  }
}

/** Also on loading the page: a tab closed in that moment must not leave a short life behind. */
async function restoreOrderLife() {
  const kept = localStorage.getItem(OLD_TTL);
  if (kept === null) return;
  await operator.patch(`/workspaces/${state.session.workspace.id}/policy/`, { order_ttl_seconds: JSON.parse(kept) });
  localStorage.removeItem(OLD_TTL);
}

async function createOrder(ttlSeconds) {
  const ids = chosen().map((one) => one.id);
  if (!ids.length) throw new Problem("Nothing is chosen", { detail: "Choose at least one booking first." });
  const order = (await withOrderLife(ttlSeconds, () => customer.create("/payment/orders/", { booking_ids: ids }))).body;
  state.bookings = state.bookings.filter((one) => !ids.includes(one.id));
  state.picked = new Set();
  drawPicks();
  showOrder(order.id);
  byId("story").scrollIntoView({ behavior: "smooth", block: "start" });
  return order;
}

/** Start the payment and wait for the gateway's page; the payment as the API shows it. */
async function initiate(orderId) {
  const body = { order_id: orderId, gateway: byId("gateway").value, return_url: `${state.session.public_url}/demo/?order=${orderId}` };
  let payment = (await customer.create("/payment/payments/initiate/", body, { Prefer: "wait=5" })).body;
  for (let asked = 0; !payment.authorization_url && asked < 20; asked += 1) {
    if (["failed", "cancelled"].includes(payment.status)) {
      throw new Problem("The payment could not be started", { detail: payment.error || `It is ${payment.status}.` });
    }
    await wait(1_000);
    payment = (await customer.get(`/payment/payments/${payment.id}/`)).body;
  }
  if (!payment.authorization_url) {
    throw new Problem("The gateway is slow", { detail: "Its page is not open yet. The order stays; try the button under it in a moment." });
  }
  return payment;
}

async function toPayPage(orderId) {
  const payment = await initiate(orderId);
  window.location.assign(payment.authorization_url);
  await wait(3_000); // the page is leaving; keep the buttons quiet
}

const journeys = {
  async hosted() {
    const order = await createOrder();
    await toPayPage(order.id);
  },
  async webhook() {
    const payment = await initiate((await createOrder()).id);
    await sandbox.plant("webhook_missing", payment.reference, 5);
    await sandbox.pay(payment.reference, "success");
  },
  async decline() {
    const payment = await initiate((await createOrder()).id);
    await sandbox.pay(payment.reference, "decline");
  },
  async close() {
    const payment = await initiate((await createOrder(SHORT_TTL.close)).id);
    await sandbox.pay(payment.reference, "abandon");
  },
  async late() {
    const payment = await initiate((await createOrder(SHORT_TTL.late)).id);
    await sandbox.pay(payment.reference, "late", { after_seconds: LATE_AFTER_SECONDS });
  },
};

async function refund(amount) {
  const { payment, order } = state.story;
  const body = { payment_id: payment.id, reason: "customer_request", reason_description: "Asked for on the demo page." };
  if (amount !== null) body.amount = amount;
  await customer.create("/payment/refunds/", body);
  byId("refund-amount").value = "";
  showOrder(order.id);
}

function partToRefund() {
  const { order, payment } = state.story;
  const amount = toMinor(byId("refund-amount").value, order.currency);
  if (amount === null || amount <= 0) {
    throw new Problem("That is not an amount", { detail: `Write it like ${toMajor(payment.refundable_amount, order.currency)}.` });
  }
  return amount;
}

// --- the story, followed as it happens

let timer = null;
let failures = 0;

function showOrder(orderId) {
  if (state.orderId !== orderId) state.story = null;
  state.orderId = orderId;
  const url = new URL(window.location.href);
  url.search = `?order=${encodeURIComponent(orderId)}`;
  window.history.replaceState(null, "", url);
  void refresh();
}

async function refresh() {
  clearTimeout(timer);
  if (!state.orderId) return;
  const asked = state.orderId;
  let pauseMs = 5_000;
  try {
    const story = await demo.story(asked);
    if (asked !== state.orderId) return;
    const statusBefore = state.story?.order.status;
    state.clockSkew = new Date(story.now) - Date.now();
    state.story = { ...story, workspace_name: state.session.workspace.name };
    failures = 0;
    byId("offline").hidden = true;
    drawStory(state.story);
    drawNext();
    drawActions();
    if (statusBefore !== story.order.status) {
      void loadOrders();
      drawPicks();
    }
    if (statusBefore && statusBefore !== story.order.status && !state.busy) void loadBookings().catch(showProblem);
    pauseMs = story.moving || state.busy ? 1_000 : 5_000;
  } catch (error) {
    if (asked !== state.orderId) return;
    if (error.status === 404) {
      forgetOrder();
      showProblem(new Problem("That order is not here", { detail: "It is not one of the demo’s orders. Start a new one." }));
      return;
    }
    failures += 1;
    byId("offline").hidden = failures < 2;
    pauseMs = Math.min(1_000 * 2 ** failures, 10_000);
    if (!(error instanceof Problem)) showProblem(error);
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? 5_000 : pauseMs);
}

function forgetOrder() {
  state.orderId = state.story = null;
  window.history.replaceState(null, "", window.location.pathname);
}

const serverNow = () => Date.now() + state.clockSkew;

/** What happens next, in a sentence; counts down by itself. */
function nextSentence(story) {
  const { order, payment, attempts, refunds } = story;
  const current = attempts.at(-1);
  const left = new Date(order.expires_at) - serverNow();
  const until = left > 0 ? ` The order lives for ${span(left)} more.` : " Its time is over; the gateway is asked once more before it expires.";
  const asks = current?.next_question_at ? Math.max(new Date(current.next_question_at) - serverNow(), 0) : null;
  if (refunds.some((row) => ["pending", "processing"].includes(row.status))) return "The refund is with the gateway; its webhook or the next question tells how it ended.";
  switch (order.status) {
    case "pending":
      return `Not paid yet: start the payment.${until}`;
    case "processing":
      if (current?.status === "created" || current?.status === "unknown") return "The gateway is being asked for a pay page.";
      return `Waiting for the customer.${asks === null ? "" : ` The gateway is asked again in ${span(asks)}, webhook or not.`}${until}`;
    case "failed":
      return `Nothing was taken${payment?.error ? ` (${payment.error})` : ""}. The bookings are kept for another try.`;
    case "paid":
      return story.decisions.length ? story.decisions.at(-1).detail : "The money is verified; the bookings are being confirmed.";
    case "completed":
      if (payment?.refunded_amount) return `${money(payment.refunded_amount, order.currency)} of ${money(order.total, order.currency)} went back; the bookings stand.`;
      return story.moving ? "Paid and confirmed; the last messages are on their way." : "Paid, confirmed, and everyone has been told. Nothing is left to do.";
    case "expired":
      return asks === null
        ? "Not paid in time. Nothing was taken, and the bookings are free again."
        : `Not paid in time; the bookings are free again. Late money would still be seen: the next question is in ${span(asks)}.`;
    case "cancelled":
      return "Cancelled. Its bookings are free or on a newer order.";
    case "refunded":
      return "All of the money went back, and the bookings are free again.";
    default:
      return "";
  }
}

function drawNext() {
  if (!state.story) return;
  const sentence = nextSentence(state.story);
  const line = byId("next");
  // a countdown must not be read out every second: only a change of the order's state is news
  line.setAttribute("aria-live", line.dataset.status === state.story.order.status ? "off" : "polite");
  line.dataset.status = state.story.order.status;
  if (line.textContent !== sentence) line.textContent = sentence;
}

function drawActions() {
  const { order, payment, attempts } = state.story;
  const current = attempts.at(-1);
  const isOpen = new Date(order.expires_at) > serverNow();
  const page = isOpen && (order.status === "pending" || (order.status === "processing" && Boolean(current?.authorization_url)));
  const retry = isOpen && order.status === "failed";
  const back = Boolean(payment) && payment.status === "success" && payment.refundable_amount > 0;
  byId("action-page").hidden = !page;
  byId("action-retry").hidden = !retry;
  byId("action-refund").hidden = !back;
  byId("actions").hidden = !(page || retry || back);
  if (back) {
    byTest("refundable").textContent = money(payment.refundable_amount, order.currency);
    const field = byId("refund-amount");
    if (field !== document.activeElement && field.dataset.left !== String(payment.refundable_amount)) {
      field.value = toMajor(Math.ceil(payment.refundable_amount / 3), order.currency);
      field.dataset.left = String(payment.refundable_amount);
    }
  }
}

async function loadOrders() {
  let rows = [];
  try {
    rows = (await customer.get("/payment/orders/?page_size=8")).body.results;
  } catch (error) {
    showProblem(error);
    return;
  }
  const nodes = rows.map((order) => {
    const link = el(
      "a",
      { href: `/demo/?order=${order.id}`, "data-testid": "order-link", "aria-current": order.id === state.orderId ? "true" : null },
      el("span", { class: "what" }, el("b", {}, order.order_number), el("small", {}, `${clock(order.created_at)} · ${order.booking_count} ${order.booking_count === 1 ? "booking" : "bookings"}`)),
      el("span", { class: "price" }, money(order.total, order.currency)),
      pill(order.status),
    );
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      showOrder(order.id);
      byId("story").scrollIntoView({ behavior: "smooth", block: "start" });
    });
    return el("li", {}, link);
  });
  byId("orders").replaceChildren(...(nodes.length ? nodes : [el("li", { class: "empty" }, "None yet.")]));
}

// --- start

function drawEmptyLine() {
  const names = ["Order", "Pay page", "Verified", "Confirmed", "Messages"];
  byId("line").replaceChildren(
    ...names.map((name) => el("li", { class: "stop todo" }, el("span", { class: "dot", "aria-hidden": "true" }), el("div", { class: "stop-text" }, el("b", {}, name), el("time", {}, "–")))),
  );
}

function listen() {
  byTest("error-dismiss").addEventListener("click", () => {
    byId("error").hidden = true;
  });
  byId("more-bookings").addEventListener("click", (event) =>
    act(event.currentTarget, async () => {
      await demo.addBookings();
      await loadBookings();
    }),
  );
  for (const button of document.querySelectorAll("[data-journey]")) {
    button.addEventListener("click", () => act(button, journeys[button.dataset.journey]));
  }
  const actions = { page: () => toPayPage(state.orderId), retry: () => toPayPage(state.orderId), "refund-all": () => refund(null) };
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => act(button, actions[button.dataset.action]));
  }
  byId("refund-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void act(byTest("refund-part"), () => refund(partToRefund()));
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void refresh();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload(); // came back by the browser's own button
  });
  setInterval(() => {
    if (state.story && !document.hidden) drawNext();
  }, 1_000);
}

function drawSession() {
  const { session } = state;
  byTest("who").replaceChildren(el("b", {}, session.user.name), `, customer of ${session.workspace.name}`);
  for (const link of document.querySelectorAll("[data-link]")) {
    const address = session[link.dataset.link];
    link.hidden = !address;
    if (address) link.href = address;
  }
  const names = session.gateways.length > 1 ? ["auto", ...session.gateways] : session.gateways;
  byId("gateway").replaceChildren(...names.map((name) => el("option", { value: name }, name.charAt(0).toUpperCase() + name.slice(1))));
}

async function start() {
  drawEmptyLine();
  listen();
  for (;;) {
    try {
      state.session = await customer.signIn();
      break;
    } catch (error) {
      showProblem(error);
      await wait(3_000);
    }
  }
  byId("error").hidden = true;
  sandbox = new Sandbox(state.session.sandbox_url);
  drawSession();
  const order = new URLSearchParams(window.location.search).get("order");
  if (order) showOrder(order);
  const results = await Promise.allSettled([restoreOrderLife(), loadOrders(), loadBookings()]);
  for (const result of results) if (result.status === "rejected") showProblem(result.reason);
}

void start();
