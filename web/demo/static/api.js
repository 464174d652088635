/* The page's client of the public API and of the sandbox's controls: tokens, waits, readable errors.
   What must not enter: anything that touches the document. */

const TIMEOUT_MS = 20_000;
const TRIES = 3;

/** An answer that says no, or no answer at all (`status` 0); `message` is fit to be shown. */
export class Problem extends Error {
  constructor(title, { detail = "", status = 0, code = "", fields = [], requestId = "" } = {}) {
    super(detail || title);
    Object.assign(this, { title, detail, status, code, fields, requestId });
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Problem(late ? "No answer in time" : "The server cannot be reached", {
      detail: late ? "The server took too long. Nothing is lost; try again." : "Is it still running? Try again in a moment.",
    });
  }
  const text = await answer.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    if (answer.ok) throw new Problem("An answer that is not JSON", { detail: url, status: answer.status });
  }
  if (answer.ok) return { status: answer.status, body, headers: answer.headers };
  throw new Problem(body?.title || `The server answered ${answer.status}`, {
    detail: body?.detail || (typeof body?.error === "string" ? body.error : ""),
    status: answer.status,
    code: body?.code || "",
    fields: Array.isArray(body?.errors) ? body.errors : [],
    requestId: body?.request_id || answer.headers.get("X-Request-ID") || "",
  });
}

function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A client signed in as the demo's customer or operator; signs in again when its login runs out. */
export class Client {
  constructor(who) {
    this.who = who;
    this.session = null;
  }

  async signIn() {
    this.session = (await ask(`/demo/session?who=${this.who}`, {})).body;
    return this.session;
  }

  get(path) {
    return this.#send("GET", path);
  }

  patch(path, body) {
    return this.#send("PATCH", path, body);
  }

  /** A POST that creates: the same key goes with every repeat, so a lost answer cannot make two of a thing. */
  async create(path, body, headers = {}) {
    const key = newKey();
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#send("POST", path, body, { ...headers, "Idempotency-Key": key });
      } catch (error) {
        const again = error.status === 0 || error.status === 503 || (error.status === 409 && error.code.includes("running"));
        if (!again || tried >= TRIES) throw error;
        await pause(700 * tried);
      }
    }
  }

  async #send(method, path, body, headers = {}) {
    if (!this.session) await this.signIn();
    const options = () => ({
      method,
      headers: {
        Accept: "application/json",
        Authorization: `Bearer ${this.session.token}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    try {
      return await ask(`/api/v1${path}`, options());
    } catch (error) {
      if (error.status !== 401) throw error;
      await this.signIn();
      return ask(`/api/v1${path}`, options());
    }
  }
}

/** The demo's own routes, which need no login. */
export const demo = {
  addBookings: () => ask("/demo/bookings", { method: "POST" }),
  story: async (orderId) => (await ask(`/demo/orders/${encodeURIComponent(orderId)}/story`, {})).body,
};

/** The sandbox's controls: the page plays the customer, the bank and bad luck. */
export class Sandbox {
  constructor(url) {
    this.url = url;
  }

  pay(reference, outcome, more = {}) {
    return this.#post("/sandbox/pay", { reference, outcome, ...more });
  }

  plant(fault, reference, times, params = {}) {
    return this.#post("/sandbox/faults", { fault, reference, times, params });
  }

  async #post(path, body) {
    if (!this.url) throw new Problem("No sandbox", { detail: "This installation has no sandbox gateway, so this cannot be played." });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    return (await ask(this.url + path, options)).body;
  }
}
