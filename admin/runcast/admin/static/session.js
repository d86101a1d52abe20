// Who is logged in: the three calls of /api/session. The cookie is the browser's alone; no script sees it.

/** An answer that is no success: its code of PROTOCOL.md's table, and what to do. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.message || `the server answered ${status}`);
    this.code = body.code || "internal";
    this.status = status;
    this.body = body;
  }
}

/** Asks an API of this service; `body` is sent as JSON, a file as it is. Throws Refused. */
export async function ask(path, method = "GET", body = undefined) {
  const json = body !== undefined && !(body instanceof Blob);
  const answer = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: json ? { "Content-Type": "application/json" } : {},
    body: json ? JSON.stringify(body) : body,
  });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, read);
  return read;
}

export const currentSession = () => ask("/api/session");
export const logIn = (key) => ask("/api/session", "POST", { key });
export const logOut = () => ask("/api/session", "DELETE");
