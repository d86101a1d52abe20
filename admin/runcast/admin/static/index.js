// The first page: log in, who you are, how this process is. Everything that is shown is text; nothing is made into markup.
import { ask, currentSession, logIn, logOut, Refused } from "./session.js";

const HOW = {
  token: "With a key of the auth file's [[admins]]. Who has none makes one: runcast key NAME --role view,operate",
  mtls: "With the certificate that your browser showed when it connected.",
  dev: "Development mode: everybody on this machine may do everything.",
};
const MAY = { view: "look", operate: "act" };

const at = (id) => document.getElementById(id);
const tell = (id, text) => (at(id).textContent = text);

function complain(text) {
  tell("notice", text);
  at("notice").hidden = !text;
}

function show(loggedIn) {
  for (const id of ["account", "process", "places", "log-out"]) at(id).hidden = !loggedIn;
  at("login").hidden = loggedIn;
}

function showLogin(by) {
  show(false);
  tell("how", HOW[by] ?? "");
  at("key-field").hidden = by !== "token";
  at("key").required = by === "token";
  at("key").focus();
}

const state = ({ state: word, reason }) => (reason ? `${word}: ${reason}` : word);

async function showAccount(session) {
  complain("");
  tell("name", session.name);
  tell("roles", session.roles.map((role) => MAY[role] ?? role).join(" and "));
  tell("address", session.address);
  const until = new Date(Date.now() + session.ends_in_s * 1000).toLocaleTimeString();
  tell("until", `${until}, or ${Math.round(session.idle_s / 60)} minutes without use`);
  show(true);
  const health = await ask("/healthz");
  tell("process-id", health.id);
  tell("version", health.version);
  tell("nats", state(health.dependencies.nats));
  tell("storage", state(health.dependencies.storage));
}

const said = ({ message, body }) =>
  body.code === "unauthenticated" ? "The key is not accepted; give one of the auth file's [[admins]]." : message;

/** Runs something that asks the server; what goes wrong is shown. */
async function attempt(work) {
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (error instanceof Refused && error.body.by) showLogin(error.body.by);
    else complain(error instanceof Refused ? said(error) : "The admin process does not answer; try again.");
  } finally {
    for (const button of document.querySelectorAll("button")) button.disabled = false;
  }
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = at("key").value;
  at("key").value = "";
  attempt(async () => showAccount(await logIn(key)));
});

at("log-out").addEventListener("click", () =>
  attempt(async () => {
    await logOut();
    await showAccount(await currentSession());
  }),
);

attempt(async () => showAccount(await currentSession()));
