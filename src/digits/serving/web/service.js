// Asking the service: one question at a time, always about the newest drawing.

const RETRY_MS = 2000;
// What is sent may take so long, and its own time over a slow line; then the service counts as away.
const PATIENCE_MS = 15000;
const SLOW_LINE = 50; // bytes a millisecond
// More than any drawing has. A photo is stopped when it is no longer wanted, and not sent for ever.
const LARGE_BYTES = 400000;
const CHANGED = "the drawing was changed"; // why a large one is stopped

// The service answers, but not with a reading; the message is its own sentence.
export class Refused extends Error {}

// The service asks for a token; or for another one, if one was `sent`.
export class TokenWanted extends Error {
  constructor(sent) {
    super();
    this.sent = sent;
  }
}

// The service is there, and has too much to do: it is to be asked again in `retryMs`.
export class Busy extends Error {
  constructor(response) {
    super();
    // Seconds; or a date, which is no number, and nothing where there is none.
    this.retryMs = 1000 * Number(response.headers.get("retry-after")) || RETRY_MS;
  }
}

// Kept for as long as the tab is open, where no other site can read it.
export const token = {
  set: (text) => sessionStorage.setItem("token", text),
  forget: () => sessionStorage.removeItem("token"),
  headers: () => {
    const text = sessionStorage.getItem("token");
    return text ? { Authorization: `Bearer ${text}` } : {};
  },
};

// The signal holds for the answer's body, too.
async function ask(path, options) {
  const headers = token.headers();
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    // Another token was given, or this one forgotten, while the answer was on its way.
    if (token.headers().Authorization !== headers.Authorization) return ask(path, options);
    throw new TokenWanted("Authorization" in headers);
  }
  const retry = response.headers.has("retry-after");
  if (response.status === 429 || (response.status === 503 && retry)) throw new Busy(response);
  return response;
}

export async function getJson(path) {
  const response = await ask(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Refused(`${path}: ${response.status}`);
  return response.json();
}

async function predict(blob, model, signal) {
  const which = model ? `&model=${encodeURIComponent(model)}` : "";
  const form = new FormData();
  form.append("image", blob, "drawing");
  const started = performance.now();
  const response = await ask(`/predict?frame=true${which}`, { method: "POST", body: form, signal });
  const type = response.headers.get("content-type") ?? "";
  const content = type.includes("json") ? await response.json() : {};
  if (response.status === 500 && content.error) throw new Refused(content.error); // as it would each time
  // What stands before the service (a proxy, say) answers 502 and the like: it is away. And 408
  // says what an upload that is cut off says: that it took too long.
  if (response.status >= 500 || response.status === 408) throw new TypeError(`status ${response.status}`);
  if (!response.ok) throw new Refused(content.error ?? `status ${response.status}`);
  return { ...content, latencyMs: performance.now() - started };
}

// What is told of a service that does not answer, or not now, and when to ask it again.
export function unavailable(error) {
  if (error instanceof Busy) return { busy: true, retryMs: error.retryMs };
  return { away: true, retryMs: RETRY_MS };
}

// `current()` gives what is to be read (a Blob) or null, `other()` the name of a model that is asked
// as well, or nothing; `tell` is called with what came of it and waited for: {answer, other}, where
// the other may be {model, error} and is asked again if it is only busy,
// {refused: sentence}, {tokenWanted: error}, {blank: true}, {tooSlow: true}, or {away: true} or
// {busy: true}, when it is asked again. Of what is large it is told {sending: true} before, and
// {} where it was stopped.
export class Asker {
  constructor(current, other, tell) {
    this.current = current;
    this.other = other;
    this.tell = tell;
    this.busy = false;
    this.changed = false;
    this.large = null; // the question under way, to be aborted, if it is a large one
  }

  // Something changed: ask now, or once the answer under way is here.
  async ask() {
    this.changed = true;
    this.large?.abort(CHANGED);
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.changed) {
        this.changed = false;
        const told = await this.#once();
        await this.tell(told);
        if (told.retryMs) {
          await new Promise((resolve) => setTimeout(resolve, told.retryMs));
          this.changed = true;
        }
      }
    } finally {
      this.busy = false;
    }
  }

  async #once() {
    const blob = await this.current();
    if (!blob) return { blank: true };
    const name = this.other();
    const large = blob.size > LARGE_BYTES;
    const question = new AbortController();
    if (large) {
      this.large = question;
      await this.tell({ sending: true });
    }
    const started = performance.now();
    const patience = PATIENCE_MS + (blob.size * (name ? 2 : 1)) / SLOW_LINE;
    const timer = setTimeout(() => question.abort(), patience);
    try {
      // Without the other's answer there is still the first one.
      const asked = name && predict(blob, name, question.signal).catch((error) => ({ model: { name }, error }));
      const answer = await predict(blob, "", question.signal);
      const other = await asked;
      return { answer, other, retryMs: other?.error instanceof Busy ? other.error.retryMs : 0 };
    } catch (error) {
      if (question.signal.reason === CHANGED) return {};
      if (error instanceof TokenWanted) return { tokenWanted: error };
      if (error instanceof Refused) return { refused: error.message };
      // However it ended after so long, sent again it would cost as much and come to the same.
      if (large && performance.now() - started > PATIENCE_MS) return { tooSlow: true };
      return unavailable(error);
    } finally {
      clearTimeout(timer);
      this.large = null;
    }
  }
}
